"""What strangers publish as a result is refused whole where anything of it is not what pages count on, and leaves nothing behind."""

import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lorasae.config import RunConfig
from lorasae.errors import Busy, LabError
from lorasae.publishing import reopen as reopening
from lorasae.publishing.reopen import reopen
from lorasae.store.run_folder import Run
from lorasae.store.runs import RunStore
from tests.hub.server import LocalHub, local_hub
from tests.test_gallery import published_run

Result = dict[str, Any]
DEEP = b'{"format": 1, "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    with local_hub(tmp_path / "hub") as running:
        yield running


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "made").mkdir()
    return published_run(tmp_path / "made")


def refused(hub: LocalHub, files: Path, tmp_path: Path) -> str:
    """Why the files are not opened; nothing of them is left."""
    hub.publish(files, "mallory/odd")
    store = RunStore(tmp_path / "mine")
    with pytest.raises(LabError) as problem:
        reopen(store, "mallory/odd", hub.api())
    assert not list((tmp_path / "mine").rglob("*"))
    assert len(str(problem.value)) < 1500
    return str(problem.value)


def sae(**changes: Any) -> Callable[[Result], Any]:
    return lambda result: result["saes"][0].update(changes)


def gap(**changes: Any) -> Callable[[Result], Any]:
    return lambda result: result["results"]["gap_closed"].update(changes)


HOSTILE: dict[str, Callable[[Result], Any]] = {
    "results is a list": lambda result: result.update(results=[]),
    "results is empty": lambda result: result.update(results={}),
    "a metric is a string": lambda result: result["results"].update(gap_closed="all"),
    "a value is a string": gap(value="0.5"),
    "a value is NaN": gap(value=float("nan")),
    "a value has 400 digits": gap(value=10**400),
    "an error is missing": lambda result: result["results"]["gap_closed"].pop("standard_error"),
    "the original loss is null": lambda result: result["results"]["ce_original"].update(value=None),
    "saes holds a number": lambda result: result.update(saes=[1]),
    "saes is empty": lambda result: result.update(saes=[]),
    "saes is an object": lambda result: result.update(saes={"release": "a"}),
    "an SAE has no size": lambda result: result["saes"][0].pop("d_sae"),
    "an SAE has a size of 30 digits": sae(d_sae=10**30),
    "an SAE's place is a number": sae(hook_point=3),
    "an SAE's release is a list": sae(release=["a"]),
    "an SAE lies on this machine": sae(release="/etc"),
    "a module would end a string of Python": sae(module='x"); import os; ("'),
    "an L0 is a string": sae(original={"l0": "many"}),
    "step is a string": lambda result: result.update(step="a"),
    "n_steps is a boolean": lambda result: result.update(n_steps=True),
    "n_steps is a list": lambda result: result.update(n_steps=[1]),
    "run_id is a page long": lambda result: result.update(run_id="a" * 4000),
    "run_id is an object": lambda result: result.update(run_id={}),
    "config is null": lambda result: result.update(config=None),
    "config is a list": lambda result: result.update(config=[1]),
    "config holds nonsense": lambda result: result["config"].update(train=7),
    "config names a model at length": lambda result: result["config"]["model"].update(model="a" * 100_000),
    "heldout is null": lambda result: result.update(heldout=None),
    "heldout counts in words": lambda result: result["heldout"].update(n_tokens="many"),
    "special tokens are a list": lambda result: result.update(special_tokens=[0]),
    "a special token is negative": lambda result: result["special_tokens"].update(bypassed=[-1]),
    "it began with a repository of no commit": lambda result: result.update(start={"repo_id": "a/b"}),
    "half a surrogate pair": sae(sae_id="\ud800"),
    "no format": lambda result: result.update(format=[1]),
}


@pytest.mark.parametrize("spoil", HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_result_is_told_and_leaves_nothing(hub: LocalHub, files: Path, tmp_path: Path, spoil: Callable[[Result], Any]) -> None:
    result = json.loads((files / "lorasae.json").read_text())
    spoil(result)
    (files / "lorasae.json").write_text(json.dumps(result))
    refused(hub, files, tmp_path)


@pytest.mark.parametrize("name", ["lorasae.json", "adapter_config.json"])
def test_json_nested_a_hundred_thousand_deep_is_damage(hub: LocalHub, files: Path, tmp_path: Path, name: str) -> None:
    (files / name).write_bytes(DEEP)
    assert "damaged" in refused(hub, files, tmp_path)


@pytest.mark.parametrize("settings", [{"lora_alpha": 10**400}, {"r": [1]}, {"base_model_name_or_path": {}}])
def test_hostile_settings_of_an_adapter_are_told(hub: LocalHub, files: Path, tmp_path: Path, settings: dict[str, Any]) -> None:
    own = json.loads((files / "adapter_config.json").read_text())
    (files / "adapter_config.json").write_text(json.dumps({**own, **settings}))
    refused(hub, files, tmp_path)


def npy(array: Any) -> bytes:
    content = io.BytesIO()
    np.save(content, array, allow_pickle=False)
    return content.getvalue()


def npy_that_states(shape: str, descr: str = "'<i8'") -> bytes:
    header = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64)


@pytest.mark.parametrize(
    "content",
    [
        npy_that_states("(1000000, 1000000000)"),  # 7 PiB
        npy_that_states("(10000000000000000000000000, 1)"),
        npy_that_states("(-1, 4)"),
        npy_that_states("(True, 4)"),
        npy_that_states("(2, 4)", "'<m8[s]'"),
        npy_that_states("(2, 4)", "[('a', '<i8')]"),
        npy_that_states("[" * 50),
        b"\x93NUMPY\x09\x00",
        b"",
        npy(np.array([[-1, 2]])),
        npy(np.array([[1, 2**24]])),
        npy(np.zeros((0, 4), int)),
        npy(np.zeros(4, int)),
        npy(np.zeros((2, 4), float)),
    ],
)
def test_hostile_held_out_tokens_are_damage(hub: LocalHub, files: Path, tmp_path: Path, content: bytes) -> None:
    (files / "heldout.npy").write_bytes(content)
    assert "damaged" in refused(hub, files, tmp_path)


@pytest.mark.parametrize(("name", "n_bytes"), [("lorasae.json", 1_000_001), ("metrics.jsonl", 50_000_001), ("heldout.npy", 65_000_000)])
def test_files_larger_than_any_of_ours_are_not_fetched(hub: LocalHub, files: Path, tmp_path: Path, name: str, n_bytes: int) -> None:
    (files / name).write_bytes(b" " * n_bytes)
    assert f"Its {name} has" in refused(hub, files, tmp_path)
    assert not any("/resolve/" in asking.url for asking in hub.log)


def test_what_is_not_believed_is_left_behind(hub: LocalHub, files: Path, tmp_path: Path) -> None:
    own = json.loads((files / "lorasae.json").read_text())
    (files / "lorasae.json").write_text(json.dumps({**own, "surprise": {"a": 1}}))
    hub.publish(files, "alice/repair")
    back = reopen(RunStore(tmp_path / "mine"), "alice/repair", hub.api()).result
    assert "surprise" not in back and back["origin"]["run_id"] == own["run_id"]
    assert {key: back[key] for key in own if key not in ("run_id", "format")} == {
        key: own[key] for key in own if key not in ("run_id", "format")
    }


def test_a_run_folder_that_cannot_be_filled_leaves_nothing_whatever_the_reason(tmp_path: Path) -> None:
    def fill(run: Run) -> None:
        (run.folder / "large").write_bytes(b"1")
        raise TypeError

    with pytest.raises(TypeError):
        RunStore(tmp_path).create(RunConfig(), fill=fill)
    assert not list((tmp_path / "runs").iterdir())


def test_adapters_opened_at_once_are_counted_one_by_one(
    hub: LocalHub, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reopening, "VISITORS_ADAPTERS", 1)
    for number in range(4):
        hub.publish(files, f"alice/repair-{number}")
    store = RunStore(tmp_path / "mine")

    def opened(number: int) -> str:
        try:
            return reopen(store, f"alice/repair-{number}", hub.api(), "visitor-a").run_id
        except LabError as problem:
            return problem.found

    with ThreadPoolExecutor(4) as threads:
        said = list(threads.map(opened, range(4)))
    assert len(store.all()) == 1 and sum("You have 1 adapters" in each for each in said) == 3


def test_while_one_is_fetched_another_waits_and_what_is_here_is_given_at_once(
    hub: LocalHub, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reopening, "_WAIT_S", 0.01)
    for name in ("here", "new"):
        hub.publish(files, f"alice/{name}")
    store = RunStore(tmp_path / "mine")
    here = reopen(store, "alice/here", hub.api())
    with store.opening:
        assert reopen(store, "alice/here", hub.api()).run_id == here.run_id
        with pytest.raises(Busy, match="Another adapter is being fetched"):
            reopen(store, "alice/new", hub.api())
