"""Where runs are kept beside this machine's own disk: named by a setting, or the bucket that is mounted into a Space."""

import os
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

MOUNT = Path("/data")  # where docs/space.md says to mount the bucket
_FOLDER = "lorasae"  # in it
PATIENCE_S = 10.0  # for a look at it, while nobody can use the app yet


@dataclass(frozen=True)
class Place:
    """A folder that outlives this machine's disk. It may be slow, full or gone at any time, has no locks, and is written by one lab."""

    folder: Path
    mount: Path | None = None  # what must be mounted for the folder to be worth anything; None: the folder was named
    is_doubtful: bool = False  # it was named on a Space where nothing is mounted: it is lost with the rest of the disk

    @property
    def is_connected(self) -> bool:
        """Whether what is written there outlives this machine."""
        return self.mount is None or os.path.ismount(self.mount)


def keeping_place(environment: Mapping[str, str], mount: Path = MOUNT, is_mount: Callable[[Path], bool] = os.path.ismount) -> Place | None:
    """LORASAE_KEEP, else on a Space the bucket at /data; None where there is neither.

    On a Space /data without a mount is a folder like any other: it is lost with the rest of the disk.
    """
    on_space = environment.get("SYSTEM") == "spaces"
    if named := environment.get("LORASAE_KEEP"):
        folder = Path(named).expanduser().absolute()
        around = (folder, *folder.parents[:-1])  # the last one is the disk itself
        return Place(folder, is_doubtful=on_space and not _soon(lambda: any(map(is_mount, around))))
    if on_space and _soon(lambda: is_mount(mount) and _can_be_written(mount)):
        return Place(mount / _FOLDER, mount)
    return None


def _soon(look: Callable[[], bool]) -> bool:
    """What a look at a place finds. One that hangs is a mount, for a folder of our disk never does: restoring waits for it, and says so."""
    found = [True]
    thread = threading.Thread(target=lambda: found.__setitem__(0, look()), name="looking at the place", daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    return found[0]


def _can_be_written(folder: Path) -> bool:
    """By trying: a mount that is read-only, or belongs to somebody else, may look as if it could."""
    trial = folder / f".lorasae-{secrets.token_hex(4)}"
    try:
        trial.write_bytes(b"?")
        trial.unlink()
    except OSError:
        return False
    return True
