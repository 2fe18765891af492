"""One file copied to or from the place where runs are kept, whole or not at all; and which files of a run are kept, in which order.

A process may die between any two of them. In this order what has arrived is a run that can be taken up: whose it is before that it is,
measurements before the checkpoint they lead up to, a checkpoint's seal behind its files, what it came to last of all.
"""

import errno
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PART = ".part"  # a file on its way
LAST = "status.json"
_FIRST = ("about.json", "config.json")
SEAL = "manifest.json"  # of a checkpoint: it is whole
CHECKPOINTS = "checkpoints"
_OF_THIS_MACHINE = {"lock"}
_UNSUPPORTED = {errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EXDEV}  # what a mount of objects may say to fsync and rename
_CHUNK = 1 << 20

Look = tuple[int, int]  # size and time of a file: changes when its content does


def files_of(folder: Path) -> dict[str, Look]:
    """The files of a run folder that are kept, in the order in which they are copied: path in it -> size and time.

    Checkpoints are listed first and copied late: what was measured up to them is in the other files by then.
    """
    checkpoints = dict(_listed(folder / CHECKPOINTS, f"{CHECKPOINTS}/"))
    others = {name: look for name, look in _listed(folder, "") if not name.startswith(f"{CHECKPOINTS}/")}
    found = {**others, **checkpoints}
    return {name: found[name] for name in sorted(found, key=_turn)}


def _turn(name: str) -> tuple[int, bool, str]:
    parts = name.split("/")
    place = 0 if name in _FIRST else 3 if name == LAST else 2 if parts[0] == CHECKPOINTS else 1
    return place, parts[-1] == SEAL, name


def _listed(folder: Path, prefix: str) -> Iterator[tuple[str, Look]]:
    with suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name in _OF_THIS_MACHINE or name.endswith((PART, ".tmp")):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _listed(folder / name, f"{prefix}{name}/")
            elif entry.is_file(follow_symlinks=False):
                with suppress(FileNotFoundError):  # it has just gone
                    stat = entry.stat()
                    yield f"{prefix}{name}", (stat.st_size, stat.st_mtime_ns)


def copy_file(source: Path, target: Path) -> None:
    """The content of `source` becomes that of `target`, which is whole at every instant; nothing happens if it is the same already.

    Raises:
        OSError: If one cannot be read or the other not be written; a FileNotFoundError if `source` has gone.
    """
    if _same(source, target):
        return
    with source.open("rb") as file:
        target.parent.mkdir(parents=True, exist_ok=True)
        beside = target.with_name(target.name + PART)
        try:
            _write(file.fileno(), beside)
            try:
                beside.replace(target)
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
                os.lseek(file.fileno(), 0, os.SEEK_SET)
                _write(file.fileno(), target)  # such a mount shows a file when it is closed
        finally:
            with suppress(OSError):
                beside.unlink(missing_ok=True)


def _write(source: int, target: Path) -> None:
    with target.open("wb") as file:
        while chunk := os.read(source, _CHUNK):
            file.write(chunk)
        file.flush()
        try:
            os.fsync(file.fileno())
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise


def _same(source: Path, target: Path) -> bool:
    try:
        if source.stat().st_size != target.stat().st_size:
            return False
        with source.open("rb") as ours, target.open("rb") as theirs:
            while (chunk := ours.read(_CHUNK)) == theirs.read(_CHUNK):
                if not chunk:
                    return True
    except OSError:
        pass  # the copying itself says what is wrong
    return False
