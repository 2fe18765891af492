"""Checkpoints that are either whole or not there.

A checkpoint is written beside its place (`step-00000100.tmp/`), every file synced, a manifest with sizes and SHA-256 last, then renamed.
One without a valid manifest does not exist; the newest valid one is used, and the last two are kept. Tensors are safetensors, the rest is
JSON: nothing is ever unpickled.
"""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor

from lorasae.store.durable import sync_folder, write_durably, write_json

KEPT = 2
_FILES = ("adapter.safetensors", "optimizer.safetensors", "random.safetensors", "state.json")


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after `step` optimizer steps."""

    step: int
    adapter: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    random: dict[str, Tensor]  # states of torch's generators by device
    state: dict[str, Any]  # plain values: training seconds so far, the corpus's fingerprint


def write_checkpoint(folder: Path, checkpoint: Checkpoint) -> None:
    """Write durably and atomically, then let go of all but the newest two."""
    final = folder / f"step-{checkpoint.step:08d}"
    beside = final.with_name(final.name + ".tmp")
    for unfinished in folder.glob("*.tmp"):
        shutil.rmtree(unfinished)
    beside.mkdir(parents=True)
    tensors = (checkpoint.adapter, checkpoint.optimizer, checkpoint.random)
    state = json.dumps({"step": checkpoint.step, **checkpoint.state}).encode()
    files: dict[str, bytes] = dict(zip(_FILES, (*map(safetensors.torch.save, tensors), state), strict=True))
    for name, content in files.items():
        write_durably(beside / name, content)
    write_json(beside / "manifest.json", _seals(files))
    shutil.rmtree(final, ignore_errors=True)
    beside.replace(final)
    sync_folder(folder)
    for old in sorted(folder.glob("step-????????"))[:-KEPT]:
        shutil.rmtree(old)


def newest_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[Path]]:
    """The newest whole checkpoint, and the damaged ones that were passed over on the way to it."""
    damaged = []
    for path in sorted(folder.glob("step-????????"), reverse=True):
        files = _whole_files(path)
        if files is None:
            damaged.append(path)
            continue
        adapter, optimizer, random = (safetensors.torch.load(files[name]) for name in _FILES[:3])
        state = json.loads(files["state.json"])
        return Checkpoint(state.pop("step"), adapter, optimizer, random, state), damaged
    return None, damaged


def _whole_files(path: Path) -> dict[str, bytes] | None:
    """The checkpoint's files if each is as the manifest says, else None."""
    try:
        manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        files = {name: (path / name).read_bytes() for name in _FILES}
    except (OSError, ValueError):
        return None
    return files if manifest == _seals(files) else None


def _seals(files: dict[str, bytes]) -> dict[str, dict[str, int | str]]:
    return {name: {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()} for name, content in files.items()}
