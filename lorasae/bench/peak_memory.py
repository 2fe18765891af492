"""The most memory that was held since a moment: of tensors on a GPU, of the whole process on a CPU where the system can tell."""

import ctypes
from pathlib import Path

import torch

_CLEAR, _STATUS = Path("/proc/self/clear_refs"), Path("/proc/self/status")


class PeakMemory:
    """Starts counting when it is made.

    On Linux the kernel keeps a process's largest resident memory and lets it be reset; what the allocator holds of earlier work is given
    back first. Elsewhere only the largest since the process began is known, which says nothing about one way among several.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(device)
            self._resettable = True
        else:
            self._resettable = _give_back_and_reset()

    def bytes(self) -> int | None:
        """The peak so far; None where it cannot be told."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        return _high_water() if self._resettable else None


def _give_back_and_reset() -> bool:
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError, TypeError):
        return False
    try:
        _CLEAR.write_text("5", encoding="ascii")  # proc(5): resets the peak resident set size
    except OSError:
        return False
    return _high_water() is not None


def _high_water() -> int | None:
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), None)
