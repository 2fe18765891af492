"""Which held-out sequences the short evaluations use: an eighth that stands for the whole.

The sequences are ordered by what the SAE costs on them before training, and one is taken from each eight: the part then has nearly the
whole's CE gap, where the first eighth of a text may have another by several per cent of it.
"""

import numpy as np

from lorasae.config import EVALUATED_SHARE
from lorasae.core.evaluate import Measurement
from lorasae.store.durable import write_json
from lorasae.store.run_folder import Run
from lorasae.store.run_records import read_record


def size_of_part(n_sequences: int) -> int:
    """How many sequences a short evaluation uses."""
    return -(-n_sequences // EVALUATED_SHARE)


def choose_part(run: Run, before: Measurement) -> None:
    """Choose by the measurement before training, and keep the choice with the run: a resumed run uses the same."""
    gaps = (before.ce_sums["original_sae"] - before.ce_sums["original"]) / np.maximum(before.n_predictions, 1)
    n_sequences, n_part = len(gaps), size_of_part(len(gaps))
    middles = (np.arange(n_part) + 0.5) * n_sequences / n_part
    chosen = np.argsort(gaps, kind="stable")[middles.astype(int)]
    write_json(run.part_file, {"sequences": sorted(int(index) for index in chosen)})


def part_of(run: Run, n_sequences: int) -> list[int]:
    """The chosen sequences; the first eighth in a run that was started before they were chosen."""
    if run.part_file.exists():
        return read_record(run.folder, run.part_file.name)["sequences"]
    return list(range(size_of_part(n_sequences)))
