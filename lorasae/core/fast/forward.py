"""The forward pass of a decoder over its anatomy: any stretch of blocks, with any maps, with SAEs at any place in between."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor, nn

from lorasae.core.fast import anatomy as parts
from lorasae.core.fast.anatomy import Anatomy, Block, Mlp, rotations
from lorasae.core.fast.attention import Attention, causal_attention
from lorasae.core.fast.gpu_attention import TriedAttention
from lorasae.core.fast.kl_head import Head
from lorasae.core.fast.maps import Maps, frozen_map
from lorasae.core.fast.pointwise import normed, rotated
from lorasae.core.hook_points import HookPoint, Site

Insertion = Callable[[Tensor], Tensor]  # (batch, pos, d_in) -> the same, specials left as they are


@dataclass(frozen=True)
class Insertions:
    """What is put into the stream, by where a forward pass meets it."""

    at: Mapping[HookPoint, Insertion] = field(default_factory=dict)

    def border(self, layer: int, stream: Tensor) -> Tensor:
        """The stream between the blocks `layer - 1` and `layer`."""
        for place in (HookPoint(layer - 1, "resid_post"), HookPoint(layer, "resid_pre")):
            if place in self.at:
                stream = self.at[place](stream)
        return stream

    def inside(self, layer: int, site: Site, stream: Tensor) -> Tensor:
        """What leaves a part of block `layer`."""
        insertion = self.at.get(HookPoint(layer, site))
        return insertion(stream) if insertion else stream


NOTHING = Insertions()


def blocks_below(hook_point: HookPoint) -> int:
    """How many blocks are the same with and without something at this place."""
    return hook_point.layer + 1 if hook_point.site == "resid_post" else hook_point.layer


@dataclass(frozen=True)
class Decoder:
    """A model's blocks as functions of the stream."""

    anatomy: Anatomy
    attention: Attention = causal_attention

    @staticmethod
    def of(model: nn.Module) -> "Decoder":
        """With the attention that the model's device does best.

        Raises:
            NoAnatomy: If the model has no fast step.
        """
        decoder = Decoder(parts.anatomy(model))
        return replace(decoder, attention=TriedAttention()) if decoder.head.weight.is_cuda else decoder

    @cached_property
    def head(self) -> Head:
        """What turns the final stream into logits."""
        module = self.anatomy.head
        return Head(module.weight, getattr(module, "bias", None), self.anatomy.final_softcap)  # type: ignore[arg-type]

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return len(self.anatomy.blocks)

    def embedded(self, ids: Tensor) -> Tensor:
        """`(batch, pos)` token ids -> the stream below block 0, `(batch, pos, d_in)`."""
        stream = self.anatomy.embed(ids)
        if self.anatomy.positions is None:
            return stream
        return stream + self.anatomy.positions(torch.arange(ids.shape[1], device=ids.device))

    def through(self, stream: Tensor, first: int, end: int, maps: Maps = frozen_map, insertions: Insertions = NOTHING) -> Tensor:
        """The stream below block `first`, taken through the blocks first … end - 1.

        What belongs between two blocks is inserted behind the lower one; what belongs below block `first` is the caller's.
        """
        tables = rotations(self.anatomy, stream)
        for layer in range(first, end):
            stream = self._block(layer, stream, tables, maps, insertions)
            stream = insertions.border(layer + 1, stream)
        return stream

    def final(self, stream: Tensor) -> Tensor:
        """What the head reads: `(batch, pos, d_in)` behind the last block -> the same, normed."""
        return normed(self.anatomy.final_norm, stream)

    def _block(self, layer: int, stream: Tensor, tables: Mapping[str, tuple[Tensor, Tensor]], maps: Maps, insertions: Insertions) -> Tensor:
        block: Block = self.anatomy.blocks[layer]
        seen = self._heads(layer, normed(block.before_attention, stream), tables, maps, insertions)
        if block.after_attention:
            seen = normed(block.after_attention, seen)
        seen = insertions.inside(layer, "attn_out", seen)
        attended = stream + seen
        added = _mlp(block.mlp, normed(block.before_mlp, stream if block.parallel else attended), maps)
        if block.after_mlp:
            added = normed(block.after_mlp, added)
        return attended + insertions.inside(layer, "mlp_out", added)

    def _heads(self, layer: int, x: Tensor, tables: Mapping[str, tuple[Tensor, Tensor]], maps: Maps, insertions: Insertions) -> Tensor:
        attention = self.anatomy.blocks[layer].attention
        queries, keys, values = _queries_keys_values(attention, x, maps)
        if attention.query_norm:
            queries = normed(attention.query_norm, queries)
        if attention.key_norm:
            keys = normed(attention.key_norm, keys)
        if attention.rotation is None:
            queries, keys = queries.transpose(1, 2), keys.transpose(1, 2)
        else:
            queries, keys = (rotated(each, *tables[attention.rotation]) for each in (queries, keys))
        mixed = self.attention(
            queries, keys, values.transpose(1, 2), scale=attention.scale, softcap=attention.softcap, window=attention.window
        )
        read = insertions.inside(layer, "attn_z", mixed.transpose(1, 2).flatten(2))
        return maps(attention.out, read)


def _queries_keys_values(attention: parts.Attention, x: Tensor, maps: Maps) -> tuple[Tensor, ...]:
    """Each `(batch, pos, heads, head_dim)`."""
    if attention.layout == "separate":
        return tuple(maps(module, x).unflatten(-1, (-1, attention.head_dim)) for module in attention.maps)
    joined = maps(attention.maps[0], x)
    if attention.layout == "joined":
        return joined.unflatten(-1, (3, attention.n_heads, attention.head_dim)).unbind(2)
    return joined.unflatten(-1, (attention.n_heads, 3, attention.head_dim)).unbind(3)


def _mlp(mlp: Mlp, x: Tensor, maps: Maps) -> Tensor:
    if mlp.gate is None:
        return maps(mlp.down, mlp.activation(maps(mlp.up, x)))
    return maps(mlp.down, mlp.activation(maps(mlp.gate, x)) * maps(mlp.up, x))
