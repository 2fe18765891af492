"""The miniatures, loaded from the test Hub by the libraries that load the real ones."""

import json

import pytest

from tests.hub import miniatures
from tests.hub.client import run_client
from tests.hub.server import local_hub


def test_miniatures_are_the_same_in_every_test(hub, tmp_path):
    first = miniatures.publish(hub, ["google/gemma-2-2b", "google/gemma-scope-2b-pt-res"])
    with local_hub(tmp_path / "other") as other:
        assert {name: one.oid for name, one in first.items()} == {
            name: one.oid for name, one in miniatures.publish(other, ["google/gemma-2-2b", "google/gemma-scope-2b-pt-res"]).items()
        }


LOADER = """
import json, sys
import datasets, numpy, torch
from huggingface_hub import hf_hub_download, snapshot_download
from transformers import AutoModelForCausalLM, AutoTokenizer

told = {"models": {}, "text": {}, "saes": {}}
for name in json.loads(sys.argv[1]):
    words, model = AutoTokenizer.from_pretrained(name), AutoModelForCausalLM.from_pretrained(name)
    ids = words("the cat saw a bone at home.", return_tensors="pt").input_ids
    told["models"][name] = [type(model).__name__, model.config.num_hidden_layers, str(model.dtype), ids[0, 0].item(),
                            bool(model(ids).logits.isfinite().all())]
for form, files in (("parquet", None), ("jsonl", {"train": "train.jsonl"})):
    rows = datasets.load_dataset("test-lab/tiny-stories", data_files=files, split="train", streaming=True)
    told["text"][form] = [row["text"] for row in rows]
path = hf_hub_download("google/gemma-scope-2b-pt-res", "layer_12/width_16k/average_l0_82/params.npz")
with numpy.load(path, allow_pickle=False) as held:
    told["npz"] = {name: [list(held[name].shape), str(held[name].dtype)] for name in held}

from sae_lens import SAE
for release, sae_id in json.loads(sys.argv[2]):
    sae = SAE.from_pretrained(release, sae_id)
    x = torch.randn(64, sae.cfg.d_in, generator=torch.Generator().manual_seed(0)).to(sae.dtype)
    y = sae(x)
    fve = 1 - (y - x).float().square().sum() / x.float().square().sum()
    l0 = (sae.encode(x) > 0).float().sum(-1).mean()
    told["saes"][release] = [sae.cfg.architecture(), sae.cfg.metadata.hook_name, sae.cfg.d_in, fve.item(), l0.item()]
print(json.dumps(told))
"""
MODELS = {
    "google/gemma-2-2b": ["Gemma2ForCausalLM", 26, "torch.float32", 1, True],
    "google/gemma-3-270m": ["Gemma3ForCausalLM", 18, "torch.bfloat16", 1, True],
    "meta-llama/Llama-3.1-8B": ["LlamaForCausalLM", 32, "torch.bfloat16", 1, True],
    "openai-community/gpt2": ["GPT2LMHeadModel", 12, "torch.float32", 23, True],  # no BOS: its first token is the letter t
}
SAES = {
    "gemma-scope-2-270m-pt-res": ("layer_12_width_16k_l0_medium", "blocks.12.hook_resid_post", 60),
    "llama_scope_lxr_8x": ("l15r_8x", "blocks.15.hook_resid_post", 50),
    "gemma-2-2b-res-matryoshka-dc": ("blocks.12.hook_resid_post", "blocks.12.hook_resid_post", 40),
    "gpt2-small-res-jb": ("blocks.8.hook_resid_pre", "blocks.8.hook_resid_pre", 60),
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory):
    """What transformers, datasets and sae-lens make of the miniatures, in a process that knows this Hub only."""
    home = tmp_path_factory.mktemp("loaded")
    with local_hub(home / "hub") as hub:
        miniatures.publish(hub, accepted=("alice",))
        environment = hub.environment(home / "cache", hub.accounts.token("alice", "read"))
        saes = json.dumps([(release, sae_id) for release, (sae_id, _, _) in SAES.items()])
        return json.loads(run_client(LOADER, json.dumps(list(MODELS)), saes, environment=environment).stdout.splitlines()[-1])


def test_transformers_loads_every_model(loaded):
    assert loaded["models"] == MODELS


def test_datasets_streams_both_forms_of_the_text(loaded):
    assert loaded["text"] == {"parquet": list(miniatures.SENTENCES), "jsonl": list(miniatures.SENTENCES)}


def test_gemma_scope_is_npz_in_float32_without_pickle(loaded):
    d_sae = loaded["npz"]["threshold"][0][0]
    shapes = {"W_enc": [16, d_sae], "W_dec": [d_sae, 16], "b_enc": [d_sae], "b_dec": [16], "threshold": [d_sae]}
    assert loaded["npz"] == {name: [shape, "float32"] for name, shape in shapes.items()}


@pytest.mark.parametrize("release", SAES)
def test_sae_lens_loads_the_sae_and_it_works_with_a_loss(loaded, release):
    architecture, hook_name, d_in, fve, l0 = loaded["saes"][release]
    assert (hook_name, d_in) == (SAES[release][1], 16)
    assert architecture in ("jumprelu", "standard")
    assert 0.9 < fve < 0.99
    assert l0 == pytest.approx(SAES[release][2], rel=0.25)
