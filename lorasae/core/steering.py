"""Steering: a feature's decoder direction added to the stream while the model writes; plain and steered, original and adapted.

All lanes draw the same noise: the token is the largest of logits / temperature + Gumbel noise, which samples exactly from the softmax, and
two lanes with the same seed write the same text until their distributions truly differ.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from lorasae.core.adapter import adapter_off
from lorasae.core.hook_points import HookPoint
from lorasae.core.sae import FrozenSAE
from lorasae.core.special_tokens import SpecialTokens
from lorasae.core.splice import Transform, spliced

LANES: dict[str, tuple[bool, bool]] = {  # lane -> (adapter on, steered)
    "original_plain": (False, False),
    "original_steered": (False, True),
    "adapted_plain": (True, False),
    "adapted_steered": (True, True),
}


@dataclass(frozen=True)
class Push:
    """What is added to the stream: `amount` units of a feature, at the SAE's own place, on every position that is not bypassed."""

    hook_point: HookPoint
    sae: FrozenSAE
    feature: int
    amount: float

    def into(self, transforms: Mapping[HookPoint, Transform]) -> dict[HookPoint, Transform]:
        """The transforms with the push behind the one at its place; nothing is touched for an amount of 0."""
        if self.amount == 0:
            return dict(transforms)
        inner = transforms.get(self.hook_point)

        def pushed(x: Tensor) -> Tensor:
            base = x if inner is None else inner(x)
            return base + self.amount * self.sae.written_by(x, self.feature).to(base.dtype)

        return {**transforms, self.hook_point: pushed}


@dataclass
class Lane:
    """One text being written: the model's memory of it, and its own copy of the noise."""

    model: nn.Module
    adapter_on: bool
    transforms: Mapping[HookPoint, Transform]
    special_tokens: SpecialTokens
    temperature: float
    noise: torch.Generator
    eos: frozenset[int]
    cache: Any = None
    tokens: list[int] = field(default_factory=list)
    ended: bool = False

    def step(self, ids: Tensor) -> int:
        """Read `ids` `(1, pos)` behind what was read before, and write the next token. No hook outlives the call."""
        with torch.no_grad(), ExitStack() as stack:
            if not self.adapter_on:
                stack.enter_context(adapter_off(self.model))
            if self.transforms:
                stack.enter_context(spliced(self.model, self.transforms, self.special_tokens))
            output = self.model(input_ids=ids, past_key_values=self.cache, use_cache=True)
        self.cache = output.past_key_values
        token = self._drawn(output.logits[0, -1])
        self.tokens.append(token)
        self.ended = token in self.eos
        return token

    def _drawn(self, logits: Tensor) -> int:
        scores = logits.float().cpu()
        if self.temperature > 0:
            uniform = torch.rand(scores.shape, generator=self.noise).clamp(min=1e-20)
            scores = scores / self.temperature - (-uniform.log()).log()
        return int(scores.argmax())


def lanes(
    model: nn.Module,
    push: Push,
    spliced_transforms: Mapping[HookPoint, Transform],
    special_tokens: SpecialTokens,
    *,
    temperature: float,
    seed: int,
    eos: frozenset[int],
) -> dict[str, Lane]:
    """The four texts, nothing written yet.

    Args:
        model: The model with its adapter, in eval mode.
        push: What the steered lanes get.
        spliced_transforms: The SAEs in the stream of every lane, as in training; none: the models without SAE.
        special_tokens: Which positions are neither spliced nor steered.
        temperature: 0 takes the likeliest token each time.
        seed: Of the noise that all lanes share.
        eos: Tokens at which a text ends.
    """
    return {
        name: Lane(
            model,
            adapter_on,
            push.into(spliced_transforms) if steered else spliced_transforms,
            special_tokens,
            temperature,
            torch.Generator().manual_seed(seed),
            eos,
        )
        for name, (adapter_on, steered) in LANES.items()
    }


def written(texts: Mapping[str, Lane], prompt: Tensor, n_tokens: int) -> Iterator[tuple[str, int]]:
    """(lane, token) as they are written, lane by lane; between two of them the model is free for others.

    Args:
        texts: Fresh lanes.
        prompt: `(1, pos)`.
        n_tokens: At most, per lane.
    """
    for position in range(n_tokens):
        for name, lane in texts.items():
            if not lane.ended:
                ids = prompt if position == 0 else torch.tensor([lane.tokens[-1:]], device=prompt.device)
                yield name, lane.step(ids)
