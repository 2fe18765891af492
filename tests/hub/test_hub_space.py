"""One command brings the lab to the Hub as a Space, whole, once however often it is tried; and what lies there runs as a Space runs it."""

import json
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from lorasae.cli.main import main
from lorasae.errors import LabError
from lorasae.publishing.space import CHECKOUT, SpaceTarget, tracked_files, upload_space
from lorasae.sources.hub_problems import hub_problems_told
from tests.hub.client import contents
from tests.hub.faults import answer, cut, drop, lose_answer
from tests.hub.server import LocalHub
from tests.space_process import HOST, SPACE, asked, running


@pytest.fixture
def api(hub: LocalHub) -> HfApi:
    return hub.api(hub.accounts.token("alice"))


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small one: a text, a binary file without a line in .gitattributes, and files that git does not know."""
    folder = tmp_path / "checkout"
    for name, content in {
        "README.md": b"---\nsdk: gradio\n---\n# Lab\n",
        "lorasae/lab.py": b"# the lab\n",
        "assets/model.safetensors": bytes(range(256)) * 50,
        ".gitignore": b"/secret.txt\n",
        "secret.txt": b"hf_not_yours",
        "notes.txt": b"not added",
    }.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    git = ["git", "-C", str(folder)]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "add", "README.md", "lorasae", "assets", ".gitignore"], check=True)
    return folder


def test_the_space_holds_what_git_knows_and_nothing_else(hub, api, checkout):
    told: list[str] = []
    space = upload_space(SpaceTarget(SPACE), api, told.append, checkout)
    assert "notes.txt" in told[0] and "secret" not in " ".join(told)
    assert (space.n_files, space.is_new, space.url) == (4, True, f"{hub.endpoint}/spaces/{SPACE}")
    repo = hub.repo(SPACE, "space")
    held = repo.at(repo.oid_of("main")).files
    assert set(held) == {".gitattributes", ".gitignore", "README.md", "lorasae/lab.py", "assets/model.safetensors"}
    assert repo.content("main", "assets/model.safetensors") == bytes(range(256)) * 50
    assert repo.read()["private"] is True and repo.read()["sdk"] == "gradio"


def test_it_is_one_commit_however_often_it_is_tried(hub, api, checkout):
    first = upload_space(SpaceTarget(SPACE), api, checkout=checkout)
    again = upload_space(SpaceTarget(SPACE), api, checkout=checkout)
    assert (first.is_new, again.is_new) == (True, False)
    assert [one.title for one in history(hub)] == ["LoRA-SAE Lab", "initial commit"]


def test_a_later_version_takes_the_place_of_the_earlier_one(hub, api, checkout):
    upload_space(SpaceTarget(SPACE, private=False), api, checkout=checkout)
    (checkout / "lorasae/new.py").write_text("# new\n")
    (checkout / "assets/model.safetensors").unlink()
    subprocess.run(["git", "-C", str(checkout), "add", "-A", "lorasae", "assets"], check=True)
    assert upload_space(SpaceTarget(SPACE), api, checkout=checkout).is_new
    repo = hub.repo(SPACE, "space")
    assert set(repo.at(repo.oid_of("main")).files) == {".gitattributes", ".gitignore", "README.md", "lorasae/lab.py", "lorasae/new.py"}
    assert repo.read()["private"] is False  # whoever may see it is decided once


@pytest.mark.parametrize("fault", [answer(500), answer(429, retry_after=0), cut(3), drop(), lose_answer()], ids=str)
@pytest.mark.parametrize("path", ["/repos/create", "/preupload/", "/objects/batch", "/upload/", "/commit/"])
def test_a_fault_leaves_the_old_space_or_the_new_one_and_trying_again_mends_it(hub, api, checkout, fault, path, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    hub.faults.inject(fault, path=path)
    with suppress(LabError), hub_problems_told("x", SPACE, ()):
        upload_space(SpaceTarget(SPACE), api, checkout=checkout)
    upload_space(SpaceTarget(SPACE), api, checkout=checkout)
    repo = hub.repo(SPACE, "space")
    assert len(history(hub)) == 2
    assert len(repo.at(repo.oid_of("main")).files) == 5


def test_a_space_of_something_else_is_left_alone(hub, api, checkout):
    hub.publish({"README.md": b"---\nsdk: gradio\n---\n", "app.py": b"print('chess')\n"}, SPACE, "space")
    with pytest.raises(LabError, match="holds something else"):
        upload_space(SpaceTarget(SPACE), api, checkout=checkout)
    assert hub.asked("POST", "/commit/") == []


def test_hardware_is_asked_for_only_if_it_is_named(hub, api, checkout):
    upload_space(SpaceTarget(SPACE), api, checkout=checkout)
    assert hub.asked(path="hardware") == []
    upload_space(SpaceTarget(SPACE, hardware="l4x1"), api, checkout=checkout)
    assert api.space_info(SPACE).runtime.requested_hardware == "l4x1"


def test_a_folder_without_git_is_refused_in_a_sentence(api, tmp_path):
    with pytest.raises(LabError, match="clone the repository"):
        upload_space(SpaceTarget(SPACE), api, checkout=tmp_path)


def test_the_command_says_where_it_lies_and_what_the_hub_refuses(hub, api, capsys, monkeypatch):
    monkeypatch.setattr("lorasae.cli.hub._client", lambda: api)
    assert main(["space", "bob/lab"]) == 1
    assert "does not allow this" in capsys.readouterr().err
    assert main(["space", SPACE]) == 0
    said = capsys.readouterr()
    assert f"{hub.endpoint}/spaces/{SPACE}/settings" in said.out and "hf_" not in said.out + said.err


def test_what_lies_on_the_hub_runs_as_a_space_runs_it(hub, api, tmp_path):
    """Uploaded, downloaded into a fresh folder, started from there with a Space's environment and nothing else."""
    upload_space(SpaceTarget(SPACE), api)
    folder = tmp_path / "home" / "app"
    api.snapshot_download(SPACE, repo_type="space", local_dir=folder)
    arrived = {name: content for name, content in contents(folder).items() if not name.startswith(".cache/") and name != ".gitattributes"}
    assert arrived == {name: path.read_bytes() for name, path in tracked_files(CHECKOUT).items()}
    assert sum(len(content) for name, content in arrived.items() if name.endswith(".safetensors")) > 20_000_000
    with running(folder, tmp_path) as space:
        address = space.address
        assert asked(f"{address}/healthz")[0] == 200
        status, page = asked(f"{address}/", Host=HOST)
        assert status == 200 and "LoRA-SAE Lab" in page
        assert asked(f"{address}/run?id=example", Host=HOST)[0] == 200
        assert json.loads(asked(f"{address}/lab/runs/example", Host=HOST)[1])["name"]
        assert asked(f"{address}/lab/assets/header.js", Host=HOST)[0] == 200
        assert asked(f"{address}/", Host="elsewhere.example")[0] in (400, 403, 421)
    assert (tmp_path / "home" / ".lorasae" / "index.sqlite3").is_file()


def history(hub: LocalHub) -> list:
    repo = hub.repo(SPACE, "space")
    return list(repo.history(repo.oid_of("main")))
