"""What every feature of an SAE did on a run's held-out text, before and after: one pass, kept sparse, cached on disk.

`<home>/cache/activity/<run id>/<key>.npz`: arrays without pickle, written whole or not at all, believed only if run, text and SAE are the
same. The run's own folder is never written to.
"""

import hashlib
import json
import os
import secrets
import time
import zipfile
from collections.abc import Generator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lorasae.core.conditions import Condition
from lorasae.core.fates import STATUSES, statuses
from lorasae.core.features import batch_firings
from lorasae.core.firings import Firings, correlation, joined
from lorasae.demo.text import LABELS
from lorasae.inspection.labels import Fits, best_fits, packed_labels
from lorasae.inspection.opened_run import OpenedRun, OpenedSAE
from lorasae.sources.data import Chunks, micro_batches

N_TOKENS = 12_288
MIN_F1 = 0.2  # a label that fits worse is not told
CACHE_BYTES = 2 * 2**30  # of all runs together; the longest unused go first
_FORMAT = 1
_FIRINGS = ("feature", "token", "value")
_FITS = ("label", "f1", "precision", "recall")


@dataclass(frozen=True, eq=False)
class Activity:
    """One SAE on one run's held-out text."""

    chunks: Chunks
    counted: NDArray[np.bool_]  # (n_tokens,): positions that the SAE saw
    before: Firings  # original + SAE
    after: Firings  # adapted + SAE
    fits: Fits | None  # where the text's labels are known

    @cached_property
    def n_counted(self) -> int:
        return int(self.counted.sum())

    @cached_property
    def correlation(self) -> NDArray[np.float32]:
        return correlation(self.before, self.after, self.n_counted)

    @cached_property
    def statuses(self) -> NDArray[np.int8]:
        return statuses(self.before.fired, self.after.fired, self.correlation)

    def status(self, feature: int) -> str | None:
        """What became of a feature."""
        return STATUSES[self.statuses[feature]]

    def density(self, feature: int) -> tuple[float, float]:
        """Share of the counted tokens on which a feature fired, before and after."""
        return self.before.fired[feature] / self.n_counted, self.after.fired[feature] / self.n_counted

    def label(self, feature: int) -> dict[str, Any] | None:
        """The known label that fits a feature best, if one fits at all."""
        if self.fits is None or self.fits.label[feature] < 0 or self.fits.f1[feature] < MIN_F1:
            return None
        measures = {name: round(float(getattr(self.fits, name)[feature]), 4) for name in ("f1", "precision", "recall")}
        return {"name": LABELS[self.fits.label[feature]], **measures}


Progress = tuple[int, int]  # tokens done, of all


def compute(opened: OpenedRun, observed: OpenedSAE) -> Generator[Progress, None, Activity]:
    """The pass, a batch at a time: yields how far it is, returns what it found."""
    chunks = heldout_part(opened)
    before, after = [], []
    runs: list[tuple[Condition, list[Firings]]] = [("original_sae", before), ("adapted_sae", after)]
    place = (observed.hook_point, observed.sae)
    counted: list[NDArray[np.bool_]] = []
    done, total = 0, 2 * chunks.size
    yield done, total
    for ids in micro_batches(chunks, max(1, 1024 // chunks.shape[1]), opened.loaded.device):
        first = done // 2
        for name, parts in runs:
            found = batch_firings(opened.model, ids, name, opened.loaded.saes, place, opened.special_tokens)
            parts.append(Firings(found.feature, found.token + np.int32(first), found.value, chunks.size, found.d_sae))
            done += ids.numel()
            yield done, total
        counted.append(~opened.bypassed(ids))
    both = joined(before, chunks.size), joined(after, chunks.size)
    known = packed_labels(opened.config.data, opened.loaded.tokenizer, chunks)
    return Activity(chunks, np.concatenate(counted), *both, None if known is None else best_fits(_the_fuller(*both), known))


def _the_fuller(before: Firings, after: Firings) -> Firings:
    """The firings that labels are judged by: those before; those after for the features that woke up."""
    woken = (before.fired == 0) & (after.fired > 0)
    kept = woken[after.feature]
    return joined(
        [before, Firings(after.feature[kept], after.token[kept], after.value[kept], after.n_tokens, after.d_sae)], before.n_tokens
    )


def heldout_part(opened: OpenedRun, n_tokens: int = N_TOKENS) -> Chunks:
    """The first held-out sequences, n_tokens in all."""
    chunks = opened.heldout()
    return chunks[: max(1, n_tokens // chunks.shape[1])]


class ActivityCache:
    """Activities on disk. A cache that cannot be written or read costs time, nothing else."""

    def __init__(self, home: Path) -> None:
        self.root = home / "cache" / "activity"

    def load(self, opened: OpenedRun, observed: OpenedSAE) -> Activity | None:
        """What an earlier pass found, if it was on this very run, text and SAE."""
        identity = _identity(opened, observed)
        path = self._path(opened, identity)
        try:
            with np.load(path, allow_pickle=False) as stored:
                if str(stored["identity"]) != identity:
                    return None
                found = {name: stored[name] for name in stored.files}
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None
        with suppress(OSError):
            os.utime(path)  # used just now
        return _restored(heldout_part(opened), found, observed.sae.d_sae)

    def save(self, opened: OpenedRun, observed: OpenedSAE, activity: Activity) -> None:
        """Keep it, if the disk lets us."""
        identity = _identity(opened, observed)
        path = self._path(opened, identity)
        beside = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("wb") as file:
                np.savez(file, allow_pickle=False, identity=np.array(identity), **_stored(activity))  # type: ignore[arg-type]
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
            self._make_room(path)
        except OSError:
            with suppress(OSError):
                beside.unlink(missing_ok=True)

    def _path(self, opened: OpenedRun, identity: str) -> Path:
        return self.root / opened.run.run_id / f"{hashlib.sha256(identity.encode()).hexdigest()[:24]}.npz"

    def _make_room(self, newest: Path) -> None:
        for left_behind in self.root.glob("*/.*.npz-*"):
            if time.time() - left_behind.stat().st_mtime > 3600:  # of a process that was killed
                left_behind.unlink(missing_ok=True)
        kept = sorted(self.root.glob("*/*.npz"), key=lambda path: path.stat().st_mtime)
        size = sum(path.stat().st_size for path in kept)
        for path in kept:
            if size <= CACHE_BYTES or path == newest:
                break
            size -= path.stat().st_size
            path.unlink(missing_ok=True)


def _identity(opened: OpenedRun, observed: OpenedSAE) -> str:
    """Everything the result depends on."""
    chunks = heldout_part(opened)
    text = hashlib.sha256(f"{chunks.shape}".encode() + np.ascontiguousarray(chunks).tobytes()).hexdigest()
    parts = {
        "format": _FORMAT,
        "run": opened.run.run_id,
        "adapter": opened.version,
        "own": [each.fingerprint for each in opened.own_saes],
        "observed": observed.fingerprint,
        "text": text,
        "labels": len(LABELS),
    }
    return json.dumps(parts)


def _stored(activity: Activity) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {"counted": activity.counted}
    for side in ("before", "after"):
        arrays |= {f"{side}_{name}": getattr(getattr(activity, side), name) for name in _FIRINGS}
    return arrays | ({} if activity.fits is None else {f"fit_{name}": getattr(activity.fits, name) for name in _FITS})


def _restored(chunks: Chunks, stored: dict[str, NDArray[Any]], d_sae: int) -> Activity:
    before, after = (_firings({name: stored[f"{side}_{name}"] for name in _FIRINGS}, chunks.size, d_sae) for side in ("before", "after"))
    fits = Fits(**{name: stored[f"fit_{name}"] for name in _FITS}) if "fit_label" in stored else None
    return Activity(chunks, stored["counted"], before, after, fits)


def _firings(arrays: dict[str, NDArray[Any]], n_tokens: int, d_sae: int) -> Firings:
    return Firings(**arrays, n_tokens=n_tokens, d_sae=d_sae)
