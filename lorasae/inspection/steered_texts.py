"""A prompt continued four times: {original, adapted} x {plain, steered}, told piece by piece as text."""

import math
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any

from lorasae.core.steering import Push, lanes, written
from lorasae.errors import LabError
from lorasae.inspection.opened_run import OpenedRun, OpenedSAE
from lorasae.inspection.turns import Message

MAX_TOKENS = 256
MAX_STRENGTH = 50.0
MAX_TEMPERATURE = 5.0


@dataclass
class _Text:
    """The text of a lane, taken from its tokens as they come: some characters are several tokens long."""

    tokenizer: Any
    prompt: list[int]
    tokens: list[int] = field(default_factory=list)
    told: str = ""

    def __post_init__(self) -> None:
        self.told = self._decoded()

    def piece(self, token: int, *, last: bool = False) -> str:
        """What a token adds to the text; empty while a character is unfinished, unless nothing follows."""
        self.tokens.append(token)
        text = self._decoded()
        if text.endswith("\ufffd") and not last:
            return ""
        added, self.told = text[len(self.told) :], text
        return added

    def _decoded(self) -> str:
        return self.tokenizer.decode([*self.prompt, *self.tokens], skip_special_tokens=True)


def steered_texts(
    opened: OpenedRun,
    observed: OpenedSAE,
    prompt: str,
    feature: int,
    typical: float,
    *,
    strength: float,
    n_tokens: int,
    temperature: float,
    seed: int,
    with_sae: bool,
) -> Generator[Message, None, Message]:
    """First `start`, then one piece per token of each lane; at last how each ended.

    Args:
        opened: The run.
        observed: The SAE whose feature is pushed, at its own place.
        prompt: Any text; the model's own BOS is put first.
        feature: The feature.
        typical: Its typical maximum: the unit of strength.
        strength: How much of the typical maximum is added; negative takes away.
        n_tokens: Written per lane at most.
        temperature: 0 takes the likeliest token each time.
        seed: Of the noise that all lanes share.
        with_sae: Whether the run's SAEs are in the stream of every lane, as in training.
    """
    _check(strength, n_tokens, temperature, seed)
    encoded = opened.encode(prompt)
    room = opened.n_positions - encoded.ids.shape[1]
    if encoded.n_left_out or room < 1:
        raise LabError(
            "A prompt was to be continued",
            f"It fills all {opened.n_positions} positions that are read at once",
            "Give a shorter prompt",
        )
    push = Push(observed.hook_point, observed.sae, feature, strength * typical)
    transforms = {place: sae.reconstruct for place, sae in opened.loaded.saes.items()} if with_sae else {}
    eos = frozenset({opened.loaded.tokenizer.eos_token_id} - {None})
    writing = lanes(opened.model, push, transforms, opened.special_tokens, temperature=temperature, seed=seed, eos=eos)
    texts = {name: _Text(opened.loaded.tokenizer, encoded.ids[0].tolist()) for name in writing}
    n_written = min(n_tokens, room)
    yield {"event": "start", "typical_maximum": typical, "amount": strength * typical, "n_tokens": n_written, "lanes": list(writing)}
    for name, token in written(writing, encoded.ids, n_written):
        lane = writing[name]
        piece = texts[name].piece(token, last=lane.ended or len(lane.tokens) == n_written)
        yield {"event": "token", "lane": name, "text": piece, "token": token}
    return {name: {"n_tokens": len(lane.tokens), "ended": lane.ended} for name, lane in writing.items()}


def _check(strength: float, n_tokens: int, temperature: float, seed: int) -> None:
    """Refuse what cannot be meant."""
    for name, value, least, most in (
        ("strength", strength, -MAX_STRENGTH, MAX_STRENGTH),
        ("number of tokens", n_tokens, 1, MAX_TOKENS),
        ("temperature", temperature, 0, MAX_TEMPERATURE),
        ("seed", seed, 0, 2**31 - 1),
    ):
        if not math.isfinite(value) or not least <= value <= most:
            raise LabError(f"A {name} of {value} was asked for", f"It goes from {least:g} to {most:g}", "Choose a value in between")
