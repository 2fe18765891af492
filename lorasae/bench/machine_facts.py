"""On what a figure was taken: processor, threads, versions. No paths and no names of hosts."""

from typing import Any

import torch

from lorasae.costs.machine import this_machine
from lorasae.sources.language_model import chosen_device
from lorasae.store.recorded_versions import versions


def machine_facts(device_name: str) -> dict[str, Any]:
    """What decides speed here, for JSON."""
    device = chosen_device(device_name)
    on_gpu = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if on_gpu else this_machine().name,
        "kind": device.type,
        "memory_gb": round((torch.cuda.get_device_properties(device).total_memory if on_gpu else this_machine().ram_bytes) / 1e9, 1),
        "threads": torch.get_num_threads(),
        "cuda": torch.version.cuda if on_gpu else None,
        "versions": versions(),
    }


def said(facts: dict[str, Any]) -> str:
    """The machine in one line."""
    packages = ", ".join(f"{name} {facts['versions'][name]}" for name in ("torch", "transformers", "peft") if name in facts["versions"])
    threads = f"{facts['threads']} thread{'' if facts['threads'] == 1 else 's'}"
    return f"{facts['device']}, {facts['memory_gb']} GB, {threads}; {packages}"
