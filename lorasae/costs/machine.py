"""What this machine has: memory, cores, a GPU. Read from the system itself, without torch."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """Where a run would work."""

    n_cores: int
    ram_bytes: int
    gpu: str | None = None  # name of the first GPU, if there is one
    gpu_bytes: int = 0

    @property
    def name(self) -> str:
        """What measurements of speed belong to."""
        return self.gpu or f"{_cpu_model()}, {self.n_cores} cores"


@cache
def this_machine() -> Machine:
    """The machine the lab runs on."""
    gpu, gpu_bytes = _gpu()
    return Machine(_n_cores(), _ram_bytes(), gpu, gpu_bytes)


def free_ram_bytes() -> float:
    """Memory that the system could still give; without bounds where it does not say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration, ValueError):
        return float("inf")


def _n_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _ram_bytes() -> int:
    """Physical memory, or what a container may use of it."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            stated = Path(limit).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if stated.isdigit():
            return min(physical, int(stated))
    return physical


def _gpu() -> tuple[str | None, int]:
    """Name and memory of the first NVIDIA GPU, as its driver states them."""
    program = shutil.which("nvidia-smi")
    if not program:
        return None, 0
    query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=True).stdout
        name, megabytes = answer.splitlines()[0].rsplit(",", 1)
        return name.strip(), int(megabytes) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None, 0


@cache
def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "CPU"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "CPU")
