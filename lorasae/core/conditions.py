"""The conditions under which a model is measured: adapter on or off, SAEs in the stream or not.

original        adapter off, stream untouched
original_sae    adapter off, SAEs in the stream
adapted_sae     adapter on,  SAEs in the stream
adapted         adapter on,  stream untouched: what adaptation did to general behaviour
zero            adapter off, zeros in the stream at the SAEs: the floor of "loss recovered"
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Literal

from torch import nn

from lorasae.core.adapter import adapter_off
from lorasae.core.hook_points import HookPoint
from lorasae.core.special_tokens import SpecialTokens
from lorasae.core.splice import Transform, spliced

Condition = Literal["original", "original_sae", "adapted_sae", "adapted", "zero"]
BEFORE: tuple[Condition, ...] = ("original", "original_sae", "zero")
ALL: tuple[Condition, ...] = ("original", "original_sae", "adapted_sae", "adapted", "zero")


@contextmanager
def condition(
    model: nn.Module, name: Condition, transforms: Mapping[HookPoint, Transform], special_tokens: SpecialTokens
) -> Iterator[None]:
    """Inside the block `model` runs under the named condition; `transforms` are the SAEs' reconstructions (or observers of the stream)."""
    with ExitStack() as stack:
        if name in ("original", "original_sae", "zero"):
            stack.enter_context(adapter_off(model))
        if transforms:
            stack.enter_context(spliced(model, transforms, special_tokens))
        yield
