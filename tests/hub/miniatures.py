"""Small doubles of the repositories that the lab works with, in their real names and layouts.

The number of layers is the real one, so that every published hook point exists; the stream is 16 wide and the vocabulary 64. Weights are
random but always the same. An SAE's features are the stream's axes and their negatives, each as often as it takes to come near the stated
L0, and its decoder shrinks by a fifth: it works, and it loses something that an adapter can win back.
"""

import io
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from tokenizers.processors import TemplateProcessing
from torch import Tensor
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

from tests.core.toys import BOS, D_IN, EOS, PAD, VOCAB
from tests.hub.server import LocalHub
from tests.hub.storage import Commit
from tests.tiny_world import tokenizer

Files = Mapping[str, bytes]
DATASET = "test-lab/tiny-stories"
_WORDS = (
    "cat dog owl boy girl king",
    "saw ate hid lost found drew",
    "bone leaf stone apple key map",
    "at home,by night,in spring,once more,in vain",
)
SENTENCES = tuple(
    f"the {who} {what} a {thing} {how}."
    for who, what, thing, how in product(*(words.split() for words in _WORDS[:3]), _WORDS[3].split(","))
)  # 1080 of them, about 28,000 tokens: enough for a small run
_THRESHOLD, _SHRINK = 0.01, 0.8


@dataclass(frozen=True)
class Miniature:
    """How a repository is made."""

    files: Callable[[], Files]
    repo_type: str = "model"
    gated: str | bool = False


def publish(hub: LocalHub, repo_ids: Iterable[str] | None = None, accepted: tuple[str, ...] = ()) -> dict[str, Commit]:
    """Put these miniatures (all of them if none is named) on the Hub; `accepted`: users whom the gates let through."""
    chosen = MINIATURES if repo_ids is None else {repo_id: MINIATURES[repo_id] for repo_id in repo_ids}
    return {
        repo_id: hub.publish(one.files(), repo_id, one.repo_type, gated=one.gated, accepted=accepted) for repo_id, one in chosen.items()
    }


# Language models


@cache
def gemma_2_2b() -> Files:
    """26 layers in float32, in three or so shards with an index."""
    config = Gemma2Config(num_hidden_layers=26, query_pre_attn_scalar=8, max_position_embeddings=8192, **_shape(head_dim=8))
    return _model(config, Gemma2ForCausalLM, _card("gemma", "transformers"), max_shard_size="100KB")


@cache
def gemma_3_270m() -> Files:
    """18 layers in bfloat16, one file; every sixth layer attends to everything."""
    config = Gemma3TextConfig(num_hidden_layers=18, query_pre_attn_scalar=8, sliding_window=512, **_shape(head_dim=8))
    return _model(config, Gemma3ForCausalLM, _card("gemma", "transformers"), dtype=torch.bfloat16)


@cache
def llama_3_1_8b() -> Files:
    """32 layers in bfloat16, in four or so shards."""
    config = LlamaConfig(num_hidden_layers=32, tie_word_embeddings=False, max_position_embeddings=8192, **_shape(head_dim=8))
    return _model(config, LlamaForCausalLM, _card("llama3.1", "transformers"), dtype=torch.bfloat16, max_shard_size="40KB")


@cache
def gpt2() -> Files:
    """12 layers; the tokenizer puts no BOS in front."""
    sizes: dict[str, Any] = {
        "n_embd": D_IN,
        "n_layer": 12,
        "n_head": 2,
        "n_positions": 1024,
        "vocab_size": VOCAB,
        "initializer_range": 0.25,
    }
    config = GPT2Config(bos_token_id=BOS, eos_token_id=EOS, pad_token_id=PAD, **sizes)
    return _model(config, GPT2LMHeadModel, _card("mit", "transformers"), adds_bos=False)


def _shape(head_dim: int) -> dict[str, Any]:
    sizes = {"vocab_size": VOCAB, "hidden_size": D_IN, "intermediate_size": 24, "num_attention_heads": 2, "num_key_value_heads": 1}
    return {**sizes, "head_dim": head_dim, "bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD, "initializer_range": 0.25}


def _model(
    config: Any,
    architecture: Callable[[Any], Any],
    card: bytes,
    *,
    dtype: torch.dtype = torch.float32,
    adds_bos: bool = True,
    max_shard_size: str = "5GB",
) -> Files:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = architecture(config).to(dtype)
    words = tokenizer()
    if adds_bos:
        words.backend_tokenizer.post_processor = TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", BOS)])  # type: ignore[assignment]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model.save_pretrained(folder, max_shard_size=max_shard_size)
        words.save_pretrained(folder)
        return {"README.md": card, **{path.name: path.read_bytes() for path in sorted(folder.iterdir())}}


# SAEs


def _sae_weights(l0: float) -> dict[str, Tensor]:
    """`W_enc (d_in, d_sae)`, `W_dec (d_sae, d_in)`, biases and thresholds, with about `l0` active features per token."""
    n_copies = max(1, round(l0 / D_IN))
    axes = torch.cat([torch.eye(D_IN), -torch.eye(D_IN)]).repeat(n_copies, 1)
    d_sae = len(axes)
    biases = {"b_enc": torch.zeros(d_sae), "b_dec": torch.zeros(D_IN), "threshold": torch.full((d_sae,), _THRESHOLD)}
    return {"W_enc": axes.T.contiguous(), "W_dec": axes * _SHRINK / n_copies, **biases}


@cache
def gemma_scope_2b_pt_res() -> Files:
    """`layer_L/width_W/average_l0_N/params.npz` in float32; the width is only a name here."""
    wanted = {(12, "16k"): (22, 82, 176), (12, "65k"): (72,), (20, "16k"): (71,), (5, "16k"): (68,)}
    files = {"README.md": _card("cc-by-4.0", "saelens")}
    for (layer, width), l0s in wanted.items():
        for l0 in l0s:
            held = io.BytesIO()
            np.savez(held, allow_pickle=False, **{name: tensor.numpy() for name, tensor in _sae_weights(l0).items()})
            files[f"layer_{layer}/width_{width}/average_l0_{l0}/params.npz"] = held.getvalue()
    return files


@cache
def gemma_scope_2_270m_pt() -> Files:
    """`resid_post/layer_L_width_W_l0_X/` with a config.json and lower-case names in params.safetensors."""
    files = {"README.md": _card("cc-by-4.0", "saelens")}
    for layer in (5, 9, 12, 15):
        for size, l0 in {"small": 20, "medium": 60, "big": 150}.items():
            folder, weights = f"resid_post/layer_{layer}_width_16k_l0_{size}", _sae_weights(l0)
            place = {"hf_hook_point_in": f"model.layers.{layer}.output", "hf_hook_point_out": f"model.layers.{layer}.output"}
            kind = {"architecture": "jump_relu", "model_name": "gemma-v3-270m-pt", "type": "sae", "affine_connection": False}
            files[f"{folder}/config.json"] = _json({**place, "width": len(weights["b_enc"]), "l0": l0, **kind})
            files[f"{folder}/params.safetensors"] = save({name.lower(): tensor for name, tensor in weights.items()})
    return files


@cache
def llama_scope_lxr_8x() -> Files:
    """`Llama3_1-8B-Base-L15R-8x/` with hyperparams.json and checkpoints/final.safetensors: Linear layers in bfloat16, one threshold."""
    files = {"README.md": _card("apache-2.0", "saelens")}
    for layer in (8, 15):
        folder, weights, place = f"Llama3_1-8B-Base-L{layer}R-8x", _sae_weights(50), f"blocks.{layer}.hook_resid_post"
        d_sae = len(weights["b_enc"])
        shape = {"d_model": D_IN, "d_sae": d_sae, "expansion_factor": d_sae // D_IN, "dtype": "torch.bfloat16"}
        norm = {"norm_activation": "dataset-wise", "dataset_average_activation_norm": {"in": 8.0, "out": 8.0}}
        kind = {"act_fn": "jumprelu", "jump_relu_threshold": _THRESHOLD, "sparsity_include_decoder_norm": True, "use_decoder_bias": True}
        files[f"{folder}/hyperparams.json"] = _json({"hook_point_in": place, "hook_point_out": place, **shape, **norm, **kind})
        encoder = {"encoder.weight": weights["W_enc"].T, "encoder.bias": weights["b_enc"]}
        decoder = {"decoder.weight": weights["W_dec"].T, "decoder.bias": weights["b_dec"]}
        linear = {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in {**encoder, **decoder}.items()}
        files[f"{folder}/checkpoints/final.safetensors"] = save(linear)
    return files


@cache
def gemma_2_2b_matryoshka() -> Files:
    """sae-lens's format: `cfg.json` and `sae_weights.safetensors` in a folder named after the hook point."""
    files = {"README.md": _card("apache-2.0", "saelens")}
    for layer in (5, 12):
        folder, weights = f"standard/blocks.{layer}.hook_resid_post", _sae_weights(40)
        shape = {"architecture": "jumprelu", "d_in": D_IN, "d_sae": len(weights["b_enc"]), "dtype": "float32", "device": "cpu"}
        settings = {"apply_b_dec_to_input": False, "normalize_activations": "none", "reshape_activations": "none"}
        metadata = {
            "model_name": "google/gemma-2-2b",
            "hook_name": f"blocks.{layer}.hook_resid_post",
            "prepend_bos": True,
            "context_size": 1024,
        }
        files[f"{folder}/cfg.json"] = _json({**shape, **settings, "metadata": {**metadata, "sae_lens_version": "6.12.0"}})
        files[f"{folder}/sae_weights.safetensors"] = save(weights)
    return files


@cache
def gpt2_small_res_jb() -> Files:
    """sae-lens's format as it was before version 6: a flat cfg.json; a plain ReLU SAE before layer 8."""
    weights = {name: tensor for name, tensor in _sae_weights(60).items() if name != "threshold"}
    place = {"hook_point": "blocks.8.hook_resid_pre", "hook_point_layer": 8, "hook_point_head_index": None}
    shape = {"d_in": D_IN, "d_sae": len(weights["b_enc"]), "dtype": "torch.float32", "device": "cpu", "context_size": 128}
    source = {"model_name": "gpt2-small", "dataset_path": DATASET, "is_dataset_tokenized": False, "prepend_bos": True}
    folder, sparsity = "blocks.8.hook_resid_pre", torch.full((len(weights["b_enc"]),), -1.0)
    return {
        "README.md": _card("mit", "saelens"),
        f"{folder}/cfg.json": _json({**source, **place, **shape}),
        f"{folder}/sae_weights.safetensors": save(weights),
        f"{folder}/sparsity.safetensors": save({"sparsity": sparsity}),
    }


# Text


@cache
def tiny_stories() -> Files:
    """A train split of the same sentences twice: as parquet, which the card names, and as JSON lines, to be asked for by file."""
    import pyarrow
    import pyarrow.parquet

    held = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"text": SENTENCES}), held)
    lines = "".join(json.dumps({"text": sentence}) + "\n" for sentence in SENTENCES)
    data = "configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/train-*.parquet\n"
    card = f"---\nlicense: cc0-1.0\nlanguage: en\n{data}---\n# A few sentences\n"
    return {"README.md": card.encode(), "data/train-00000-of-00001.parquet": held.getvalue(), "train.jsonl": lines.encode()}


def _card(licence: str, library: str) -> bytes:
    return f"---\nlicense: {licence}\nlibrary_name: {library}\ntags:\n- miniature\n---\n# A miniature for tests\n".encode()


def _json(values: Mapping[str, Any]) -> bytes:
    return json.dumps(values, indent=2).encode()


MINIATURES = {
    "google/gemma-2-2b": Miniature(gemma_2_2b, gated="manual"),
    "google/gemma-3-270m": Miniature(gemma_3_270m, gated="manual"),
    "meta-llama/Llama-3.1-8B": Miniature(llama_3_1_8b, gated="manual"),
    "openai-community/gpt2": Miniature(gpt2),
    "google/gemma-scope-2b-pt-res": Miniature(gemma_scope_2b_pt_res),
    "google/gemma-scope-2-270m-pt": Miniature(gemma_scope_2_270m_pt),
    "fnlp/Llama3_1-8B-Base-LXR-8x": Miniature(llama_scope_lxr_8x),
    "chanind/gemma-2-2b-batch-topk-matryoshka-saes-w-32k-l0-40": Miniature(gemma_2_2b_matryoshka),
    "jbloom/GPT2-Small-SAEs-Reformatted": Miniature(gpt2_small_res_jb),
    DATASET: Miniature(tiny_stories, "dataset"),
}
