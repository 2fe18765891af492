"""Locks on files: who is at work on a run, who has the home open. A lock ends with the last process that holds it, however it ends.

The kernel keeps them (flock), so that neither a kill -9 nor a power cut leaves one behind, and a pid that was given to another process
since means nothing. A process can be born with a claim that its parent took for it: `handed_on` names the descriptor in the environment.
"""

import fcntl
import os
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

HANDED_ON = "LORASAE_CLAIM"  # environment variable: the descriptor of a claim that was taken for this process
_PATIENCE_S = 0.5  # somebody who only looks holds the lock for microseconds


class Claim:
    """A lock that is held. It ends with `close` here, and with the last process it was handed on to."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def handed_on(self) -> Mapping[str, str]:
        """What a child must find in its environment to hold the claim; the descriptor itself goes by `pass_fds`."""
        return {HANDED_ON: str(self.descriptor)}

    def close(self) -> None:
        """Let go of it in this process."""
        os.close(self.descriptor)

    def __enter__(self) -> "Claim":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def claim(path: Path) -> Claim | None:
    """The lock on `path`, or None if somebody else holds it. The one this process was born with is found again."""
    if (inherited := _inherited(path)) is not None:
        return Claim(inherited)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                return None
            time.sleep(0.005)
        except OSError:
            os.close(descriptor)
            raise
        else:
            return Claim(descriptor)


def is_claimed(path: Path) -> bool:
    """Whether anybody holds the lock on `path`."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def _inherited(path: Path) -> int | None:
    """The descriptor that was handed on to this process for `path`; it serves once."""
    number = os.environ.get(HANDED_ON, "")
    if not number.isdigit():
        return None
    try:
        if not os.path.samestat(os.fstat(int(number)), path.stat()):
            return None
    except OSError:
        return None
    del os.environ[HANDED_ON]
    os.set_inheritable(int(number), False)
    return int(number)
