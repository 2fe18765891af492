"""How many multiplications and additions a second this machine's matrix product reaches: what achieved figures are held against."""

import time
from dataclasses import dataclass

import torch

_SIDES = {"cpu": (512, 1024, 2048), "cuda": (4096, 8192, 16384)}
_SECONDS = 0.6  # of multiplying, per size


@dataclass(frozen=True)
class Peak:
    """The best of several square sizes, all threads at work. On a CPU that others use too, the figure per CPU-second is the truer one."""

    flops_per_s: float
    flops_per_cpu_s: float
    side: int  # of the matrices it was reached with
    dtype: str


def measured_peak(device: torch.device, dtype: torch.dtype, seconds: float = _SECONDS) -> Peak:
    """Multiply square matrices of several sizes for `seconds` each."""
    measured = [(*_speed(side, device, dtype, seconds), side) for side in _SIDES[device.type]]
    by_wall = max(measured)
    return Peak(by_wall[0], max(per_cpu for _, per_cpu, _ in measured), by_wall[2], str(dtype).removeprefix("torch."))


def _speed(side: int, device: torch.device, dtype: torch.dtype, seconds: float) -> tuple[float, float]:
    left, right = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))
    product = left @ right  # a first one, untimed
    settle(device)
    wall, cpu, n = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - wall < seconds:
        for _ in range(10 if device.type == "cuda" else 1):  # a GPU is only waited for now and then
            torch.mm(left, right, out=product)
            n += 1
        settle(device)
    flops = 2.0 * side**3 * n
    return flops / (time.perf_counter() - wall), flops / max(1e-9, time.process_time() - cpu)


def settle(device: torch.device) -> None:
    """Wait for the GPU to finish what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
