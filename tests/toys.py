"""Tiny random models of eight families, and random SAEs written in sae-lens's format, for the tests of places and of loading."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from tests.tiny_world import tokenizer

D_IN, D_SAE, VOCAB, N_LAYERS = 32, 64, 128, 4
ATTENTION_WIDTH = 64  # of all heads together, where the family lets it differ from D_IN

_COMMON: dict[str, Any] = {
    "vocab_size": VOCAB,
    "initializer_range": 0.2,
    "max_position_embeddings": 256,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GROUPED: dict[str, Any] = {
    **_COMMON,
    "hidden_size": D_IN,
    "intermediate_size": 48,
    "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": 0,
}
_ALTERNATING = {"layer_types": ["sliding_attention", "full_attention"] * (N_LAYERS // 2), "sliding_window": 8}
_MODELS: dict[str, Any] = {
    "gemma2": lambda: Gemma2ForCausalLM(Gemma2Config(**_GROUPED, **_ALTERNATING, head_dim=16, attn_implementation="eager")),
    "gemma3": lambda: Gemma3ForCausalLM(Gemma3TextConfig(**_GROUPED, **_ALTERNATING, head_dim=16)),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(**_GROUPED)),
    "qwen2": lambda: Qwen2ForCausalLM(Qwen2Config(**_GROUPED, use_sliding_window=True, sliding_window=8, max_window_layers=2)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**_GROUPED, head_dim=16)),
    "mistral": lambda: MistralForCausalLM(MistralConfig(**_GROUPED, sliding_window=8)),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(n_embd=D_IN, n_layer=N_LAYERS, n_head=4, n_positions=256, **_COMMON)),
    "gpt_neox": lambda: GPTNeoXForCausalLM(
        GPTNeoXConfig(hidden_size=D_IN, intermediate_size=48, num_hidden_layers=N_LAYERS, num_attention_heads=4, **_COMMON)
    ),
}
FAMILIES = tuple(_MODELS)


def tiny_model(family: str) -> PreTrainedModel:
    """A random model of the family in eval mode: 4 layers, 32 wide, 128 tokens, sliding windows of 8 where the family has them."""
    torch.manual_seed(7)
    model = _MODELS[family]().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name or "bias" in name or ".ln_" in name:  # drawn too, so that a norm or bias in the wrong place is noticed
                parameter.add_(0.3 * torch.randn_like(parameter))
    return model


def save_pocket_like(folder: Path, family: str = "gemma2") -> Path:
    """The family's tiny model with a tokenizer, saved in `folder` as the pocket model is."""
    tiny_model(family).save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def sae_tensors(architecture: str, d_in: int = D_IN, d_sae: int = D_SAE, seed: int = 5) -> dict[str, Tensor]:
    """Random weights of an SAE under sae-lens's names; decoder norms differ, so that folding them matters."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    weights = {"W_enc": normal(d_in, d_sae) / d_in**0.5, "W_dec": normal(d_sae, d_in), "b_dec": 0.3 * normal(d_in)}
    if architecture == "gated":
        return {**weights, "b_gate": 0.3 * normal(d_sae), "r_mag": 0.3 * normal(d_sae), "b_mag": 0.3 * normal(d_sae)}
    weights["b_enc"] = 0.3 * normal(d_sae)
    return {**weights, "threshold": normal(d_sae).abs()} if architecture == "jumprelu" else weights


def write_sae(
    folder: Path,
    architecture: str = "jumprelu",
    *,
    hook_name: str | None = "blocks.1.hook_resid_post",
    d_in: int = D_IN,
    d_sae: int = D_SAE,
    weights: dict[str, Tensor] | None = None,
    metadata: dict[str, Any] | None = None,
    **settings: Any,
) -> Path:
    """A random SAE in sae-lens's format; `settings` and `metadata` are laid over its cfg.json."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {
        "architecture": architecture,
        "d_in": d_in,
        "d_sae": d_sae,
        "dtype": "float32",
        "device": "cpu",
        "apply_b_dec_to_input": False,
        "normalize_activations": "none",
        "reshape_activations": "none",
        **({"k": 8} if architecture == "topk" else {}),
        **settings,
        "metadata": {"sae_lens_version": "6.54.12", "hook_name": hook_name, **(metadata or {})},
    }
    (folder / "cfg.json").write_text(json.dumps(config))
    save_file(weights or sae_tensors(architecture, d_in, d_sae), folder / "sae_weights.safetensors")
    return folder
