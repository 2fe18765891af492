"""A published adapter measured again as it was downloaded, beside the adapter as it was: `python -m lorasae.publishing.check …`."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from torch import Tensor

from lorasae.core.conditions import Condition
from lorasae.core.evaluate import measure
from lorasae.home import home
from lorasae.inspection.opened_run import OpenedRun
from lorasae.inspection.room import device_for
from lorasae.planning.errand import answer_errand
from lorasae.sources.data import micro_batches
from lorasae.sources.language_model import chosen_device
from lorasae.store.device_turns import Turn, turn_at
from lorasae.store.run_folder import Run

N_SEQUENCES = 8  # the fixed held-out sample: the first so many sequences
_MEASURED: tuple[Condition, ...] = ("original", "original_sae", "adapted_sae")
_COMPARED = ("ce_original", "ce_original_sae", "ce_adapted_sae", "kl_adapted_sae")


def measured_again(run: Run, downloaded: Run) -> dict[str, Any]:
    """Losses on the fixed sample: of the run's own adapter, and of the one that was downloaded.

    Raises:
        LabError: If either cannot be opened.
    """
    before, n_tokens = _losses(run)
    after, _ = _losses(downloaded)
    return {
        "n_sequences": N_SEQUENCES,
        "n_tokens": n_tokens,
        "metrics": {key: {"stated": before[key], "measured": after[key]} for key in _COMPARED},
    }


def _losses(run: Run) -> tuple[dict[str, float], int]:
    device = chosen_device(run.config.model.device)
    with closing(turn_at(device, home())) as shared:
        opened = OpenedRun(run, device_for(run, shared, device.type))
        turn = shared if opened.loaded.device == device else Turn()

        def batches() -> Iterator[Tensor]:
            for batch in micro_batches(opened.heldout()[:N_SEQUENCES], opened.config.micro_batch_size, opened.loaded.device):
                turn.give_way()
                yield batch

        with turn:
            measurement = measure(opened.model, batches(), opened.loaded.saes, opened.special_tokens, _MEASURED)
    return {key: value for key, (value, _) in measurement.metrics().items()}, int(measurement.n_predictions.sum())


if __name__ == "__main__":
    answer_errand(lambda asked, _asked_at: measured_again(Run(Path(asked["run"])), Run(Path(asked["downloaded"]))))
