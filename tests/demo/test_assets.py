"""The stored pocket world is whole, opens everywhere, and measures what its index says."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from sae_lens import SAE
from safetensors import safe_open
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, Gemma2ForCausalLM, PreTrainedTokenizerFast

from lorasae.core.hook_points import HookPoint
from lorasae.core.splice import spliced
from lorasae.core.statistics import Observer
from lorasae.demo.build import checksums
from lorasae.demo.build.corpus import SPECIAL_TOKENS, token_chunks
from lorasae.demo.build.language_model import samples, scored_loss
from lorasae.demo.build.plan import HELD_OUT_SEED, BuildPlan
from lorasae.sources.sae_weights import read_sae

ASSETS = Path(__file__).parents[2] / "assets" / "demo"
INDEX: dict[str, Any] = json.loads((ASSETS / "saes" / "index.json").read_text())
ENTRIES: list[dict[str, Any]] = INDEX["saes"]
PLAN = BuildPlan()


@pytest.fixture(scope="module")
def model() -> Gemma2ForCausalLM:
    return AutoModelForCausalLM.from_pretrained(ASSETS / "model", dtype=torch.float32, attn_implementation="eager").eval()


@pytest.fixture(scope="module")
def tokenizer() -> PreTrainedTokenizerFast:
    return AutoTokenizer.from_pretrained(ASSETS / "model")


@pytest.fixture(scope="module")
def held_out(tokenizer: PreTrainedTokenizerFast) -> Tensor:
    return token_chunks(tokenizer, HELD_OUT_SEED, 64, PLAN.model.context_length)


def test_every_file_is_as_built() -> None:
    assert checksums.differences(ASSETS) == []


def test_assets_stay_small() -> None:
    assert sum(path.stat().st_size for path in ASSETS.rglob("*") if path.is_file()) < 38e6


def test_index_holds_three_layers_of_two_widths_of_three_sparsities() -> None:
    layers, widths = sorted(PLAN.scope.layers), sorted(d_sae for _, d_sae in PLAN.scope.widths)
    assert [(entry["layer"], entry["d_sae"]) for entry in ENTRIES] == [
        (layer, d_sae) for layer in layers for d_sae in widths for _ in range(3)
    ]
    for first in range(0, len(ENTRIES), 3):
        sparse, middle, dense = (entry["l0"] for entry in ENTRIES[first : first + 3])
        assert 1.5 * sparse < middle and 1.5 * middle < dense
    assert INDEX["default"] in [entry["sae_id"] for entry in ENTRIES]


def test_gaps_leave_something_to_close() -> None:
    by_id = {entry["sae_id"]: entry for entry in ENTRIES}
    assert 0.10 <= by_id[INDEX["default"]]["ce_gap"] <= 0.28
    assert all(entry["ce_gap"] > 3 * entry["ce_gap_error"] > 0 and entry["n_tokens"] >= 60_000 for entry in ENTRIES)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["sae_id"])
def test_sae_lens_opens_every_sae(entry: dict[str, Any]) -> None:
    folder = ASSETS / "saes" / entry["path"]
    sae = SAE.load_from_disk(folder)
    assert sae.cfg.architecture() == entry["architecture"] and sae.W_dec.dtype == torch.float32
    assert (sae.cfg.d_in, sae.cfg.d_sae) == (entry["d_in"], entry["d_sae"])
    assert sae.cfg.metadata.hook_name == entry["hook_point"] == f"blocks.{entry['layer']}.hook_resid_post"
    assert sae.cfg.metadata.model_name == "pocket" and sae.cfg.metadata.prepend_bos
    x = 10 * torch.randn(20, entry["d_in"])
    assert torch.allclose(read_sae(folder).reconstruct(x), sae(x), atol=1e-3)
    with safe_open(folder / "sae_weights.safetensors", "pt") as weights:
        assert {weights.get_slice(name).get_dtype() for name in weights.keys()} == {"F16"}  # noqa: SIM118


def test_model_has_the_stated_loss(model: Gemma2ForCausalLM, held_out: Tensor) -> None:
    """An eighth of the tokens the index was measured on; the tolerance is about three standard errors."""
    assert scored_loss(model, held_out) == pytest.approx(ENTRIES[0]["ce_original"], abs=0.04)


@pytest.mark.parametrize("entry", [ENTRIES[0], ENTRIES[-1]], ids=lambda entry: entry["sae_id"])
def test_saes_have_the_stated_sparsity_and_fidelity(model: Gemma2ForCausalLM, held_out: Tensor, entry: dict[str, Any]) -> None:
    observer = Observer(read_sae(ASSETS / "saes" / entry["path"]))
    with torch.no_grad(), spliced(model, {HookPoint(entry["layer"], "resid_post"): observer}, SPECIAL_TOKENS):
        model(input_ids=held_out.long(), use_cache=False)
    assert observer.statistics.l0 == pytest.approx(entry["l0"], rel=0.05)
    assert observer.statistics.fve == pytest.approx(entry["fve"], abs=0.01)


def test_model_writes_words_of_its_world(model: Gemma2ForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """A weak sign of fluency that needs no judge: sampled text is made of words that the training text has."""
    known = set(" ".join(tokenizer.decode(row, skip_special_tokens=True) for row in token_chunks(tokenizer, 0, 3000, 128)).split())
    words = [word for text in samples(model, tokenizer, 2, seed=0) for word in text.split()]
    assert sum(word in known for word in words) > 0.95 * len(words)
