"""Models of the true shapes with random weights, made on the device without a download, and random SAEs that fire as often as real ones."""

from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig, PreTrainedModel

from lorasae.core.hook_points import HookPoint
from lorasae.core.sae import FrozenSAE, JumpReLU
from lorasae.core.special_tokens import SpecialTokens
from lorasae.core.splice import spliced
from lorasae.sources.published_models import PUBLISHED, ModelSizes

_SPREAD = 0.02  # of random weights: activations stay of order one through fifty layers
_SAMPLED_SEQUENCES, _SAMPLED_TOKENS = 8, 512  # from which an SAE's threshold is set


@dataclass(frozen=True)
class Shape:
    """A published model's sizes, and the SAE it is usually adapted around."""

    published: str  # its name on the Hub, where its sizes are known from
    layer: int
    width: int
    l0: int

    @property
    def sizes(self) -> ModelSizes:
        return PUBLISHED[self.published]


SHAPES = {  # the Gemma rows: the paper's comparison of model sizes; the others: a common SAE of that model
    "gpt2": Shape("openai-community/gpt2", 6, 24_576, 64),
    "gemma-2-2b": Shape("google/gemma-2-2b", 12, 16_384, 82),
    "gemma-2-9b": Shape("google/gemma-2-9b", 20, 131_072, 62),
    "gemma-2-27b": Shape("google/gemma-2-27b", 22, 131_072, 82),
    "llama-3.1-8b": Shape("meta-llama/Llama-3.1-8B", 16, 131_072, 50),
}


def architecture_of(sizes: ModelSizes) -> PretrainedConfig:
    """The configuration from which transformers builds a model of these sizes."""
    if sizes.family == "gpt2":
        return AutoConfig.for_model(
            "gpt2", n_embd=sizes.d_model, n_layer=sizes.n_layers, n_head=sizes.n_heads, n_inner=sizes.d_mlp, vocab_size=sizes.vocab
        )
    return AutoConfig.for_model(
        sizes.family,
        hidden_size=sizes.d_model,
        intermediate_size=sizes.d_mlp,
        num_hidden_layers=sizes.n_layers,
        num_attention_heads=sizes.n_heads,
        num_key_value_heads=sizes.n_kv_heads,
        head_dim=sizes.d_head,
        vocab_size=sizes.vocab,
        max_position_embeddings=sizes.max_context or 8192,
        tie_word_embeddings=sizes.tied,
    )


def random_model(architecture: PretrainedConfig, dtype: torch.dtype, device: torch.device, seed: int = 0) -> PreTrainedModel:
    """A frozen model in eval mode whose weights are drawn where they lie: nothing is ever held twice."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(architecture, dtype=dtype, attn_implementation="eager", trust_remote_code=False)
    buffers = _computed_buffers(architecture)
    model.to_empty(device=device)
    model.tie_weights()
    generator = torch.Generator(device).manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, _SPREAD, generator=generator)
            else:  # Gemma's norms scale by 1 + weight, the others by weight
                is_scale = "norm" in name or ".ln_" in name
                parameter.fill_(1.0 if is_scale and name.endswith("weight") and "gemma" not in architecture.model_type else 0.0)
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
    return model.eval().requires_grad_(False)


def _computed_buffers(architecture: PretrainedConfig) -> dict[str, Tensor]:
    """Buffers that a model computes for itself (rotary frequencies), from one of a single thin layer: `to_empty` forgets them."""
    thin = type(architecture).from_dict(architecture.to_dict())
    thin.num_hidden_layers, thin.vocab_size, thin.pad_token_id = 1, 8, None
    thin.layer_types = (getattr(thin, "layer_types", None) or [])[:1] or None
    setattr(thin, "n_inner" if thin.model_type == "gpt2" else "intermediate_size", 8)
    return dict(AutoModelForCausalLM.from_config(thin, trust_remote_code=False).named_buffers())


def random_sae(
    model: nn.Module, hook_point: HookPoint, width: int, l0: float, ids: Tensor, special_tokens: SpecialTokens, seed: int = 0
) -> FrozenSAE:
    """A JumpReLU SAE in fp32 that fires on about `l0` of `width` features per token of the model's stream at `hook_point`.

    Args:
        model: Bare, on its device.
        hook_point: Where the SAE will sit.
        width: Number of features.
        l0: Mean number of active features wanted; one threshold for all features is set from a sample.
        ids: `(batch, pos)`, of which a sample is taken.
        special_tokens: The policy under which it will be used.
        seed: Of its weights.
    """
    stream = _stream(model, hook_point, ids, special_tokens).float()
    generator = torch.Generator(stream.device).manual_seed(seed)
    directions = torch.randn(stream.shape[-1], width, generator=generator, device=stream.device)
    directions /= directions.norm(dim=0, keepdim=True)
    mean = stream.mean(dim=0)
    projected = (stream - mean) @ directions
    threshold = projected.flatten().topk(max(1, round(l0 * len(stream))) + 1).values[-2:].mean().clamp(min=0)  # on no value itself
    active = projected * (projected > threshold)
    rebuilt = active @ directions.T
    scale = ((stream - mean) * rebuilt).sum() / rebuilt.square().sum().clamp(min=1e-12)  # least squares: as near as one number makes it
    b_enc = -(mean @ directions)
    return FrozenSAE(directions, (directions.T * scale).contiguous(), mean, JumpReLU(b_enc, threshold.expand(width).contiguous()))


class _Seen(Exception):
    """Ends a forward pass whose rest nobody needs."""


def _stream(model: nn.Module, hook_point: HookPoint, ids: Tensor, special_tokens: SpecialTokens) -> Tensor:
    """`(tokens, d_in)`: a sample of the stream at the hook point, special positions left out."""
    seen: list[Tensor] = []

    def look(stream: Tensor) -> Tensor:
        seen.append(stream)
        raise _Seen

    sequences = ids[:_SAMPLED_SEQUENCES]
    with torch.no_grad(), spliced(model, {hook_point: look}, special_tokens):
        for sequence in sequences:
            with suppress(_Seen):
                model(input_ids=sequence[None], use_cache=False)
    tokens = torch.cat(seen)
    return tokens[:: max(1, len(tokens) // _SAMPLED_TOKENS)]
