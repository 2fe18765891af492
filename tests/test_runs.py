"""The run folder: what is written is read again, and what cannot be read is said."""

import json
import os

import pytest

from lorasae.config import FORMAT, RunConfig
from lorasae.errors import LabError
from lorasae.home import home
from lorasae.store.durable import replace_file
from lorasae.store.run_folder import Run
from lorasae.store.run_records import Status
from lorasae.store.runs import RunStore


@pytest.fixture
def run(tmp_path):
    return RunStore(tmp_path).create(RunConfig(name="mine"))


def test_a_new_run_remembers_its_settings_and_versions(run):
    assert Run(run.folder).config == RunConfig(name="mine")
    described = json.loads((run.folder / "config.json").read_text())
    assert described["format"] == FORMAT and described["versions"]["torch"]
    assert run.status.state == "created"


def test_runs_are_found_by_id_and_by_folder_and_a_stranger_is_refused(tmp_path, run):
    store = RunStore(tmp_path)
    run.checkpoints.mkdir()
    assert store.open(run.run_id).folder == store.open(str(run.folder)).folder == run.folder
    with pytest.raises(LabError, match=f"The latest runs are: {run.run_id}"):
        store.open("yesterday")


def test_a_run_of_a_newer_version_is_refused_and_left_alone(run):
    path = run.folder / "config.json"
    newer = path.read_text().replace(f'"format": {FORMAT}', f'"format": {FORMAT + 1}')
    path.write_text(newer)
    with pytest.raises(LabError, match=r"newer version .* Update"):
        _ = run.config
    assert path.read_text() == newer


@pytest.mark.parametrize("content", ["{", "\x00", "[]", "{}"])
def test_a_damaged_run_is_told(run, content):
    (run.folder / "config.json").write_text(content)
    with pytest.raises(LabError, match="damaged"):
        _ = run.config


def test_the_status_is_replaced_whole_and_unknown_fields_of_it_are_ignored(run):
    run.write_status(Status(state="running", phase="training", step=3, n_steps=9))
    assert run.status.state == "interrupted"  # no process is at it
    run.write_status(Status(state="running", phase="training", step=3, n_steps=9, pid=os.getpid()))
    status = run.status
    assert (status.state, status.step, bool(status.updated)) == ("running", 3, True)
    content = json.loads((run.folder / "status.json").read_text())
    (run.folder / "status.json").write_text(json.dumps({**content, "later": 1}))
    assert run.status.step == 3


def test_a_torn_last_row_of_metrics_is_left_out(run):
    for step in range(3):
        run.append_metrics({"step": step})
    with (run.folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 3, "kl_tr')
    assert [row["step"] for row in run.metrics()] == [0, 1, 2]
    run.forget_metrics_after(1)
    run.append_metrics({"step": 2})
    assert [row["step"] for row in run.metrics()] == [0, 1, 2]


def test_a_result_that_is_not_there_yet_says_how_to_get_it(run):
    with pytest.raises(LabError, match="--resume"):
        _ = run.result


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")
    replace_file(path, b"new")
    assert path.read_text() == "new" and [each.name for each in tmp_path.iterdir()] == ["file"]


def test_home_is_one_environment_variable(monkeypatch, tmp_path):
    monkeypatch.setenv("LORASAE_HOME", str(tmp_path))
    assert home() == tmp_path
    monkeypatch.delenv("LORASAE_HOME")
    assert home().name == ".lorasae"
