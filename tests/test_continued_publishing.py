"""An adapter that was published is opened elsewhere, continued, published and opened again; every card says whose it was before."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub.repocard import metadata_load

from lorasae.config import RunConfig, overlay, run_config
from lorasae.errors import LabError
from lorasae.planning.continuing import settings_to_continue
from lorasae.publishing.card import model_card
from lorasae.publishing.descent import named
from lorasae.publishing.licences import licence_of
from lorasae.publishing.publication import publication
from lorasae.publishing.publish import preview, publish
from lorasae.publishing.push import Target
from lorasae.publishing.reopen import reopen
from lorasae.store.durable import write_json
from lorasae.store.lineage import descended_from
from lorasae.store.run_folder import RUN_ID, Run
from lorasae.store.runs import RunStore
from lorasae.store.started_from import find_start
from lorasae.training.recipe import adapt
from tests.hub.server import LocalHub, local_hub
from tests.test_gallery import published_run

ALICE, BOB, CAROL = "alice/repair", "bob/repair-continued", "carol/repair-again"
SMALL = {
    "data": {"context_length": 32, "heldout_tokens": 256},
    "train": {"tokens": 256, "tokens_per_step": 256},
    "watch": {"evaluations": 1},
}
MEASURED = {"train": {"tokens": 0}}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    with local_hub(tmp_path / "hub") as running:
        yield running


@pytest.fixture
def theirs(hub: LocalHub, tmp_path: Path) -> Run:
    """Alice's published adapter, opened in a home of Bob's."""
    (tmp_path / "made").mkdir()
    hub.publish(published_run(tmp_path / "made"), ALICE)
    return reopen(RunStore(tmp_path / "bob"), ALICE, hub.api())


def continued(store: RunStore, start: str, hub: LocalHub, **more: Any) -> Run:
    """A run that begins with that adapter, done."""
    settings = settings_to_continue(start, find_start(start, "local", store, hub.api()))
    run = store.create(run_config(overlay(overlay(settings, {**SMALL, "trust_measured": True}), more)))
    adapt(run)
    return run


def card_of(hub: LocalHub, repo: str) -> str:
    return (hub.repo(repo).content("main", "README.md") or b"").decode()


def commit_of(hub: LocalHub, repo: str) -> str:
    return str(hub.repo(repo).oid_of("main"))


def test_a_continued_run_is_published_opened_continued_and_published_again(hub: LocalHub, theirs: Run, tmp_path: Path) -> None:
    bobs = continued(RunStore(tmp_path / "bob"), theirs.run_id, hub)
    publish(bobs, Target(BOB, private=False), hub.api(hub.accounts.token("bob")), None)
    at = commit_of(hub, ALICE)
    assert f"Training began with the adapter [{ALICE}](https://huggingface.co/{ALICE}) of alice, at commit `{at}`" in card_of(hub, BOB)

    store = RunStore(tmp_path / "carol")
    back = reopen(store, BOB, hub.api())
    assert back.config.adapter.start == f"{ALICE}@{at}"  # a name that others can do it again with
    carols = continued(store, continued(store, back.run_id, hub).run_id, hub)  # twice: the run between them is nobody's repository
    publish(carols, Target(CAROL, private=False), hub.api(hub.accounts.token("carol")), None)
    card = card_of(hub, CAROL)
    assert "Training began with the adapter of an earlier run of the same author in the same lab" in card
    assert card.index(f"[{BOB}]") < card.index(f"[{ALICE}]") and "apache-2.0" in card.split(f"[{BOB}]")[1]
    last = reopen(RunStore(tmp_path / "dave"), CAROL, hub.api())
    assert [each.get("repo_id", "a run") for each in publication(last).ancestors] == [CAROL, "a run", BOB, ALICE]


def test_a_run_of_somebody_else_is_said_to_be_theirs(hub: LocalHub, tmp_path: Path) -> None:
    store = RunStore(tmp_path / "shared")
    mine = store.create(RunConfig(), owner="visitor-a")
    for owner, whose in (("visitor-a", "an earlier run of the same author"), ("visitor-b", "somebody else's run")):
        assert whose in named(descended_from(mine, owner))


def test_the_record_of_an_opened_adapter_has_the_id_of_its_run(theirs: Run) -> None:
    assert theirs.result["run_id"] == theirs.run_id and RUN_ID.fullmatch(theirs.run_id)


def test_an_opened_adapter_that_is_published_again_is_said_to_be_its_authors(hub: LocalHub, theirs: Run, tmp_path: Path) -> None:
    publish(theirs, Target(BOB, private=False), hub.api(hub.accounts.token("bob")), None)
    card = card_of(hub, BOB)
    assert f"This is the adapter [{ALICE}](https://huggingface.co/{ALICE}) of alice" in card and "weights unchanged" in card
    assert metadata_load(_written(tmp_path, card))["license"] == "apache-2.0"
    back = reopen(RunStore(tmp_path / "carol"), BOB, hub.api())
    assert [each["repo_id"] for each in publication(back).ancestors] == [BOB, ALICE]


def test_an_adapter_that_was_only_measured_is_said_to_be_its_authors(hub: LocalHub, theirs: Run, tmp_path: Path) -> None:
    run = continued(RunStore(tmp_path / "bob"), theirs.run_id, hub, **MEASURED)
    card = model_card(publication(run), BOB)
    assert f"This is the adapter [{ALICE}]" in card and "nothing was trained here" in card and "It was trained for" not in card


def test_what_an_author_asks_for_stands_beside_the_licence_of_the_base_model(hub: LocalHub, theirs: Run, tmp_path: Path) -> None:
    result = theirs.result
    result["origin"]["licence"] = "cc-by-nc-4.0"
    theirs.write_result({key: value for key, value in result.items() if key not in ("format", "run_id")})
    card = model_card(publication(theirs), BOB)
    front = metadata_load(_written(tmp_path, card))
    assert front["license"] == "other" and front["license_name"] == "those-of-all-that-it-began-with"
    assert f"{ALICE}: cc-by-nc-4.0" in card and "base model applies (apache-2.0)" in card
    assert licence_of("pocket").name == "apache-2.0"


def test_the_example_may_be_begun_with_and_the_card_says_so(hub: LocalHub, tmp_path: Path) -> None:
    run = continued(RunStore(tmp_path / "bob"), "example", hub, **MEASURED)
    publish(run, Target(BOB, private=False), hub.api(hub.accounts.token("bob")), None)
    assert "example run that comes with LoRA-SAE Lab" in card_of(hub, BOB)
    assert reopen(RunStore(tmp_path / "carol"), BOB, hub.api()).result["start"]["run_id"] == "example"


@pytest.mark.parametrize("spoil", [{"run_id": ".new-20260101-000000-abcdef"}, {"saes": []}, {"start": {"repo_id": "no slash"}}])
def test_what_nobody_could_open_is_neither_shown_nor_published(hub: LocalHub, theirs: Run, tmp_path: Path, spoil: dict[str, Any]) -> None:
    write_json(theirs.folder / "lorasae.json", {**theirs.result, **spoil})
    with pytest.raises(LabError, match="Nobody could open it again"):
        publish(theirs, Target(BOB), hub.api(hub.accounts.token("bob")), None)
    with pytest.raises(LabError, match="Nobody could open it again"):
        preview(theirs, BOB, tmp_path)
    assert hub.storage.repo("model", BOB) is None


def _written(tmp_path: Path, card: str) -> Path:
    path = tmp_path / "card.md"
    path.write_text(card)
    return path
