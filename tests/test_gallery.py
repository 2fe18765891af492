"""The gallery lists what strangers publish and believes none of it; any other adapter is told for what it is, from a few kilobytes."""

import json
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from huggingface_hub import HfApi
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from lorasae.cli.main import main
from lorasae.config import SAERef, run_config
from lorasae.errors import LabError
from lorasae.planning.continuing import settings_to_continue
from lorasae.publishing import gallery as gallery_module
from lorasae.publishing import reopen as reopening
from lorasae.publishing.foreign import look, measuring_config
from lorasae.publishing.gallery import Gallery, GalleryList, known_here, published_adapters
from lorasae.publishing.package import make_package
from lorasae.publishing.publication import publication
from lorasae.publishing.reopen import reopen
from lorasae.store.run_folder import EXAMPLE_FOLDER
from lorasae.store.runs import RunStore
from lorasae.store.started_from import find_start
from lorasae.training.recipe import adapt
from tests.hub import miniatures
from tests.hub.faults import answer
from tests.hub.server import LocalHub, local_hub

GEMMA, GPT2 = "google/gemma-2-2b", "openai-community/gpt2"
SCOPE = SAERef(release="gemma-scope-2b-pt-res", sae_id="layer_12/width_16k/average_l0_82")
SMALL = {"data": {"source": "pocket", "context_length": 32, "heldout_tokens": 256}, "trust_measured": True}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    with local_hub(tmp_path / "hub") as running:
        yield running


def card(**front: Any) -> bytes:
    return f"---\n{yaml.safe_dump({'tags': ['lorasae'], **front})}---\n# An adapter\n".encode()


def published_run(folder: Path) -> Path:
    """The files of the example, as a stranger publishes a run."""
    store = RunStore(folder / "home")
    run = store.create(run_config(json.loads((EXAMPLE_FOLDER / "config.json").read_text())["config"]), name="A repair")
    for name in ("adapter", "heldout.npy", "lorasae.json", "metrics.jsonl"):
        source = EXAMPLE_FOLDER / name
        (shutil.copytree if source.is_dir() else shutil.copyfile)(source, run.folder / name)
    result = {**run.result, "run_id": run.run_id}
    for record in result["saes"]:
        record.update(module="model.layers.2", side="output", normalisation="none")
    (run.folder / "lorasae.json").write_text(json.dumps(result))
    (folder / "package").mkdir()
    make_package(publication(run), "alice/repair", folder / "package")
    return folder / "package"


def foreign_adapter(hub: LocalHub, repo: str, base: str, tmp_path: Path, **settings: Any) -> Path:
    """A LoRA adapter made with plain PEFT on a miniature, published by a stranger."""
    torch.manual_seed(4)
    model = AutoModelForCausalLM.from_pretrained(_written(miniatures.MINIATURES[base].files(), tmp_path / "base"))
    targets = ["q_proj", "v_proj"] if base == GEMMA else ["c_attn"]
    config = LoraConfig(**{"r": 4, "lora_alpha": 8, "target_modules": targets, "task_type": "CAUSAL_LM", **settings})
    adapted = get_peft_model(model, config)
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    adapted.peft_config["default"].base_model_name_or_path = base
    folder = tmp_path / repo.replace("/", "-")
    adapted.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").write_text(f"---\nbase_model: {base}\nlibrary_name: peft\n---\n# Tuned\n")
    hub.publish(folder, repo)
    return folder


def _written(files: miniatures.Files, folder: Path) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


# The list


def test_a_row_has_what_the_card_of_a_published_run_states(hub: LocalHub, tmp_path: Path) -> None:
    hub.publish(published_run(tmp_path), "alice/repair")
    (row,) = published_adapters(hub.api()).rows
    assert (row.repo_id, row.author, row.model, row.rank, row.licence) == ("alice/repair", "alice", "pocket", 16, "apache-2.0")
    assert row.gap_closed == pytest.approx(0.547, abs=1e-3) and row.gap_closed_error and not row.measured_again and not row.gated
    (sae,) = row.saes
    assert sae["hook_point"] == "blocks.2.hook_resid_post" and sae["d_sae"] == 2048 and sae["l0"] == pytest.approx(17, abs=1)


@pytest.mark.parametrize(
    "front",
    [
        {"lorasae": "nonsense"},
        {"lorasae": {"saes": 3, "rank": "many", "gap_closed": "all", "gap_closed_error": [1], "model": ["x"]}},
        {"lorasae": {"saes": [None, 1, {"release": {"a": 1}}], "rank": -1, "gap_closed": 1e300}},
        {"lorasae": {"rank": True, "gap_closed": True, "measured_again": "yes"}},
        {"lorasae": {"gap_closed": ".nan", "rank": 10**12}},
        {"base_model": [], "license": ["a"]},
        {"model-index": "nonsense"},
        {"self": 1},
        {"ignore_metadata_errors": True, "model_name": 1, "eval_results": 3},
        {"lorasae": {"rank": 10**400, "gap_closed": 10**400, "gap_closed_error": -(10**400), "saes": [{"l0": 10**400, "d_sae": 10**400}]}},
    ],
)
def test_a_card_of_nonsense_is_a_row_without_numbers(hub: LocalHub, front: dict[str, Any]) -> None:
    hub.publish({"README.md": card(**front)}, "mallory/odd")
    hub.publish({"README.md": card(lorasae={"rank": 8})}, "alice/plain")
    rows = {row.repo_id: row for row in published_adapters(hub.api()).rows}
    assert rows["alice/plain"].rank == 8
    row = rows["mallory/odd"]
    assert (row.rank, row.gap_closed, row.gap_closed_error, row.measured_again) == (None, None, None, False)
    json.dumps(row.saes)


def test_words_of_strangers_hold_nothing_that_a_terminal_obeys(
    hub: LocalHub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LORASAE_HOME", str(tmp_path / "home"))
    hub.publish({"README.md": card(lorasae={"model": "evil\x1b[2J\nmodel", "saes": [{"release": "a\x07b"}]})}, "mallory/odd")
    assert main(["gallery"]) == 0
    said = capsys.readouterr().out
    assert "evil[2Jmodel" in said and "ab / None" in said and "\x1b" not in said and "\x07" not in said


def test_the_list_is_paged_as_the_hub_pages_it_and_ends_at_a_cap(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.page_size = 2
    for number in range(7):
        hub.publish({"README.md": card()}, f"alice/adapter-{number}")
    hub.publish({"README.md": b"# Of something else\n"}, "alice/other")
    everything = published_adapters(hub.api())
    assert {row.repo_id for row in everything.rows} == {f"alice/adapter-{number}" for number in range(7)} and not everything.has_more
    monkeypatch.setattr("lorasae.publishing.gallery.MOST_ROWS", 5)
    capped = published_adapters(hub.api())
    assert len(capped.rows) == 5 and capped.has_more


def test_private_adapters_are_listed_for_those_who_may_see_them_alone_and_no_list_is_mixed_up(hub: LocalHub) -> None:
    hub.publish({"README.md": card()}, "alice/secret", private=True)
    gallery = Gallery()
    assert [row.repo_id for row in gallery.listed("local", hub.api(hub.accounts.token("alice"))).rows] == ["alice/secret"]
    assert gallery.listed("visitor-b", hub.api()).rows == ()


def test_a_list_is_kept_a_while(hub: LocalHub) -> None:
    gallery = Gallery()
    gallery.listed("visitor-a", hub.api())
    n_asked = len(hub.log)
    gallery.listed("visitor-b", hub.api())
    assert len(hub.log) == n_asked


def test_a_list_that_is_slow_to_come_holds_up_no_other(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answered = threading.Event(), threading.Event()
    real = gallery_module.published_adapters

    def slow(api: HfApi) -> GalleryList:
        if api.token is not False:
            asked.set()
            assert answered.wait(20)
        return real(api)

    monkeypatch.setattr(gallery_module, "published_adapters", slow)
    gallery, alice = Gallery(), hub.api(hub.accounts.token("alice"))
    with ThreadPoolExecutor(2) as threads:
        waiting = threads.submit(gallery.listed, "local", alice)
        assert asked.wait(20)
        try:
            threads.submit(gallery.listed, "visitor-b", hub.api()).result(timeout=10)
        finally:
            answered.set()
        assert waiting.result(timeout=20).problem == ""


def test_whatever_goes_wrong_with_the_list_is_a_sentence(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery_module, "_TOLD", None)  # a bug of ours
    assert "cannot be read" in Gallery().listed("local", hub.api()).problem


def test_a_hub_that_cannot_be_reached_is_told_in_one_sentence() -> None:
    unreachable = HfApi(endpoint="http://127.0.0.1:9", token=False)
    assert "The Hub cannot be reached" in Gallery().listed("local", unreachable).problem


def test_a_hub_that_refuses_is_told(hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    hub.faults.inject(answer(500), times=100)
    assert "problem of its own" in Gallery().listed("local", hub.api()).problem


# What a repository is


def test_the_two_kinds_are_told_apart_by_their_files_before_anything_large_is_fetched(hub: LocalHub, tmp_path: Path) -> None:
    hub.publish(published_run(tmp_path), "alice/repair")
    foreign_adapter(hub, "bob/tuned", GEMMA, tmp_path)
    store = RunStore(tmp_path / "mine")
    assert look("alice/repair", None, "local", store, hub.api()).kind == "lorasae"
    seen = look("bob/tuned", None, "visitor-a", store, hub.api())
    assert (seen.kind, seen.model, seen.rank, seen.alpha, len(seen.layers)) == ("peft", GEMMA, 4, 8.0, 26)
    assert seen.modules == ("self_attn.q_proj", "self_attn.v_proj") and seen.n_saes > 100


def test_a_copy_of_a_model_under_another_name_is_the_model_that_saes_exist_for(hub: LocalHub, tmp_path: Path) -> None:
    folder = foreign_adapter(hub, "bob/tuned", GEMMA, tmp_path)
    settings = json.loads((folder / "adapter_config.json").read_text()) | {"base_model_name_or_path": "unsloth/gemma-2-2b"}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    hub.publish(folder, "bob/copy")
    assert look("bob/copy", None, "local", RunStore(tmp_path), hub.api()).model == GEMMA


def test_an_sae_of_another_model_is_refused_before_anything_is_stored(hub: LocalHub, tmp_path: Path) -> None:
    foreign_adapter(hub, "bob/tuned", GPT2, tmp_path)
    store = RunStore(tmp_path / "mine")
    found = find_start("bob/tuned", "local", store, hub.api())
    with pytest.raises(LabError, match=f"It was trained on {GEMMA}"):
        measuring_config("bob/tuned", found, (SCOPE,))
    assert not store.all()


def test_damaged_and_pickled_adapters_are_told(hub: LocalHub, tmp_path: Path) -> None:
    folder = foreign_adapter(hub, "bob/tuned", GPT2, tmp_path)
    hub.publish({"adapter_config.json": b"{}", "adapter_model.bin": b"\x80\x04"}, "bob/pickled")
    settings = (folder / "adapter_config.json").read_bytes()
    hub.publish({"adapter_config.json": settings, "adapter_model.safetensors": b"\x01" * 300}, "bob/damaged")
    hub.publish({"adapter_config.json": b"{", "adapter_model.safetensors": b"\x01" * 300}, "bob/unreadable")
    hub.publish({"config.json": b"{}"}, "bob/model")
    for repo, found in {"pickled": "only a pickle", "damaged": "damaged", "unreadable": "damaged", "model": "holds no adapter"}.items():
        with pytest.raises(LabError, match=found):
            look(f"bob/{repo}", None, "local", RunStore(tmp_path), hub.api())


@pytest.mark.parametrize(("base", "sae"), [(GEMMA, SCOPE), (GPT2, SAERef(release="gpt2-small-res-jb", sae_id="blocks.8.hook_resid_pre"))])
def test_a_strangers_adapter_of_a_published_model_is_measured_around_a_published_sae(
    hub: LocalHub, tmp_path: Path, base: str, sae: SAERef
) -> None:
    miniatures.publish(hub)
    hub.repo(base).change(gated=False)
    foreign_adapter(hub, "bob/tuned", base, tmp_path)
    store = RunStore(tmp_path / "mine")
    settings = settings_to_continue("bob/tuned", find_start("bob/tuned", "local", store, hub.api()))  # no form's sizes: miniatures differ
    config = run_config({**settings, **SMALL, "saes": [sae.model_dump()]})
    run = store.create(config)
    result = adapt(run)
    values = {key: each["value"] for key, each in result["results"].items()}
    assert values["ce_adapted"] != values["ce_original"] and result["start"]["repo_id"] == "bob/tuned" and result["n_steps"] == 0
    assert [(each.repo_id, each.measured) for each in known_here([run])] == [("bob/tuned", True)]


# Opening, by visitors


def test_visitors_open_what_is_public_within_their_limits(hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = published_run(tmp_path)
    for number in range(3):
        hub.publish(files, f"alice/repair-{number}")
    hub.publish(files, "alice/secret", private=True)
    store = RunStore(tmp_path / "mine")
    run = reopen(store, "alice/repair-0", hub.api(), "visitor-a")
    assert run.about.owner == "visitor-a" and known_here([run])[0].measured is False
    with pytest.raises(LabError, match="that you may see"):
        reopen(store, "alice/secret", hub.api(), "visitor-a")
    monkeypatch.setattr(reopening, "VISITORS_ADAPTERS", 1)
    assert reopen(store, "alice/repair-0", hub.api(), "visitor-a").run_id == run.run_id
    with pytest.raises(LabError, match="You have 1 adapters of others open"):
        reopen(store, "alice/repair-1", hub.api(), "visitor-a")
    assert reopen(store, "alice/repair-1", hub.api(), "visitor-b").about.owner == "visitor-b"
    monkeypatch.setattr(reopening, "VISITORS_BYTES", 1000)
    with pytest.raises(LabError, match="MB"):
        reopen(store, "alice/repair-2", hub.api(), "visitor-c")
    assert reopen(store, "alice/repair-2", hub.api()).about.owner == "local"


def test_a_published_run_that_names_a_folder_of_this_machine_is_not_opened(hub: LocalHub, tmp_path: Path) -> None:
    files = published_run(tmp_path)
    result = json.loads((files / "lorasae.json").read_text())
    result["config"]["model"]["model"] = str(tmp_path)
    (files / "lorasae.json").write_text(json.dumps(result))
    settings = json.loads((files / "adapter_config.json").read_text()) | {"base_model_name_or_path": str(tmp_path)}
    (files / "adapter_config.json").write_text(json.dumps(settings))
    hub.publish(files, "mallory/odd")
    with pytest.raises(LabError, match="cannot name files"):
        reopen(RunStore(tmp_path / "mine"), "mallory/odd", hub.api())


# In a terminal


def test_the_terminal_lists_opens_and_says_what_is_foreign(
    hub: LocalHub, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LORASAE_HOME", str(tmp_path / "mine"))
    assert main(["gallery"]) == 0 and "Nobody has published" in capsys.readouterr().out
    hub.publish(published_run(tmp_path), "alice/repair")
    foreign_adapter(hub, "bob/tuned", GPT2, tmp_path)
    assert main(["gallery"]) == 0
    said = capsys.readouterr().out
    assert "alice/repair" in said and "54.7 % ± 1.6" in said and "bob" not in said and "each author's card" in said
    assert main(["gallery", "gemma"]) == 0 and "No adapter on the Hub matches" in capsys.readouterr().out
    assert main(["open", "alice/repair"]) == 0 and "python -m lorasae inspect" in capsys.readouterr().out
    assert main(["open", "bob/tuned"]) == 0
    said = capsys.readouterr().out
    assert f"a LoRA adapter of {GPT2}: rank 4 on attn.c_attn" in said and "--start bob/tuned@" in said
