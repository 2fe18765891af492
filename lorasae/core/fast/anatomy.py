"""What a decoder of each known family is made of: the one place where the fast step knows model families.

The pieces are the model's own modules; nothing is copied. What a family does in its own way (Gemma's norms around attention and MLP,
GPT-2's one matrix for queries, keys and values, GPT-NeoX's parallel MLP) is a field here, and the forward pass reads the fields.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lorasae.core.hook_points import decoder_blocks, decoder_blocks_path, text_config, unwrapped

Layout = Literal["separate", "joined", "by_head"]  # of queries, keys and values: three maps; one map; one map, head by head


@dataclass(frozen=True)
class Norm:
    """RMS or layer norm over the last dimension."""

    module: nn.Module
    eps: float
    rms: bool
    offset: float  # Gemma's gain is 1 + weight

    @property
    def gain(self) -> Tensor:
        """`(d,)`."""
        weight: Tensor = self.module.weight  # type: ignore[assignment]
        return weight + self.offset if self.offset else weight

    @property
    def bias(self) -> Tensor | None:
        """`(d,)` of a layer norm."""
        return getattr(self.module, "bias", None)


@dataclass(frozen=True)
class Attention:
    """Causal attention of one block."""

    maps: tuple[nn.Module, ...]  # one for each of queries, keys, values, or one for all
    layout: Layout
    out: nn.Module
    n_heads: int
    n_kv_heads: int
    head_dim: int
    scale: float
    softcap: float | None
    window: int | None  # tokens seen, the own one included; None: all of the past
    query_norm: Norm | None
    key_norm: Norm | None
    rotation: str | None  # which of the model's rotary embeddings; None where positions are embedded (GPT-2)


@dataclass(frozen=True)
class Mlp:
    """down(activation(gate) * up), or down(activation(up)) where there is no gate."""

    gate: nn.Module | None
    up: nn.Module
    down: nn.Module
    activation: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Block:
    """One decoder block. Each norm is None where the family has none there."""

    before_attention: Norm
    attention: Attention
    after_attention: Norm | None
    before_mlp: Norm
    mlp: Mlp
    after_mlp: Norm | None
    parallel: bool  # the MLP reads the stream that the attention reads


@dataclass(frozen=True)
class Anatomy:
    """A causal LM, taken apart."""

    embed: nn.Module
    positions: nn.Module | None  # GPT-2's embedding of positions
    rotary: nn.Module | None
    rotations: tuple[str, ...]
    blocks: tuple[Block, ...]
    final_norm: Norm
    head: nn.Module
    final_softcap: float | None


class NoAnatomy(Exception):
    """Why a model has no fast step, as the end of a sentence that begins with "because"."""


def anatomy(model: nn.Module) -> Anatomy:
    """Take a causal LM apart, bare or wrapped by PEFT.

    Raises:
        NoAnatomy: For a family, or a variant of one, that is not known here, and for a model with hooks, which would not be called.
    """
    config = text_config(model)
    if config.model_type not in _FAMILIES:
        raise NoAnatomy(f"models of the family {config.model_type!r} have none")
    if getattr(config, "use_bidirectional_attention", False) or getattr(config, "add_cross_attention", False):
        raise NoAnatomy("its attention looks ahead, or at another model")
    if any(module._forward_hooks or module._forward_pre_hooks for module in model.modules()):
        raise NoAnatomy("there are hooks on its modules")
    bare = unwrapped(model)
    backbone = bare.get_submodule(decoder_blocks_path(model).rpartition(".")[0])
    names = _FAMILIES[config.model_type]
    blocks = tuple(names.block(block, config, index) for index, block in enumerate(decoder_blocks(model)))
    return Anatomy(
        embed=getattr(backbone, names.embed),
        positions=getattr(backbone, "wpe", None),
        rotary=getattr(backbone, "rotary_emb", None),
        rotations=tuple(sorted({block.attention.rotation for block in blocks if block.attention.rotation is not None})),
        blocks=blocks,
        final_norm=_norm(getattr(backbone, names.final_norm)),
        head=bare.get_output_embeddings(),
        final_softcap=getattr(config, "final_logit_softcapping", None),
    )


def _norm(module: nn.Module) -> Norm:
    if isinstance(module, nn.LayerNorm):
        return Norm(module, module.eps, rms=False, offset=0.0)
    eps = getattr(module, "eps", None) or module.variance_epsilon
    return Norm(module, eps, rms=True, offset=1.0 if type(module).__name__.startswith("Gemma") else 0.0)  # type: ignore[arg-type]


def _optional_norm(module: nn.Module, name: str) -> Norm | None:
    return _norm(getattr(module, name)) if hasattr(module, name) else None


def _activation(module: Any) -> Callable[[Tensor], Tensor]:
    """The model's own activation; tanh-GELU, which some families write out in eight operations, as the one that torch has."""
    return _tanh_gelu if type(module).__name__ in ("NewGELUActivation", "FastGELUActivation", "GELUTanh") else module


def _tanh_gelu(x: Tensor) -> Tensor:
    return F.gelu(x, approximate="tanh")


def _llama_block(block: Any, config: Any, index: int) -> Block:
    """Llama, Mistral, Qwen and Gemma, of which the later ones have norms behind attention and MLP."""
    attention = block.self_attn
    around = hasattr(block, "pre_feedforward_layernorm")
    window = config.sliding_window if config.model_type == "mistral" else getattr(attention, "sliding_window", None)
    return Block(
        before_attention=_norm(block.input_layernorm),
        attention=Attention(
            maps=(attention.q_proj, attention.k_proj, attention.v_proj),
            layout="separate",
            out=attention.o_proj,
            n_heads=config.num_attention_heads,
            n_kv_heads=config.num_key_value_heads,
            head_dim=attention.head_dim,
            scale=attention.scaling,
            softcap=getattr(attention, "attn_logit_softcapping", None) if config.model_type == "gemma2" else None,
            window=window,
            query_norm=_optional_norm(attention, "q_norm"),
            key_norm=_optional_norm(attention, "k_norm"),
            rotation=config.layer_types[index] if config.model_type == "gemma3_text" else "",
        ),
        after_attention=_norm(block.post_attention_layernorm) if around else None,
        before_mlp=_norm(block.pre_feedforward_layernorm if around else block.post_attention_layernorm),
        mlp=Mlp(block.mlp.gate_proj, block.mlp.up_proj, block.mlp.down_proj, _activation(block.mlp.act_fn)),
        after_mlp=_norm(block.post_feedforward_layernorm) if around else None,
        parallel=False,
    )


def _gpt2_block(block: Any, config: Any, index: int) -> Block:
    attention = block.attn
    return Block(
        before_attention=_norm(block.ln_1),
        attention=Attention(
            maps=(attention.c_attn,),
            layout="joined",
            out=attention.c_proj,
            n_heads=config.num_attention_heads,
            n_kv_heads=config.num_attention_heads,
            head_dim=attention.head_dim,
            scale=attention.scaling,
            softcap=None,
            window=None,
            query_norm=None,
            key_norm=None,
            rotation=None,
        ),
        after_attention=None,
        before_mlp=_norm(block.ln_2),
        mlp=Mlp(None, block.mlp.c_fc, block.mlp.c_proj, _activation(block.mlp.act)),
        after_mlp=None,
        parallel=False,
    )


def _gpt_neox_block(block: Any, config: Any, index: int) -> Block:
    attention = block.attention
    return Block(
        before_attention=_norm(block.input_layernorm),
        attention=Attention(
            maps=(attention.query_key_value,),
            layout="by_head",
            out=attention.dense,
            n_heads=config.num_attention_heads,
            n_kv_heads=config.num_attention_heads,
            head_dim=attention.head_size,
            scale=attention.scaling,
            softcap=None,
            window=None,
            query_norm=None,
            key_norm=None,
            rotation="",
        ),
        after_attention=None,
        before_mlp=_norm(block.post_attention_layernorm),
        mlp=Mlp(None, block.mlp.dense_h_to_4h, block.mlp.dense_4h_to_h, _activation(block.mlp.act)),
        after_mlp=None,
        parallel=block.use_parallel_residual,
    )


@dataclass(frozen=True)
class _Family:
    embed: str
    final_norm: str
    block: Callable[[Any, Any, int], Block]


_LLAMA_LIKE = _Family("embed_tokens", "norm", _llama_block)
_FAMILIES = {
    **dict.fromkeys(("gemma", "gemma2", "gemma3_text", "llama", "mistral", "qwen2", "qwen3"), _LLAMA_LIKE),
    "gpt2": _Family("wte", "ln_f", _gpt2_block),
    "gpt_neox": _Family("embed_in", "final_layer_norm", _gpt_neox_block),
}


def rotations(anatomy: Anatomy, like: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Cosines and sines of every rotary embedding that the blocks use, each `(pos, rotated)`, for a stream `(batch, pos, d_in)`."""
    if anatomy.rotary is None:
        return {}
    positions = torch.arange(like.shape[1], device=like.device)[None]
    tables = {}
    for name in anatomy.rotations:
        cos, sin = anatomy.rotary(like, positions, name) if name else anatomy.rotary(like, positions)
        tables[name] = cos[0], sin[0]
    return tables
