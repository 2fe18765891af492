"""The build, end to end at a size that takes seconds: what it makes must open, agree with its own index and keep its checksums."""

import json
from pathlib import Path

import pytest
import torch
from sae_lens import SAE

from lorasae.demo.build import checksums
from lorasae.demo.build.__main__ import build, load_model, load_tokenizer, main
from lorasae.demo.build.corpus import token_chunks
from lorasae.demo.build.index import measured
from lorasae.demo.build.language_model import learning_rate_factor, steps_within
from lorasae.demo.build.muon import orthogonal
from lorasae.demo.build.plan import BOS, EOS, HELD_OUT_SEED, BuildPlan, ModelPlan, ScopePlan
from lorasae.demo.build.pocket_scope import specs
from lorasae.sources.sae_weights import read_sae

MINIATURE = BuildPlan(
    lm_steps=12,
    n_tokenizer_documents=300,
    n_logged_chunks=4,
    n_card_samples=1,
    n_processes=1,
    model=ModelPlan(
        vocab=400, d_in=32, d_mlp=48, n_layers=3, n_heads=2, n_key_value_heads=1, head_dim=16, context_length=64, max_positions=64,
        sliding_window=16, batch_size=4,
    ),
    scope=ScopePlan(
        layers=(1,), widths=(("64", 64),), target_l0s=(4, 12), default=(1, "64", 12), n_samples=12_000, n_cached_tokens=3_000,
        batch_size=256, n_held_out_tokens=2_000,
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pocket")
    build(MINIATURE, folder / "out", folder / "work")
    return folder / "out"


def test_tokenizer_puts_bos_first_and_loses_nothing(built: Path) -> None:
    tokenizer = load_tokenizer(built)
    ids = tokenizer("Anna counts: 1, 22, ½!").input_ids
    assert ids[0] == BOS and EOS not in ids
    assert tokenizer.decode(ids[1:]) == "Anna counts: 1, 22, ½!"
    assert [tokenizer.pad_token_id, tokenizer.eos_token_id, tokenizer.bos_token_id, tokenizer.unk_token_id] == [0, 1, 2, 3]


def test_stored_weights_are_bfloat16_and_open_as_float32(built: Path) -> None:
    weights = load_model(built).state_dict().values()
    assert all(weight.dtype == torch.float32 and torch.equal(weight, weight.bfloat16().float()) for weight in weights)


def test_a_finished_training_is_not_repeated(built: Path) -> None:
    before = load_model(built).state_dict()
    build(MINIATURE, built, built.parent / "work", ["lm"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in load_model(built).state_dict().items())


def test_sae_lens_opens_what_is_stored_and_sees_the_same_features(built: Path) -> None:
    x = 10 * torch.randn(50, MINIATURE.model.d_in)
    for entry in json.loads((built / "saes" / "index.json").read_text())["saes"]:
        folder = built / "saes" / entry["path"]
        ours, theirs = read_sae(folder), SAE.load_from_disk(folder)
        assert theirs.cfg.architecture() == "jumprelu" and theirs.cfg.metadata.hook_name == entry["hook_point"]
        assert torch.allclose(ours.encode(x), theirs.encode(x), atol=1e-5)
        assert torch.allclose(ours.reconstruct(x), theirs(x), atol=1e-4)


def test_index_says_what_measuring_again_finds(built: Path) -> None:
    index = json.loads((built / "saes" / "index.json").read_text())
    held_out = token_chunks(load_tokenizer(built), HELD_OUT_SEED, 2_000 // 63 + 1, 64)
    entry = index["saes"][0]
    again = measured(specs(MINIATURE.scope)[0], built / "saes" / entry["path"], load_model(built), held_out)
    assert again.l0 == pytest.approx(entry["l0"]) and again.ce_gap == pytest.approx(entry["ce_gap"], abs=1e-4)
    assert index["default"] in [entry["sae_id"] for entry in index["saes"]]


def test_card_names_every_sae(built: Path) -> None:
    text = (built / "README.md").read_text()
    assert all(entry["sae_id"] in text for entry in json.loads((built / "saes" / "index.json").read_text())["saes"])


def test_check_notices_a_changed_file(built: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", "--out", str(built)]) == 0
    card = built / "README.md"
    original = card.read_text()
    card.write_text(original + "!")
    assert main(["--check", "--out", str(built)]) == 1
    assert "README.md has changed" in capsys.readouterr().out
    card.write_text(original)
    assert checksums.differences(built) == []


def test_budget_is_the_smaller_of_minutes_and_tokens() -> None:
    plan = ModelPlan(batch_size=10, context_length=100, max_tokens=50_000)
    assert steps_within(1.0, 2.0, plan) == 30
    assert steps_within(60.0, 0.1, plan) == 50


def test_learning_rate_climbs_to_its_peak_and_ends_at_zero() -> None:
    factors = [learning_rate_factor(step, 100, 0.1) for step in range(101)]
    assert factors[9] == 1.0 and factors[0] == pytest.approx(0.1)
    assert factors[100] == pytest.approx(0.0) and factors[9:] == sorted(factors[9:], reverse=True)


@pytest.mark.parametrize("shape", [(20, 50), (50, 20)])
def test_muon_directions_have_singular_values_near_one(shape: tuple[int, int]) -> None:
    values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
    assert values.min() > 0.5 and values.max() < 1.3
