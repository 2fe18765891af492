"""The adaptation that a newcomer starts with one button, and that the example run shows finished."""

from lorasae.config import RunConfig
from lorasae.store.run_records import FeatureRef, Pins

NAME = "my first repair"

TEXT = "Notice: Found\nI found a pink towel at the bakery on Saturday. It is made of cotton. Is it yours? Then please come and take it."
"""The beginning of a held-out document of the pocket world, on which the SAE does its damage at few tokens, and visibly."""

_ABOVE = ("pocket-scope", "layer_4/width_2k/average_l0_17")  # features at the adapted SAE itself cannot change
_FEATURES = (607, 2035, 1774, 1642, 616, 312, 699, 575)  # on TEXT: silenced, woken or driven too far by the SAE below, then brought back

PINS = Pins(TEXT, tuple(FeatureRef(*_ABOVE, feature) for feature in _FEATURES))


def first_repair(name: str = NAME) -> RunConfig:
    """The default adaptation of the pocket model; measured more often than by default, so that there is something to watch early."""
    return RunConfig.model_validate({"name": name, "watch": {"evaluations": 11}})
