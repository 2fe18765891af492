"""Models and SAEs named as on the Hub: whole runs without a network, each part of the commit that the run was begun with."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file

from lorasae.config import ModelConfig, run_config
from lorasae.errors import LabError
from lorasae.sources.architectures import FAMILIES
from lorasae.sources.language_model import load_architecture, load_model
from lorasae.sources.loading import load
from lorasae.sources.model_files import fetch_weights
from lorasae.sources.registry import registry
from lorasae.store.commit_record import recorded_commits
from lorasae.store.runs import RunStore
from lorasae.training.recipe import adapt, main
from lorasae.training.supervision import Nobody, Stopped
from tests.hub.client import run_client
from tests.hub.miniatures import publish
from tests.hub.server import local_hub
from tests.small_hub import COMMIT, SmallHub, fill_cache, folder_files
from tests.sources.test_sae_formats import npz
from tests.tiny_world import tiny_run
from tests.toys import save_pocket_like, tiny_model

LATER = "f" * 40
MODEL, RELEASE, SAE_ID = "google/gemma-2-2b", "gemma-scope-2b-pt-res-canonical", "layer_1/width_16k/canonical"


def repositories(world):
    """The world's model and first SAE under the names of Gemma 2 and Gemma Scope."""
    path = next(row["path"] for row in registry()[RELEASE]["saes"] if row["id"] == SAE_ID)
    arrays = {name: tensor.numpy() for name, tensor in load_file(world / "sae_1" / "sae_weights.safetensors").items()}
    return {MODEL: folder_files(world / "model"), registry()[RELEASE]["repo_id"]: {f"{path}/params.npz": npz(arrays)}}


@pytest.fixture
def hub_world(world, hub_cache):
    """Both in the Hub's cache; there is no network."""
    for repository, files in repositories(world).items():
        fill_cache(hub_cache, repository, files)
    return world


@pytest.fixture
def hub(world, hub_cache, monkeypatch):
    """Both on a Hub that can be reached; the cache is empty."""
    from huggingface_hub import constants

    small = SmallHub(repositories(world))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", small.address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", small.address + "/{repo_id}/resolve/{revision}/{filename}")
    yield small
    small.close()


def hub_run(world):
    return tiny_run(world, model={"model": MODEL}, saes=[{"release": RELEASE, "sae_id": SAE_ID}], trust_measured=True)


class StopAt(Nobody):
    def row(self, row, n_steps):
        if row["step"] == 5:
            raise RuntimeError("the lights went out")


def test_a_run_around_a_published_sae_needs_no_network_and_records_its_commits(hub_world, tmp_path):
    run = RunStore(tmp_path / "home").create(hub_run(hub_world))
    result = adapt(run)
    assert (result["model_revision"], result["saes"][0]["revision"]) == (COMMIT, COMMIT)
    assert json.loads((run.folder / "commits.json").read_text()) == {"model": COMMIT, "saes": {f"{RELEASE} / {SAE_ID}": COMMIT}}
    assert json.loads((run.adapter / "adapter_config.json").read_text())["revision"] == COMMIT


class Statuses(Nobody):
    """What a page could have read, whenever it was written."""

    def __init__(self, run, monkeypatch):
        self.seen = []
        monkeypatch.setattr("lorasae.training.supervision.STATUS_EVERY_S", 0.0)
        written = type(run).write_status
        monkeypatch.setattr(type(run), "write_status", lambda run, status: (self.seen.append(status), written(run, status)))


def test_a_run_fetches_what_it_needs_and_tells_how_far_it_is(world, hub, tmp_path, monkeypatch):
    run = RunStore(tmp_path / "home").create(hub_run(world))
    statuses = Statuses(run, monkeypatch)
    assert adapt(run)["model_revision"] == COMMIT
    told = [status for status in statuses.seen if status.phase == "downloading" and status.fraction is not None]
    for repository in hub.files:
        fractions = [status.fraction for status in told if status.message.startswith(f"{repository}: ")]
        assert fractions and fractions == sorted(fractions) and fractions[-1] == 1.0
    phases = list(dict.fromkeys(status.phase for status in statuses.seen))
    assert phases[phases.index("downloading") :][:2] == ["downloading", "reading"]


def test_a_download_can_be_paused(world, hub, tmp_path, monkeypatch):
    run = RunStore(tmp_path / "home").create(hub_run(world))
    asked = []

    class Pause(Nobody):
        def phase(self, name, message):
            if name == "downloading" and not asked:
                asked.append(message)
                run.wish_stop("pause")

    with pytest.raises(Stopped, match=r"Stopped while fetching .*; what has come is kept"):
        adapt(run, Pause())
    assert run.status.state == "interrupted"
    assert adapt(run)["model_revision"] == COMMIT


def test_a_visitors_run_fetches_no_repository_larger_than_the_lab_allows(world, hub, tmp_path):
    run = RunStore(tmp_path / "home").create(hub_run(world))
    sae = hub.files[registry()[RELEASE]["repo_id"]]
    most_bytes = sum(map(len, sae.values())) + 1
    assert most_bytes < len(hub.files[MODEL]["model.safetensors"])
    assert main(str(run.folder), False, most_bytes) == 1
    assert run.status.state == "failed" and "in this lab, visitors fetch up to" in run.status.message
    assert "LORASAE_VISITORS_FETCH_GB" in run.status.message
    assert not [path for method, path, _ in hub.asked if method == "GET" and path.endswith("model.safetensors")]
    assert main(str(run.folder), False, len(hub.files[MODEL]["model.safetensors"]) * 2) == 0


def test_a_run_goes_on_with_the_commits_it_was_begun_with_though_the_branch_has_moved(hub_world, hub_cache, tmp_path):
    run = RunStore(tmp_path / "home").create(hub_run(hub_world))
    with pytest.raises(RuntimeError):
        adapt(run, StopAt())
    fill_cache(hub_cache, MODEL, {"config.json": b"{}"}, commit=LATER)  # which could not be loaded
    assert adapt(run)["model_revision"] == COMMIT


def test_a_run_whose_model_is_not_what_it_was_is_refused(hub_world, hub_cache, tmp_path, monkeypatch):
    run = RunStore(tmp_path / "home").create(hub_run(hub_world))
    with pytest.raises(RuntimeError):
        adapt(run, StopAt())
    monkeypatch.chdir(tmp_path)
    shutil.copytree(hub_world / "model", tmp_path / MODEL)  # a folder of that name hides the repository
    with pytest.raises(LabError, match=f"Its model was of commit {COMMIT}, and is now a folder of this machine"):
        adapt(run)


def test_a_model_in_several_files_is_loaded_from_the_cache(hub_cache, tmp_path):
    save_pocket_like(tmp_path / "model")
    tiny_model("gemma2").save_pretrained(tmp_path / "model", max_shard_size="20KB")
    (tmp_path / "model" / "model.safetensors").unlink()
    files = folder_files(tmp_path / "model")
    assert len([name for name in files if name.endswith(".safetensors")]) > 2
    fill_cache(hub_cache, "org/sharded", files)
    config = ModelConfig(model="org/sharded", device="cpu")
    model = load_model(config, load_architecture(config))
    expected = tiny_model("gemma2").state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize(("missing", "said"), [("model-00001", "The Hub cannot be reached"), ("index", "The Hub cannot be reached")])
def test_a_model_of_which_a_part_is_missing_is_told_without_a_network(hub_cache, tmp_path, missing, said):
    tiny_model("gemma2").save_pretrained(tmp_path / "model", max_shard_size="20KB")
    files = {name: content for name, content in folder_files(tmp_path / "model").items() if missing not in name}
    fill_cache(hub_cache, "org/sharded", files)
    with pytest.raises(LabError, match=said):
        fetch_weights("The model was asked for", "org/sharded", COMMIT)


def test_a_model_that_has_only_a_pickle_is_refused(hub):
    hub.files["org/old"] = {"config.json": b"{}", "pytorch_model.bin": b"not even a pickle"}
    with pytest.raises(LabError, match=r"pickles \(\.bin\) are not opened"):
        fetch_weights("The model was asked for", "org/old", None)


@pytest.mark.parametrize("model_type", ["t5", "bloom", "mamba", "phi3", "gpt_oss", "olmo2"])
def test_a_family_in_which_places_are_not_known_is_refused_before_weights(tmp_path, model_type):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    with pytest.raises(
        LabError, match=rf"the family '{model_type}', in which .* Use a causal language model of one of these: Gemma, Gemma 2"
    ):
        load_architecture(ModelConfig(model=str(tmp_path)))


def test_the_families_are_known_to_transformers():
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    assert set(FAMILIES) <= set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)


def test_a_custom_architecture_s_code_is_never_run(tmp_path):
    save_pocket_like(tmp_path / "model")
    settings = json.loads((tmp_path / "model" / "config.json").read_text())
    mine = {"AutoConfig": "code.Config", "AutoModelForCausalLM": "code.Model"}
    (tmp_path / "model" / "config.json").write_text(json.dumps({**settings, "auto_map": mine}))
    tokenizer = json.loads((tmp_path / "model" / "tokenizer_config.json").read_text())
    (tmp_path / "model" / "tokenizer_config.json").write_text(json.dumps({**tokenizer, "auto_map": {"AutoTokenizer": ["code.T", None]}}))
    (tmp_path / "model" / "code.py").write_text("raise SystemExit('code of a stranger')")
    saes = [{"release": str(_local_sae(tmp_path))}]
    assert load(run_config({"model": {"model": str(tmp_path / "model"), "device": "cpu"}, "saes": saes})).commits.model is None


def _local_sae(tmp_path):
    from tests.toys import write_sae

    return write_sae(tmp_path / "sae")


def test_commits_of_a_run_that_was_not_begun_are_none(hub_world, tmp_path):
    assert recorded_commits(RunStore(tmp_path / "home").create(hub_run(hub_world))).model is None


def test_a_dataset_that_does_not_exist_is_told_before_anything_large_is_fetched(tmp_path):
    typed = [
        "adapt",
        "--model",
        "openai-community/gpt2",
        "--sae",
        "gpt2-small-res-jb",
        "blocks.8.hook_resid_pre",
        "--data",
        "test-lab/wrong",
    ]
    code = f"import sys\nfrom lorasae.cli.main import main\nassert main({typed!r}) == 1"
    with local_hub(tmp_path / "hub") as hub:
        publish(hub, ["openai-community/gpt2", "jbloom/GPT2-Small-SAEs-Reformatted"])
        said = run_client(code, environment={**hub.environment(tmp_path / "cache"), "LORASAE_HOME": str(tmp_path / "home")})
        assert not hub.asked(path=".safetensors")
    assert "Text from the dataset 'test-lab/wrong' was asked for" in said.stderr and "dataset on the Hub that you may see" in said.stderr
