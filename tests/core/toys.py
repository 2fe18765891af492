"""Toys for the tests of the maths: three tiny models of real families, and SAEs whose effect is known beforehand.

Weights are drawn wider than transformers does, so that attention attends, logits differ and gradients are worth checking.
"""

import copy
from collections.abc import Callable, Mapping
from functools import cache

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import Gemma2Config, Gemma2ForCausalLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from lorasae.core.adapter import adapter_parameters, attach
from lorasae.core.hook_points import HookPoint
from lorasae.core.sae import FrozenSAE, sae_from_weights
from lorasae.core.special_tokens import SpecialTokens

BOS, EOS, PAD = 1, 2, 0
VOCAB, D_IN, N_LAYERS = 64, 16, 4
SPECIAL = SpecialTokens(bypassed=(BOS, EOS), unscored=(BOS, EOS))
NO_SPECIAL = SpecialTokens()
FAMILIES = ("gpt2", "gemma2", "llama")


def resid(layer: int) -> HookPoint:
    """The residual stream behind a layer, where most SAEs sit."""
    return HookPoint(layer, "resid_post")


def tiny_model(family: str, dtype: torch.dtype = torch.float32) -> nn.Module:
    """A fresh copy, in eval mode, of the one random model of a family: 4 layers, 16 wide, 64 tokens; embeddings tied but for Llama."""
    return copy.deepcopy(_tiny_model(family)).to(dtype)


@cache
def _tiny_model(family: str) -> nn.Module:
    torch.manual_seed(1)
    specials = {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD}
    common = {"vocab_size": VOCAB, "initializer_range": 0.25, "max_position_embeddings": 64, **specials}
    if family == "gpt2":  # keeps its own dropout of 0.1 in three places, which must never act
        config = GPT2Config(n_embd=D_IN, n_layer=N_LAYERS, n_head=2, n_inner=24, n_positions=64, attn_implementation="eager", **common)
        return GPT2LMHeadModel(config).eval()
    common |= {
        "hidden_size": D_IN,
        "intermediate_size": 24,
        "num_hidden_layers": N_LAYERS,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 8,
    }
    if family == "gemma2":
        return Gemma2ForCausalLM(Gemma2Config(attn_implementation="eager", sliding_window=8, **common)).eval()
    return LlamaForCausalLM(LlamaConfig(tie_word_embeddings=False, **common)).eval()


def adapted_model(
    family: str,
    layers: tuple[int, ...] = (2, 3),
    *,
    dtype: torch.dtype = torch.float32,
    dropout: float = 0.0,
    modules: tuple[str, ...] = ("attention", "mlp"),
    trained: bool = False,
) -> PeftModel:
    """A tiny model with a rank-2 adapter; `trained`: B is random rather than zero, as after some steps."""
    model = attach(tiny_model(family, dtype), layers, modules, rank=2, alpha=4.0, dropout=dropout)
    if trained:
        _disturb(model)
    return model


def _disturb(model: PeftModel) -> None:
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in adapter_parameters(model):
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))


class IdentitySAE:
    """Reconstructs perfectly; its features are the stream and its negative, rectified, so that L0 is d_in."""

    def __init__(self, d_in: int = D_IN) -> None:
        self.d_in, self.d_sae = d_in, 2 * d_in

    def encode(self, x: Tensor) -> Tensor:
        return torch.cat([x, -x], dim=-1).relu()

    def reconstruct(self, x: Tensor) -> Tensor:
        return x


class ZeroSAE:
    """Has no active feature and answers zeros."""

    def __init__(self, d_in: int = D_IN, d_sae: int = 8) -> None:
        self.d_in, self.d_sae = d_in, d_sae

    def encode(self, x: Tensor) -> Tensor:
        return x.new_zeros(*x.shape[:-1], self.d_sae)

    def reconstruct(self, x: Tensor) -> Tensor:
        return torch.zeros_like(x)


def sparse_sae(architecture: str = "jumprelu", seed: int = 3, dtype: torch.dtype = torch.float32, d_sae: int = 48) -> FrozenSAE:
    """A random SAE with a few active features per token: not a good one, but one that passes gradients."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(dtype)

    W_dec = nn.functional.normalize(normal(d_sae, D_IN), dim=-1)
    biases = {"b_dec": 0.1 * normal(D_IN), "b_enc": 0.1 * normal(d_sae)}
    weights: Mapping[str, Tensor] = {"W_enc": W_dec.T.contiguous(), "W_dec": W_dec, **biases}
    if architecture == "jumprelu":
        return sae_from_weights("jumprelu", {**weights, "threshold": torch.full((d_sae,), 1.0, dtype=dtype)})
    return sae_from_weights("topk", weights, k=6)


def some_ids(n: int = 2, pos: int = 12, seed: int = 4) -> Tensor:
    """`(n, pos)` token ids: BOS first, an EOS in the middle of every second sequence, so that numbers of specials are unequal."""
    ids = torch.randint(3, VOCAB, (n, pos), generator=torch.Generator().manual_seed(seed))
    ids[:, 0] = BOS
    ids[::2, pos // 2] = EOS
    return ids


def captured(model: nn.Module, module: nn.Module, run: Callable[[], object]) -> Tensor:
    """What `module` gives on while `run` runs."""
    seen: list[Tensor] = []
    handle = module.register_forward_hook(lambda _module, _args, output: seen.append(output if isinstance(output, Tensor) else output[0]))
    try:
        run()
    finally:
        handle.remove()
    return seen[-1].detach()


def n_hooks(model: nn.Module) -> int:
    """Hooks registered anywhere in the model."""
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in model.modules() for kind in kinds)
