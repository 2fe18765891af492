"""Settings that a sweep tries out, each with each: `train.learning_rate=1e-3,4e-3` with `seed=0,1`. No torch."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from lorasae.config import RunConfig, overlay, run_config
from lorasae.planning.config_text import nested


def varied(base: RunConfig, values: Mapping[str, Sequence[Any]]) -> list[tuple[dict[str, Any], RunConfig]]:
    """Every combination of the values laid over the base, with the values of the combination, by the settings' names.

    Where seeds are varied and the order of the text is not given, all read it in the base's order: they differ in their adapter's start
    and its dropout, and share everything that does not depend on the adapter.

    Args:
        base: The settings that they share.
        values: By a setting's dotted name, the values to try.

    Raises:
        LabError: For an unknown setting, or a value out of range.
    """
    described = base.model_dump(mode="json")
    if "seed" in values and base.data.order_seed is None and "data.order_seed" not in values:
        described = overlay(described, {"data": {"order_seed": base.seed}})
    found = []
    for chosen in product(*values.values()):
        settings = dict(zip(values, chosen, strict=True))
        config = overlay(described, nested(settings))
        found.append((settings, run_config(config)))
    return found
