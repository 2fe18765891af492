"""Several runs trained in one process, from one pass over what is frozen. Each is what it would have been alone, folder and all.

Runs can be trained together if they read the same text, in the same order and steps, through the same model and SAEs; they may differ
in their adapter and in what the optimizer does with its gradient. One that is broken off goes on alone, as any run does.
"""

import json
from collections.abc import Sequence

from lorasae.config import RunConfig
from lorasae.store.run_folder import Run
from lorasae.training.lives import Outcome, lived
from lorasae.training.recipe import life_of
from lorasae.training.supervision import Listener
from lorasae.training.way import Faster, fast_gradients
from lorasae.training.workshop import workshop

# What runs that are trained together may differ in: of their name, of their adapters, of the optimizer, of what is watched.
_OWN = {
    "name": True,
    "seed": True,
    "watch": True,
    "trust_measured": True,
    "adapter": {"rank", "alpha", "dropout", "placement", "layers", "modules"},
    "data": {"order_seed"},  # in other words: the order that it comes to is compared
    "train": {"learning_rate", "schedule", "warmup_fraction", "weight_decay", "gradient_clip"},
}


def groups(configs: Sequence[RunConfig]) -> list[list[int]]:
    """Which of these settings can be trained together: their places in the list, in its order."""
    found: dict[str, list[int]] = {}
    for index, config in enumerate(configs):
        alone = index if config.adapter.start else None  # whether it may begin so is asked of each run by itself
        shared = [alone, config.order_seed, config.model_dump(mode="json", exclude=_OWN)]  # type: ignore[arg-type]
        found.setdefault(json.dumps(shared, sort_keys=True), []).append(index)
    return list(found.values())


def adapt_together(runs: Sequence[Run], listeners: Sequence[Listener], faster: Faster = fast_gradients) -> list[Outcome]:
    """Do these runs, or what is left of them, in one process: of each its result, or the error that it ended with.

    Args:
        runs: Whose settings are one of `groups`.
        listeners: One for each, told of its phases and metrics.
        faster: Where the fast step's gradients come from.
    """
    with workshop(faster, len(runs)) as shop:
        return lived([life_of(run, listener, shop) for run, listener in zip(runs, listeners, strict=True)])
