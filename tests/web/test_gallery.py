"""The gallery over HTTP: everybody may look, whoever may start runs may open what is public and measure it, and nothing is mixed up."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from lorasae.errors import LabError
from lorasae.sources.catalog import ASSETS
from tests.hub.server import LocalHub, local_hub
from tests.test_gallery import card, published_run
from tests.web.conftest import OWNERS, World

SAE = {"release": "pocket-scope", "sae_id": "layer_2/width_2k/average_l0_17"}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """A Hub with a published run, a stranger's adapter of the pocket model, and something private of alice, the lab's own user."""
    with local_hub(tmp_path / "hub") as running:
        monkeypatch.setenv("HF_TOKEN", running.accounts.token("alice"))
        (tmp_path / "made").mkdir()
        running.publish(published_run(tmp_path / "made"), "carol/repair")
        running.publish(foreign(tmp_path / "tuned"), "bob/tuned")
        running.publish({"README.md": card()}, "alice/secret", private=True)
        yield running


def foreign(folder: Path) -> Path:
    """A LoRA adapter of the pocket model, made with plain PEFT."""
    torch.manual_seed(4)
    base = AutoModelForCausalLM.from_pretrained(ASSETS / "demo" / "model")
    model = get_peft_model(base, LoraConfig(r=4, lora_alpha=8, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.01)
    model.peft_config["default"].base_model_name_or_path = "pocket"
    model.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink()
    return folder


def commit(hub: LocalHub, repo: str) -> str:
    return hub.repo(repo).oid_of("main") or ""


def asked(hub: LocalHub, repo: str, **more: object) -> dict[str, object]:
    return {"repo_id": repo, "commit": commit(hub, repo), "submission": "a click of mine", **more}


@pytest.mark.parametrize("who", ["nobody", "A"])
def test_everybody_sees_the_public_list_and_no_more(open_to_visitors: World, hub: LocalHub, who: str) -> None:
    found = open_to_visitors.client(who).get("/lab/gallery").json()
    assert [row["repo_id"] for row in found["rows"]] == ["carol/repair"] and found["problem"] == ""
    assert open_to_visitors.client(who).get("/lab/gallery/here").json() == {"here": [], "may_open": who == "A"}


def test_the_machines_own_user_sees_what_the_login_may_see(local: World, hub: LocalHub) -> None:
    assert {row["repo_id"] for row in local.client().get("/lab/gallery").json()["rows"]} == {"carol/repair", "alice/secret"}


def test_whoever_keeps_no_cookie_may_look_and_not_open(open_to_visitors: World, hub: LocalHub) -> None:
    nobody = open_to_visitors.client("nobody")
    assert nobody.post("/lab/open", json={"repo_id": "carol/repair"}).status_code == 401
    assert nobody.get("/lab/gallery/repository", params={"repo_id": "carol/repair"}).status_code == 401
    assert nobody.post("/lab/gallery/measure", json=asked(hub, "bob/tuned", saes=[SAE])).status_code == 401
    assert not open_to_visitors.lab.store.all()


def test_a_visitor_opens_what_is_public_and_it_is_that_visitors_run(open_to_visitors: World, hub: LocalHub) -> None:
    mine = open_to_visitors.client("A")
    run_id = mine.post("/lab/open", json={"repo_id": "carol/repair"}).json()["run_id"]
    told = mine.get(f"/lab/runs/{run_id}").json()["descent"]
    assert (told["repo_id"], told["commit"], told["unchanged"]) == ("carol/repair", commit(hub, "carol/repair"), True)
    assert open_to_visitors.client("B").get(f"/lab/runs/{run_id}").status_code == 404
    (known,) = mine.get("/lab/gallery/here").json()["here"]
    assert known["repo_id"] == "carol/repair" and known["run_id"] == run_id and not known["measured"]
    assert open_to_visitors.client("B").get("/lab/gallery/here").json()["here"] == []
    refused = mine.post("/lab/open", json={"repo_id": "alice/secret"})
    assert refused.status_code == 400 and "that you may see" in refused.json()["problem"]
    assert not any(asking.authorized for asking in hub.log)  # the operator's login is not for visitors


def test_a_strangers_adapter_is_told_for_what_it_is_and_measured_once_per_click(open_to_visitors: World, hub: LocalHub) -> None:
    mine = open_to_visitors.client("A")
    seen = mine.get("/lab/gallery/repository", params={"repo_id": "bob/tuned"}).json()
    assert (seen["kind"], seen["model"], seen["rank"]) == ("peft", "pocket", 4) and seen["n_saes"] > 10
    assert mine.get("/lab/gallery/repository", params={"repo_id": "carol/repair"}).json()["kind"] == "lorasae"
    first = mine.post("/lab/gallery/measure", json=asked(hub, "bob/tuned", saes=[SAE])).json()["run_id"]
    assert mine.post("/lab/gallery/measure", json=asked(hub, "bob/tuned", saes=[SAE])).json()["run_id"] == first
    config = open_to_visitors.lab.store.open_id(first).config
    assert config.adapter.start == f"bob/tuned@{commit(hub, 'bob/tuned')}" and config.n_steps == 0
    assert config.adapter.modules == ("self_attn.q_proj", "self_attn.v_proj") and config.adapter.alpha == 8


def test_a_published_run_is_measured_with_its_own_settings(open_to_visitors: World, hub: LocalHub) -> None:
    mine = open_to_visitors.client("A")
    run_id = mine.post("/lab/gallery/measure", json=asked(hub, "carol/repair")).json()["run_id"]
    store = open_to_visitors.lab.store
    (opened,) = [run for run in store.all() if run.run_id != run_id]
    config = store.open_id(run_id).config
    assert config.adapter.start == opened.run_id and config.n_steps == 0 and config.saes == opened.config.saes


@pytest.mark.parametrize(
    ("saes", "told"),
    [
        ([], "Choose the SAE"),
        ([{"release": "gemma-scope-2b-pt-res", "sae_id": "layer_12/width_16k/average_l0_82"}], "It was trained on google/gemma-2-2b"),
        ([{"release": "/etc", "sae_id": "passwd"}], "/etc"),
        ([{"release": "pocket-scope", "sae_id": "../../.."}], "There is none of that id"),
    ],
)
def test_what_cannot_be_measured_is_refused_and_leaves_nothing(
    open_to_visitors: World, hub: LocalHub, saes: list[dict[str, str]], told: str
) -> None:
    answer = open_to_visitors.client("A").post("/lab/gallery/measure", json=asked(hub, "bob/tuned", saes=saes))
    assert answer.status_code == 400 and told in answer.json()["problem"]
    assert not open_to_visitors.lab.store.all()


@pytest.mark.parametrize(
    "body",
    [
        {"repo_id": "../..", "commit": "0" * 40, "submission": "a click of mine"},
        {"repo_id": "bob/tuned", "commit": "main", "submission": "a click of mine"},
        {"repo_id": "bob/tuned", "commit": "0" * 40, "submission": ""},
        {"repo_id": "bob/tuned", "commit": "0" * 40, "submission": "a click of mine", "owner": "local"},
        {"repo_id": "bob/tuned", "commit": "0" * 40, "submission": "a click of mine", "saes": [{"release": "a" * 400, "sae_id": ""}]},
    ],
)
def test_hostile_bodies_are_refused_before_the_hub_is_asked(open_to_visitors: World, hub: LocalHub, body: dict[str, object]) -> None:
    n_asked = len(hub.log)
    assert open_to_visitors.client("A").post("/lab/gallery/measure", json=body).status_code == 400
    assert open_to_visitors.client("A").get("/lab/gallery/repository", params={"repo_id": "../etc"}).status_code == 400
    assert len(hub.log) == n_asked


@pytest.mark.parametrize("name", ["adapter", "a--b/c", "alice/x.git", f"alice/{'x' * 97}", "http://x/y/z", "a/b/c"])
def test_what_is_no_name_is_told_in_words(open_to_visitors: World, hub: LocalHub, name: str) -> None:
    mine, n_asked = open_to_visitors.client("A"), len(hub.log)
    for answer in (mine.post("/lab/open", json={"repo_id": name}), mine.get("/lab/gallery/repository", params={"repo_id": name})):
        assert answer.status_code == 400 and "no name of a repository on the Hub: NAMESPACE/NAME" in answer.json()["problem"]
    assert len(hub.log) == n_asked


def test_nobody_begins_with_what_is_not_theirs(open_to_visitors: World, example: Path) -> None:
    theirs = open_to_visitors.run("A")
    open_to_visitors.finish(theirs)
    for start in (theirs.run_id, str(theirs.folder)):
        config = theirs.config.model_copy(update={"adapter": theirs.config.adapter.model_copy(update={"start": start})})
        with pytest.raises(LabError, match="no such run"):
            open_to_visitors.lab.jobs.submit(OWNERS["B"], config, "a click of B")
    assert [run.run_id for run in open_to_visitors.lab.store.all()] == [theirs.run_id]


def test_the_page_works_where_the_hub_cannot_be_reached(open_to_visitors: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    found = open_to_visitors.client("A").get("/lab/gallery").json()
    assert found["rows"] == [] and "The Hub cannot be reached" in found["problem"]
    assert open_to_visitors.client("A").get("/lab/gallery/here").status_code == 200
