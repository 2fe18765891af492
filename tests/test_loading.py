"""Model, tokenizer and SAEs arrive whole and fitting, or the reason why not is told in a sentence."""

import json
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from lorasae.config import AdapterConfig, SAERef, SpecialTokensConfig, run_config
from lorasae.core.hook_points import HookPoint
from lorasae.errors import LabError
from lorasae.sources import catalog, language_model
from lorasae.sources.commits import Commits
from lorasae.sources.loading import check_measured, check_pair, load, may_be_same_model, special_tokens
from lorasae.sources.sae_card import SAECard
from lorasae.sources.sae_weights import FetchedSAE, fetch_sae, read_sae
from tests.small_hub import COMMIT
from tests.toys import ATTENTION_WIDTH, D_IN, D_SAE, FAMILIES, N_LAYERS, sae_tensors, save_pocket_like, tiny_model, write_sae

POST_1 = HookPoint(1, "resid_post")


@pytest.fixture
def world(tmp_path):
    save_pocket_like(tmp_path / "model")
    write_sae(tmp_path / "sae")
    return tmp_path


def config(world, *saes, **model):
    refs = [{"release": str(world / sae)} for sae in saes or ("sae",)]
    return run_config({"model": {"model": str(world / "model"), "device": "cpu", **model}, "saes": refs})


def without_weights(folder):
    """Weights away on purpose: whatever is refused now was refused by metadata."""
    for path in folder.rglob("*.safetensors"):
        path.unlink()


# What arrives


def test_everything_arrives_frozen_and_in_eval_mode(world):
    loaded = load(config(world))
    assert list(loaded.saes) == list(loaded.cards) == [POST_1]
    assert not loaded.model.training and not any(p.requires_grad for p in loaded.model.parameters())
    assert (loaded.device.type, loaded.commits) == ("cpu", Commits())
    assert loaded.special_tokens.bypassed == (0, 1, 2)
    expected = tiny_model("gemma2").state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in loaded.model.state_dict().items())


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_loaded_and_takes_an_sae(tmp_path, family):
    save_pocket_like(tmp_path / "model", family)
    write_sae(tmp_path / "sae")
    loaded = load(config(tmp_path))
    ids = torch.tensor([[1, 5, 6, 7]])
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(ids).logits, tiny_model(family)(ids).logits)


def test_a_bfloat16_model_keeps_its_saes_in_float32(world):
    loaded = load(config(world, dtype="bfloat16"))
    assert {p.dtype for p in loaded.model.parameters()} == {torch.bfloat16}
    assert loaded.saes[POST_1].W_enc.dtype == torch.float32


def test_gemma_2_attends_eagerly(world):
    assert load(config(world)).model.config._attn_implementation == "eager"


def test_the_pocket_model_and_its_default_sae_need_no_name(tmp_path, monkeypatch):
    save_pocket_like(tmp_path / "demo" / "model")
    write_sae(tmp_path / "demo" / "saes" / "layer_1")
    entry = {"sae_id": "layer_1", "path": "layer_1", "d_in": D_IN, "d_sae": D_SAE, "hook_point": str(POST_1), "l0": 9.0, "fve": 0.5}
    (tmp_path / "demo" / "saes" / "index.json").write_text(json.dumps({"default": "layer_1", "saes": [entry]}))
    monkeypatch.setattr(catalog, "ASSETS", tmp_path)
    monkeypatch.setattr(language_model, "ASSETS", tmp_path)
    assert load(run_config({})).cards[POST_1].model == "pocket"


def test_an_sae_of_attention_heads_is_as_wide_as_all_heads_together(world):
    write_sae(world / "heads", hook_name="blocks.2.attn.hook_z", d_in=ATTENTION_WIDTH)
    assert load(config(world, "heads")).saes[HookPoint(2, "attn_z")].d_in == ATTENTION_WIDTH


def test_several_saes_arrive_each_at_its_place(world):
    write_sae(world / "above", "topk", hook_name="model.layers.3.output")
    assert set(load(config(world, "sae", "above")).saes) == {POST_1, HookPoint(3, "resid_post")}


def test_special_tokens_that_a_tokenizer_lacks_are_passed_over():
    tokenizer = SimpleNamespace(bos_token_id=None, eos_token_id=7, pad_token_id=7)
    policy = special_tokens(SpecialTokensConfig(bypass=("bos", "eos", "pad"), unscored=("bos",)), tokenizer)
    assert (policy.bypassed, policy.unscored) == ((7,), ())


# What is refused by metadata, before weights


def test_an_sae_of_another_size_is_refused_before_weights_are_read(world):
    write_sae(world / "wide", d_in=48)
    without_weights(world)
    with pytest.raises(LabError, match="reads 48 dimensions, the model has 32"):
        load(config(world, "wide"))


def test_a_layer_beyond_the_model_is_refused_before_weights_are_read(world):
    write_sae(world / "deep", hook_name=f"blocks.{N_LAYERS}.hook_resid_post")
    without_weights(world)
    with pytest.raises(LabError, match="The model has 4 layers"):
        load(config(world, "deep"))


def test_an_adapter_that_does_not_fit_is_refused_before_weights_are_read(world):
    without_weights(world)
    for adapter, said in (
        ({"rank": 99}, "smaller side of"),
        ({"layers": (9,)}, "layers, 0 to 3"),
        ({"modules": ("qproj",)}, "Nearest: q_proj"),
    ):
        with pytest.raises(LabError, match=said):
            load(config(world, "sae").model_copy(update={"adapter": AdapterConfig(**adapter)}))


def test_two_saes_at_one_place_are_refused_before_weights_are_read(world):
    write_sae(world / "second", "topk", hook_name="model.layers.1.output")
    without_weights(world)
    with pytest.raises(LabError, match=r"Both sit at blocks\.1\.hook_resid_post"):
        load(config(world, "sae", "second"))


def test_an_sae_that_does_not_say_where_it_belongs_is_refused(world):
    write_sae(world / "nowhere", hook_name=None)
    with pytest.raises(LabError, match="hook point is not stated"):
        load(config(world, "nowhere"))


def test_an_sae_of_another_model_of_equal_size_is_refused():
    card = SAECard(SAERef(), d_in=D_IN, hook_point=str(POST_1), model="google/gemma-2-2b")
    with pytest.raises(LabError, match="It was trained on google/gemma-2-2b"):
        check_pair(card, "google/gemma-2-2b-it", tiny_model("gemma2"))


@pytest.mark.parametrize(
    ("stated", "name", "same"),
    [
        ("gemma-2-2b", "google/gemma-2-2b", True),
        ("gpt2-small", "openai-community/gpt2", True),
        ("gpt2-small", "gpt2", True),
        ("pythia-70m-deduped", "EleutherAI/pythia-70m-deduped", True),
        ("mistral-7b", "mistralai/Mistral-7B-v0.1", True),
        ("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B-Instruct", False),
        ("gemma-2-2b", "google/gemma-2-9b", False),
        ("pocket", "pocket", True),
        ("google/gemma-2-2b", "pocket", False),
        ("pocket", "google/gemma-2-2b", False),
        ("./my-model", "google/gemma-2-2b", True),
        ("gemma-2-2b", ".", True),
    ],
)
def test_model_names_are_compared_without_owner_and_case_and_folders_are_believed(stated, name, same):
    assert may_be_same_model(stated, name) is same


def test_cuda_without_a_device_is_refused(world, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(LabError, match="no CUDA device"):
        load(config(world, device="cuda"))


# Damaged and missing files


def test_a_missing_weights_file_is_told(world):
    (world / "sae" / "sae_weights.safetensors").unlink()
    with pytest.raises(LabError, match=r"There is no sae_weights\.safetensors"):
        load(config(world))


@pytest.mark.parametrize("n_bytes", [0, 5, 200, 5000])
def test_a_truncated_weights_file_is_told(world, n_bytes):
    path = world / "sae" / "sae_weights.safetensors"
    path.write_bytes(path.read_bytes()[:n_bytes])
    with pytest.raises(LabError, match="weights are damaged"):
        load(config(world))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_values_that_are_not_finite_are_told_with_their_tensor(tmp_path, value):
    weights = sae_tensors("jumprelu")
    weights["W_dec"][3, 4] = value
    with pytest.raises(LabError, match="W_dec holds values that are not finite"):
        read_sae(write_sae(tmp_path, weights=weights))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"threshold": None}, "lack threshold"),
        ({"scaling": torch.ones(D_SAE)}, "hold scaling"),
        ({"W_enc": torch.ones(D_SAE, D_IN)}, r"Its W_enc is \(64, 32\), but cfg\.json means \(32, 64\)"),
    ],
)
def test_tensors_that_do_not_make_the_sae_are_told(tmp_path, change, said):
    weights = {name: tensor for name, tensor in {**sae_tensors("jumprelu"), **change}.items() if tensor is not None}
    with pytest.raises(LabError, match=said):
        read_sae(write_sae(tmp_path, weights=weights))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"architecture": "batchtopk"}, "training checkpoint"),
        ({"architecture": "matryoshka_batchtopk"}, "save_inference_model"),
        ({"architecture": "abstopk"}, "not known here"),
        ({"normalize_activations": "covariance_whitening"}, "covariance_whitening"),
        ({"architecture": "topk", "k": 65}, "k = 65 of 64"),
        ({"architecture": "topk", "k": None}, "k = None"),
    ],
)
def test_settings_that_are_not_understood_are_refused_rather_than_guessed(tmp_path, settings, said):
    folder = write_sae(tmp_path)
    config = json.loads((folder / "cfg.json").read_text())
    (folder / "cfg.json").write_text(json.dumps({**config, **settings}))
    with pytest.raises(LabError, match=said):
        read_sae(folder)


def test_a_folder_without_a_model_is_told(world):
    (world / "model" / "config.json").unlink()
    with pytest.raises(LabError, match=r"There is no config\.json in"):
        load(config(world))


@pytest.mark.parametrize(
    "text", ["{oops", '{"model_type": "unheard-of"}', '{"model_type": "x", "auto_map": {"AutoConfig": "code.Config"}}']
)
def test_a_model_config_that_transformers_cannot_use_is_told_without_running_code(world, text):
    (world / "model" / "config.json").write_text(text)
    (world / "model" / "code.py").write_text("raise SystemExit('code of a stranger')")
    with pytest.raises(LabError, match="was asked for"):
        load(config(world))


def test_a_model_that_is_no_causal_language_model_is_told(world):
    (world / "model" / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(LabError, match="Use a causal language model"):
        load(config(world))


def test_a_model_stored_as_a_pickle_is_refused_unopened(world):
    (world / "model" / "model.safetensors").unlink()
    (world / "model" / "pytorch_model.bin").write_bytes(b"not even a pickle")
    with pytest.raises(LabError, match="only a pickle"):
        load(config(world))


def test_damaged_model_weights_are_told(world):
    path = world / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(LabError, match="weights are damaged"):
        load(config(world))


@pytest.mark.parametrize("change", [None, torch.ones(3)])
def test_model_weights_with_a_tensor_missing_or_misshapen_are_refused_rather_than_drawn_at_random(world, change):
    path, name = world / "model" / "model.safetensors", "model.layers.1.mlp.up_proj.weight"
    weights = {key: tensor for key, tensor in {**load_file(path), name: change}.items() if tensor is not None}
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(LabError, match=f"1 tensors are missing or of another shape, first {name}"):
        load(config(world))


def test_a_missing_tokenizer_is_told(world):
    for path in (world / "model").glob("tokenizer*"):
        path.unlink()
    with pytest.raises(LabError, match="The tokenizer of"):
        load(config(world))


# The Hub


def test_an_unreachable_hub_is_told_in_a_sentence(world):
    with pytest.raises(LabError, match="The Hub cannot be reached"):
        load(config(world, model="nobody/has-this-in-a-cache"))


def test_an_sae_that_cannot_be_fetched_is_told_in_a_sentence():
    with pytest.raises(LabError, match="The Hub cannot be reached, and google/gemma-scope-2b-pt-res is not in the cache"):
        fetch_sae(SAERef(release="gemma-scope-2b-pt-res-canonical", sae_id="layer_12/width_16k/canonical"))


def test_unknown_and_gated_repositories_are_told_apart():
    code = textwrap.dedent("""
        import os, threading
        from http.server import BaseHTTPRequestHandler, HTTPServer

        class Hub(BaseHTTPRequestHandler):
            def do_HEAD(self):
                gated = "gated" in self.path
                self.send_response(403 if gated else 404)
                self.send_header("X-Error-Code", "GatedRepo" if gated else "RepoNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
            do_GET = do_HEAD
            def log_message(self, *args): pass

        hub = HTTPServer(("127.0.0.1", 0), Hub)
        threading.Thread(target=hub.serve_forever, daemon=True).start()
        os.environ.update(HF_ENDPOINT=f"http://127.0.0.1:{hub.server_port}", HF_HUB_OFFLINE="0")
        from lorasae.config import ModelConfig
        from lorasae.errors import LabError
        from lorasae.sources.language_model import load_architecture
        for name in ("openai-community/gtp2", "someone/gated", "no such name!"):
            try:
                load_architecture(ModelConfig(model=name))
            except LabError as error:
                print(error)
    """)
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    assert "neither a folder here nor a repository" in told[0] and "Nearest known: openai-community/gpt2" in told[0]
    assert "https://huggingface.co/someone/gated, then log in with hf auth login" in told[1]
    assert "neither a folder here nor a repository" in told[2]


def test_a_fetched_sae_that_turns_out_to_be_of_another_size_is_refused(world, monkeypatch):
    from lorasae.sources import loading

    wide = read_sae(write_sae(world / "wide", d_in=48))
    monkeypatch.setattr(loading, "resolve", lambda ref: SAECard(ref, hook_point="blocks.2.hook_resid_pre", model="gpt2"))  # states no size
    monkeypatch.setattr(loading, "fetch_sae", lambda *_: FetchedSAE(wide, COMMIT))
    refs = [{"release": "gpt2-small-res-jb", "sae_id": "blocks.2.hook_resid_pre"}]
    with pytest.raises(LabError, match="reads 48 dimensions"):
        load(run_config({"model": {"model": str(world / "model")}, "saes": refs}))


def test_sae_lens_is_not_imported_for_local_saes(world):
    code = (
        "import sys; from pathlib import Path; from lorasae.sources.sae_weights import read_sae\n"
        f"read_sae(Path({str(world / 'sae')!r})); sys.exit('sae_lens' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# Measured against stated


def measured(l0: float, fve: float) -> SimpleNamespace:
    return SimpleNamespace(l0=l0, fve=fve, n_tokens=1000)


@pytest.mark.parametrize(("l0", "fve"), [(10.0, 0.9), (5.1, 0.9), (19.9, 0.9), (10.0, 0.76), (10.0, 1.0)])
def test_an_sae_that_does_what_is_stated_passes(l0, fve):
    check_measured(POST_1, SAECard(SAERef(), l0=10.0, fve=0.9), measured(l0, fve))


@pytest.mark.parametrize(
    ("l0", "fve", "said"),
    [
        (35.0, 0.9, "L0 is 35, stated 10"),
        (4.0, 0.9, "L0 is 4, stated 10"),
        (10.0, 0.7, "variance explained is 0.700, stated 0.900"),
        (35.0, -3.0, "L0 is 35, stated 10 and its variance explained is -3.000, stated 0.900"),
    ],
)
def test_an_sae_that_does_not_is_refused_with_both_numbers_and_the_usual_causes(l0, fve, said):
    with pytest.raises(LabError, match=said) as problem:
        check_measured(POST_1, SAECard(SAERef(), l0=10.0, fve=0.9), measured(l0, fve))
    assert "another layer or site" in str(problem.value) and "special tokens" in str(problem.value)


def test_without_stated_numbers_only_a_reconstruction_worse_than_a_constant_is_refused():
    check_measured(POST_1, SAECard(SAERef()), measured(500.0, 0.01))
    with pytest.raises(LabError, match=r"variance explained is -0\.100, not stated"):
        check_measured(POST_1, SAECard(SAERef()), measured(500.0, -0.1))


def test_a_published_sae_of_another_size_is_refused_before_it_is_fetched(world, monkeypatch):
    from lorasae.sources import loading

    monkeypatch.setattr(loading, "fetch_sae", lambda ref: pytest.fail("it was fetched"))
    refs = [{"release": "gpt2-small-res-jb", "sae_id": "blocks.2.hook_resid_pre"}]
    with pytest.raises(LabError, match="reads 768 dimensions"):
        load(run_config({"model": {"model": str(world / "model")}, "saes": refs}))
