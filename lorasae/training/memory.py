"""How much memory there is and was used, of the machine or of its GPU."""

import os
import resource
import sys
from pathlib import Path

import torch

from lorasae.costs.machine import free_ram_bytes, this_machine


def free_bytes(device: torch.device) -> int:
    """Memory that nobody uses now, or that its user can do without: what the system keeps of files that were read."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return int(min(free_ram_bytes(), this_machine().ram_bytes - _own_bytes()))


def reachable_bytes(device: torch.device) -> int:
    """Memory that this process could have in all: what is free, and what it has."""
    return free_bytes(device) + (torch.cuda.memory_reserved(device) if device.type == "cuda" else _own_bytes())


def _own_bytes() -> int:
    """What this process holds now."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return 0


def peak_memory_bytes(device: torch.device) -> int:
    """Largest memory so far: of the process on the CPU, of tensors on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
