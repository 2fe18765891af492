"""A run that was opened from the Hub: its model and SAEs come in the background, and whoever looks inside meanwhile is told."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lorasae.config import run_config
from lorasae.errors import LabError
from lorasae.planning.parts_desk import PartsDesk, StillFetching
from lorasae.sources.still_to_fetch import still_to_fetch
from lorasae.store.run_folder import Run
from lorasae.store.runs import RunStore
from tests.hub import miniatures
from tests.hub.server import LocalHub, local_hub

MODEL, SAES = "openai-community/gpt2", "jbloom/GPT2-Small-SAEs-Reformatted"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalHub]:
    """A Hub with a model and its SAEs; errands find it, and an empty cache."""
    with local_hub(tmp_path / "hub") as running:
        miniatures.publish(running, [MODEL, SAES])
        for name, value in running.environment(tmp_path / "cache").items():
            monkeypatch.setenv(name, value)
        for name in ("HF_HUB_OFFLINE", "HF_TOKEN"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache" / "hub"))
        yield running


@pytest.fixture
def run(tmp_path: Path) -> Run:
    sae = {"release": "gpt2-small-res-jb", "sae_id": "blocks.8.hook_resid_pre"}
    return RunStore(tmp_path / "home").create(run_config({"model": {"model": MODEL}, "saes": [sae]}))


def settled(desk: PartsDesk, run: Run) -> LabError | None:
    """What is said once nothing is under way any more."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            desk.refuse_unready(run)
            return None
        except StillFetching:
            time.sleep(0.1)
        except LabError as problem:
            return problem
    raise AssertionError("it is still fetching")


def test_what_is_missing_is_fetched_and_whoever_looks_meanwhile_is_told(hub: LocalHub, run: Run) -> None:
    desk = PartsDesk()
    assert len(still_to_fetch(run.config)) == 2
    desk.begin(run, False, None)
    with pytest.raises(StillFetching, match=r"being fetched from the Hub: openai-community/gpt2, .*Try again in a few minutes"):
        desk.refuse_unready(run)
    desk.begin(run, False, None)  # a second opening begins nothing anew
    assert settled(desk, run) is None and still_to_fetch(run.config) == []
    n_requests = len(hub.log)
    desk.begin(run, False, None)
    desk.refuse_unready(run)
    assert len(hub.log) == n_requests


def test_a_model_larger_than_the_lab_allows_is_refused_before_it_is_fetched(hub: LocalHub, run: Run) -> None:
    desk = PartsDesk()
    desk.begin(run, False, 1000)
    assert "in this lab, visitors fetch up to 1e-06 GB of one repository" in str(settled(desk, run))
    assert not hub.asked("GET", ".safetensors")


def test_what_cannot_be_had_is_told_with_the_way_to_try_again(hub: LocalHub, run: Run) -> None:
    miniatures.publish(hub, ["google/gemma-2-2b"])
    gated = RunStore(run.folder.parent.parent).create(run_config({**run.config.model_dump(), "model": {"model": "google/gemma-2-2b"}}))
    desk = PartsDesk()
    desk.begin(gated, False, None)
    problem = settled(desk, gated)
    assert problem is not None and "is gated" in str(problem) and "open the adapter again" in str(problem)
