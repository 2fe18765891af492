"""Held-out text under each condition, with everything shared that two conditions have in common.

original        the whole model
original_sae    from the lowest SAE on; up to the lowest adapted layer in common with adapted_sae
adapted_sae     from the lowest SAE or adapted layer on
adapted         from the lowest adapted layer on
zero            from the lowest SAE on
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from lorasae.core.adapter import adapted_layers, adapter_in_use
from lorasae.core.conditions import Condition
from lorasae.core.fast.forward import Decoder, Insertion, Insertions, blocks_below
from lorasae.core.fast.head_losses import token_losses
from lorasae.core.fast.maps import AdaptedMaps, Maps, frozen_map
from lorasae.core.hook_points import HookPoint
from lorasae.core.plain_pass import Losses, Transforms
from lorasae.core.special_tokens import SpecialTokens
from lorasae.core.splice import Transform


class SharedPass:
    """`core.plain_pass.Pass` of one model, its SAEs' places and the adapter in use, with the adapter's weights as they are now."""

    def __init__(self, model: nn.Module, places: Iterable[HookPoint], special_tokens: SpecialTokens) -> None:
        """
        Raises:
            NoAnatomy: If this model or adapter has no fast step.
        """
        self._decoder = Decoder.of(model)
        self._special_tokens = special_tokens
        self._n_layers = self._decoder.n_layers
        adapter = adapter_in_use(model)
        layers = adapted_layers(model, adapter) if adapter else []
        self._adapted: Maps = AdaptedMaps(model, adapter, training=False) if adapter else frozen_map
        self._first_adapted = min([*layers, self._n_layers])
        self._first_spliced = min([*map(blocks_below, places), self._n_layers])

    def losses(self, ids: Tensor, transforms: Transforms) -> dict[Condition, Losses]:
        """As in `core.plain_pass.Pass`."""
        hidden: dict[Condition, Tensor] = {
            name: self._decoder.final(stream).flatten(0, 1) for name, stream in self._streams(ids, transforms).items()
        }
        following = torch.cat([ids[:, 1:], ids[:, :1]], dim=1).flatten()  # what follows the last token of a sequence is not known
        found = token_losses(self._decoder.head, hidden.pop("original"), list(hidden.values()), following)
        names: list[Condition] = ["original", *hidden]
        pairs = zip(names, found, strict=True)
        return {name: Losses(each.ce.view_as(ids)[:, :-1], each.kl.view_as(ids)) for name, each in pairs}

    def _streams(self, ids: Tensor, transforms: Transforms) -> dict[Condition, Tensor]:
        """The stream behind the last block, by condition."""
        spliced = self._special_tokens.spliced_positions(ids)
        insertions = {name: Insertions(_inserted(inserted, spliced)) for name, inserted in transforms.items()}
        kept = self._original(ids, insertions["original"])
        streams: dict[Condition, Tensor] = {"original": kept[self._n_layers]}
        if "zero" in transforms:
            streams["zero"] = self._spliced(kept, insertions["zero"])
        if "adapted" in transforms:
            streams["adapted"] = self._decoder.through(kept[self._first_adapted], self._first_adapted, self._n_layers, self._adapted)
        if self._first_adapted >= self._first_spliced and {"original_sae", "adapted_sae"} <= transforms.keys():
            trunk = self._spliced(kept, insertions["adapted_sae"], self._first_adapted)
            streams["original_sae"] = self._decoder.through(
                trunk, self._first_adapted, self._n_layers, frozen_map, insertions["original_sae"]
            )
            streams["adapted_sae"] = self._decoder.through(
                trunk, self._first_adapted, self._n_layers, self._adapted, insertions["adapted_sae"]
            )
            return streams
        if "original_sae" in transforms:
            streams["original_sae"] = self._spliced(kept, insertions["original_sae"])
        if "adapted_sae" in transforms:
            streams["adapted_sae"] = self._adapted_and_spliced(kept, insertions["adapted_sae"])
        return streams

    def _original(self, ids: Tensor, insertions: Insertions) -> dict[int, Tensor]:
        """The original model's stream below the blocks from which another condition goes on, and behind the last."""
        stream, first = insertions.border(0, self._decoder.embedded(ids)), 0
        kept: dict[int, Tensor] = {}
        for end in sorted({self._first_adapted, self._first_spliced, self._n_layers}):
            stream, first = self._decoder.through(stream, first, end, insertions=insertions), end
            kept[end] = stream
        return kept

    def _spliced(self, kept: Mapping[int, Tensor], insertions: Insertions, end: int | None = None) -> Tensor:
        """The original model with something in its stream, from the lowest place on."""
        stream = insertions.border(self._first_spliced, kept[self._first_spliced])
        return self._decoder.through(stream, self._first_spliced, self._n_layers if end is None else end, insertions=insertions)

    def _adapted_and_spliced(self, kept: Mapping[int, Tensor], insertions: Insertions) -> Tensor:
        if self._first_adapted >= self._first_spliced:
            trunk = self._spliced(kept, insertions, self._first_adapted)
        else:
            trunk = kept[self._first_adapted]
        return self._decoder.through(trunk, self._first_adapted, self._n_layers, self._adapted, insertions)


def _inserted(transforms: Mapping[HookPoint, Transform], spliced: Tensor) -> dict[HookPoint, Insertion]:
    return {hook_point: _insertion(transform, spliced) for hook_point, transform in transforms.items()}


def _insertion(transform: Transform, spliced: Tensor) -> Insertion:
    """A transform sees only the positions that are not bypassed, because it may count them."""

    def insertion(stream: Tensor) -> Tensor:
        new = stream.clone()
        new[spliced] = transform(stream[spliced]).to(stream.dtype)
        return new

    return insertion
