"""Turns at a device that a job and the inspection share: of both, one computes at a time, and neither starves.

Two locks per device, in files of the home. Whoever wants the device passes a turnstile first, and keeps it shut behind it until it has the
device. So the one who waits is always the next: a job's step, an inspection's step, a job's step. The kernel keeps the locks (flock), as in
claims.py: a process that is killed holds nothing any more. A third file says that a job is at work there, and which.

On a machine without a GPU there are no turns: the system shares its cores better than we could. LORASAE_TURNS=1 makes turns of them all
the same, for tests.
"""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from lorasae.store.claims import Claim, claim, is_claimed

if TYPE_CHECKING:
    import torch

SWITCH = "LORASAE_TURNS"


class Turn:
    """No turns: everybody computes when they like. What a device that is not shared has."""

    held = False

    def take(self) -> None:
        """Wait until the device is ours."""

    def give_back(self) -> bool:
        """Let others have the device; whether it was ours."""
        return False

    def give_way(self) -> None:
        """Between two steps: whoever waits comes first."""

    def announce(self) -> bool:
        """Say that a job is at work there, until `close` or the end of this process; False while another job says so."""
        return True

    def job(self) -> str | None:
        """The job that is at work there, by a name that no other has; None if there is none."""
        return None

    def close(self) -> None:
        """Have nothing to do with it any more."""

    def __enter__(self) -> "Turn":
        self.take()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.give_back()


class SharedTurn(Turn):
    """One process's turns at one device."""

    def __init__(self, folder: Path, device: str, finish: Callable[[], None] = lambda: None) -> None:
        """
        Args:
            folder: Where the locks of all devices lie; made if it is not there.
            device: A name that every process gives this device.
            finish: Waits until what was begun on the device is done; called before it is given back.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._job_file = folder / f"{device}.job"
        self._turnstile, self._device = (_opened(folder / f"{device}.{name}") for name in ("turnstile", "lock"))
        self._finish = finish
        self._is_job = False
        self._announced: Claim | None = None

    def take(self) -> None:
        if self.held:
            return
        fcntl.flock(self._turnstile, fcntl.LOCK_EX)
        try:
            fcntl.flock(self._device, fcntl.LOCK_EX)
            self.held = True
            if self._is_job and self._announced is None:  # the other one may have ended
                self.announce()
        finally:
            fcntl.flock(self._turnstile, fcntl.LOCK_UN)

    def give_back(self) -> bool:
        was_held, self.held = self.held, False
        if was_held:
            try:
                self._finish()
            finally:  # what was begun may have failed on the device: others must not wait for it for ever
                fcntl.flock(self._device, fcntl.LOCK_UN)
        return was_held

    def give_way(self) -> None:
        if self.give_back():
            self.take()

    def announce(self) -> bool:
        self._is_job, self._announced = True, claim(self._job_file)
        if self._announced is not None:
            self._job_file.write_text(f"{os.getpid()} {os.urandom(4).hex()}\n", encoding="ascii")
        return self._announced is not None

    def job(self) -> str | None:
        return self._job_file.read_text(encoding="ascii").strip() if is_claimed(self._job_file) else None

    def close(self) -> None:
        for descriptor in (self._turnstile, self._device):
            os.close(descriptor)
        if self._announced is not None:
            self._announced.close()


def turn_at(device: "torch.device", home: Path) -> Turn:
    """This process's turns at a device, as the lab in `home` shares it."""
    if device.type == "cuda":
        import torch

        name = str(torch.cuda.get_device_properties(device).uuid)  # whatever CUDA_VISIBLE_DEVICES calls it
        return SharedTurn(home / "devices", name, lambda: torch.cuda.synchronize(device))
    return SharedTurn(home / "devices", device.type) if os.environ.get(SWITCH) == "1" else Turn()


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
