"""What no adapter changes is measured once, before training, and kept with the run: what the SAEs cost, and the floor of zeros.

Later measurements of the same held-out text take it from there and spend their time on the conditions that training changes.
"""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lorasae.core.conditions import Condition
from lorasae.core.evaluate import Measurement
from lorasae.core.statistics import PerSequence
from lorasae.store.durable import replace_file
from lorasae.store.run_folder import Run

UNCHANGED: tuple[Condition, ...] = ("original_sae", "zero")


def keep_known(run: Run, before: Measurement, corpus: str) -> None:
    """Keep what the measurement before training found on the whole held-out text; `corpus` is the text's fingerprint."""
    sums = {f"ce_{name}": before.ce_sums[name] for name in UNCHANGED if name in before.ce_sums}
    sums |= {f"kl_{name}": before.kl_sums[name] for name in UNCHANGED if name in before.kl_sums}
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, corpus=np.array(corpus), **sums)
    replace_file(run.before_file, content.getvalue())


@dataclass(frozen=True)
class Known:
    """Per-sequence sums over the whole held-out text, by loss and condition; none in a run that was begun before they were kept."""

    sums: Mapping[str, PerSequence]

    @staticmethod
    def of(run: Run, corpus: str) -> "Known":
        """What is kept of a run and still true: it was measured on this text."""
        if not run.before_file.exists():
            return Known({})
        with np.load(run.before_file, allow_pickle=False) as kept:
            sums = dict(kept)
        return Known(sums) if str(sums.pop("corpus")) == corpus else Known({})

    def left(self, conditions: Sequence[Condition]) -> tuple[Condition, ...]:
        """The conditions that are still to be measured."""
        return tuple(name for name in conditions if f"ce_{name}" not in self.sums)

    def added_to(self, measurement: Measurement, conditions: Sequence[Condition], rows: Sequence[int] | None) -> Measurement:
        """The measurement with what is known of the other conditions asked for; `rows`: the sequences it is of, None for all."""
        chosen = {name: each if rows is None else each[list(rows)] for name, each in self.sums.items()}
        ce = {name: chosen[f"ce_{name}"] for name in conditions if f"ce_{name}" in chosen}
        kl = {name: chosen[f"kl_{name}"] for name in conditions if f"kl_{name}" in chosen}
        return replace(measurement, ce_sums={**measurement.ce_sums, **ce}, kl_sums={**measurement.kl_sums, **kl})
