"""Publishing from the browser: by the run's owner, with the login of the machine's own user, once; what strangers may not."""

import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lorasae.publishing.desk import PublishingDesk
from lorasae.store.durable import write_json
from lorasae.store.run_folder import EXAMPLE_FOLDER, Run
from lorasae.store.run_records import Status
from tests.hub.server import LocalHub, local_hub
from tests.web.conftest import World

REPO = "alice/adapter"


def as_measured(*_: Any) -> dict[str, Any]:
    return {"n_sequences": 8, "n_tokens": 1000, "metrics": {"ce_adapted_sae": {"stated": 0.58, "measured": 0.58}}}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """A Hub on which the machine's own user is alice."""
    with local_hub(tmp_path / "hub") as running:
        monkeypatch.setenv("HF_TOKEN", running.accounts.token("alice"))
        monkeypatch.setattr(PublishingDesk, "_measured_again", as_measured)  # else a process that loads the model
        yield running


def finished(world: World, owner: str = "local") -> Run:
    run = world.run(owner, n_rows=0)
    for name in ("metrics.jsonl", "heldout.npy"):
        shutil.copyfile(EXAMPLE_FOLDER / name, run.folder / name)
    shutil.copytree(EXAMPLE_FOLDER / "adapter", run.adapter)
    write_json(run.folder / "lorasae.json", {**json.loads((EXAMPLE_FOLDER / "lorasae.json").read_text()), "run_id": run.run_id})
    run.write_status(Status("succeeded", "done", 144, 144))
    return run


def ended(client: Any, address: str) -> dict[str, Any]:
    deadline = time.monotonic() + 30
    while (said := client.get(address).json())["latest"]["state"] == "under way":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return said


def test_a_run_is_previewed_published_and_said_to_be_there(local: World, hub: LocalHub) -> None:
    run, client = finished(local), local.client()
    address = f"/lab/runs/{run.run_id}/publishing"
    told = client.get(address).json()
    assert re.fullmatch(told.pop("name_pattern"), REPO) and set(told.values()) == {None}
    seen = client.post(f"{address}/preview", json={"repo_id": REPO}).json()
    assert {"README.md", "adapter_model.safetensors", "lorasae.json"} <= {each["name"] for each in seen["files"]}
    assert "54.7 %" in seen["card"] and not hub.asked("POST", "/commit/")
    begun = client.post(address, json={"repo_id": REPO, "private": True})
    assert begun.json()["latest"]["state"] == "under way"
    said = ended(client, address)
    assert said["latest"]["state"] == "done" and said["published"]["repo_id"] == REPO and said["published"]["checked"]
    assert hub.repo(REPO).read()["private"]


def test_what_the_hub_refuses_is_told_in_a_sentence(local: World, hub: LocalHub) -> None:
    run, client = finished(local), local.client()
    address = f"/lab/runs/{run.run_id}/publishing"
    client.post(address, json={"repo_id": "somebody-else/adapter", "private": True})
    said = ended(client, address)
    assert said["latest"]["state"] == "failed" and "The Hub does not allow this" in said["latest"]["problem"]
    assert "hf_" not in json.dumps(said)


@pytest.mark.parametrize(
    "body", [{"repo_id": "no-slash"}, {"repo_id": "../x/y"}, {"repo_id": "a/b c"}, {"repo_id": "a/b", "token": "hf_x"}, {}]
)
def test_a_name_that_is_none_is_refused(local: World, hub: LocalHub, body: dict[str, Any]) -> None:
    run = finished(local)
    answer = local.client().post(f"/lab/runs/{run.run_id}/publishing", json={"private": True, **body})
    assert answer.status_code in (400, 422) and not hub.log


def test_without_a_login_it_says_how_to_get_one(local: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "")
    run, client = finished(local), local.client()
    assert "hf auth login" in client.get(f"/lab/runs/{run.run_id}/publishing").json()["why_not"]
    answer = client.post(f"/lab/runs/{run.run_id}/publishing", json={"repo_id": REPO, "private": True})
    assert answer.status_code == 409 and "hf auth login" in answer.text


def test_visitors_publish_nothing_under_the_login_of_the_machine(open_to_visitors: World, hub: LocalHub) -> None:
    run = finished(open_to_visitors, "A")
    address = f"/lab/runs/{run.run_id}/publishing"
    mine, other = open_to_visitors.client("A"), open_to_visitors.client("B")
    assert mine.post(address, json={"repo_id": REPO, "private": True}).status_code == 409
    assert other.get(address).status_code == 404 and other.post(address, json={"repo_id": REPO, "private": True}).status_code == 404
    assert not hub.log
