"""A finished run goes to the Hub whole or not at all, once however often it is tried, and comes back as the same adapter."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.repocard import metadata_load

from lorasae.config import run_config
from lorasae.errors import LabError
from lorasae.metrics import LEARNED
from lorasae.publishing.card import model_card
from lorasae.publishing.check import measured_again
from lorasae.publishing.licences import licence_of
from lorasae.publishing.package import make_package
from lorasae.publishing.publication import publication
from lorasae.publishing.publish import publish
from lorasae.publishing.push import Target, push
from lorasae.publishing.reopen import reopen
from lorasae.sources.catalog import ASSETS
from lorasae.sources.published_models import PUBLISHED
from lorasae.store.durable import write_json
from lorasae.store.run_folder import EXAMPLE_FOLDER, Run, example
from lorasae.store.run_records import Status
from lorasae.store.runs import RunStore
from tests.hub.faults import answer, cut, drop, lose_answer
from tests.hub.server import LocalHub, local_hub

REPO = "alice/adapter"
CARD_NAME = "My *first* <b>adapter</b>"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """The example as a run of somebody's own."""

    def fill(new: Run) -> None:
        for path in EXAMPLE_FOLDER.iterdir():
            if path.name not in ("config.json", "status.json", "lorasae.json"):
                (shutil.copytree if path.is_dir() else shutil.copyfile)(path, new.folder / path.name)
        result = json.loads((EXAMPLE_FOLDER / "lorasae.json").read_text())
        for record in result["saes"]:
            record.update(module="model.layers.2", side="output", normalisation="none")
        write_json(new.folder / "lorasae.json", result)
        new.write_status(Status("succeeded", "done", step=144, n_steps=144))

    new = RunStore(tmp_path / "home").create(run_config({"name": CARD_NAME}), fill=fill)
    write_json(new.folder / "lorasae.json", {**new.result, "run_id": new.run_id})
    return new


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    with local_hub(tmp_path / "hub") as running:
        yield running


def package(run: Run, folder: Path) -> Path:
    folder.mkdir(parents=True)
    make_package(publication(run), REPO, folder)
    return folder


def held(hub: LocalHub, repo: str) -> set[str]:
    """The files of a repository, if it is there."""
    found = hub.storage.repo("model", repo)
    head = found.oid_of("main") if found else None
    return set(found.at(head).files) - {".gitattributes"} if found and head else set()


def commits(hub: LocalHub, repo: str = REPO) -> int:
    """Those that hold a file of ours."""
    found = hub.storage.repo("model", repo)
    return 0 if found is None else sum("lorasae.json" in commit.files for commit in found.history(found.oid_of("main")))


def as_measured(_: Run, __: Run) -> dict[str, Any]:
    return {"n_sequences": 8, "n_tokens": 1000, "metrics": {"ce_adapted_sae": {"stated": 0.58, "measured": 0.58}}}


def test_the_same_run_makes_the_same_files(run: Run, tmp_path: Path) -> None:
    one, other = package(run, tmp_path / "a"), package(run, tmp_path / "b")
    assert {path.name: path.read_bytes() for path in one.rglob("*.*")} == {path.name: path.read_bytes() for path in other.rglob("*.*")}
    assert (one / "pictures" / "gap.png").read_bytes().startswith(b"\x89PNG")


def test_the_card_says_what_was_measured_and_what_the_hub_reads(run: Run, tmp_path: Path) -> None:
    card = (package(run, tmp_path / "a") / "README.md").read_text()
    data = metadata_load(tmp_path / "a" / "README.md")
    assert data["library_name"] == "peft" and "lorasae" in data["tags"] and data["license"] == "apache-2.0"
    stated = {metric["type"]: metric["value"] for metric in data["model-index"][0]["results"][0]["metrics"]}
    assert stated["gap_closed"] == run.result["results"]["gap_closed"]["value"]
    assert "| the model alone | 0.5140 ± 0.0086 |" in card and "54.7 % ± 1.6" in card
    assert r"# My \*first\* \<b\>adapter\</b\>" in card  # a name is no markup


def test_a_card_warns_of_a_gap_closed_by_more_than_100_per_cent(run: Run, tmp_path: Path) -> None:
    assert LEARNED not in (package(run, tmp_path / "a") / "README.md").read_text()
    result = run.result
    result["results"]["gap_closed"]["value"] = 1.2
    run.write_result(result)
    assert LEARNED in (package(run, tmp_path / "b") / "README.md").read_text()


def test_a_base_model_of_the_hub_is_named_to_the_hub_with_its_licence(run: Run, tmp_path: Path) -> None:
    described = run.described
    described["config"] |= {"model": {**described["config"]["model"], "model": "google/gemma-2-2b"}}
    write_json(run.folder / "config.json", described)
    card = package(run, tmp_path / "a") / "README.md"
    data = metadata_load(card)
    assert data["base_model"] == "google/gemma-2-2b" and data["base_model_relation"] == "adapter" and data["license"] == "gemma"
    assert "Gemma Terms of Use" in card.read_text()


@pytest.mark.parametrize(
    ("release", "sae_id", "repository", "paper"),
    [
        ("gemma-scope-2b-pt-res", "layer_12/width_16k/average_l0_82", "google/gemma-scope-2b-pt-res", "arXiv:2408.05147"),
        ("gpt2-small-resid-post-v5-32k", "blocks.0.hook_resid_post", "jbloom/GPT2-Small-OAI-v5-32k-resid-post-SAEs", "arXiv:2406.04093"),
        ("gpt2-small-res_scefr-ajt", "blocks.2.hook_resid_pre", "neuronpedia/gpt2-small__res_scefr-ajt", "arXiv:2405.12241"),
        ("gpt2-small-res-jb", "blocks.8.hook_resid_pre", "jbloom/GPT2-Small-SAEs-Reformatted", ""),
        ("pocket-scope", "layer_2/width_2k/average_l0_17", "", ""),
    ],
)
def test_the_authors_of_the_sae_are_named_and_cited(run: Run, release: str, sae_id: str, repository: str, paper: str) -> None:
    result = run.result
    result["saes"][0].update(release=release, sae_id=sae_id)
    run.write_result({key: value for key, value in result.items() if key not in ("format", "run_id")})
    rights = model_card(publication(run), REPO).partition("## Licence and citation")[2]
    assert "arXiv:2501.19406" in rights and paper in rights and rights.count("arXiv:") == (2 if paper else 1)
    assert (f"[{repository}](https://huggingface.co/{repository}) by" in rights) is bool(repository)


@pytest.mark.parametrize(
    ("model", "name", "notice"),
    [
        ("google/gemma-3-1b-pt", "gemma", "Gemma Terms of Use"),
        ("meta-llama/Llama-3.1-8B", "llama3.1", "Llama 3.1 Community License, Copyright © Meta Platforms, Inc."),
        ("meta-llama/Llama-3.2-1B", "llama3.2", "Built with Llama"),
        ("meta-llama/Meta-Llama-3-8B-Instruct", "llama3", "Meta Llama 3 Community License"),
        ("deepseek-ai/DeepSeek-R1-Distill-Llama-8B", "mit", "Llama 3.1 Community License applies too"),
        ("EleutherAI/pythia-70m-deduped", "apache-2.0", ""),
        ("somebody/model", "other", "look at its page"),
    ],
)
def test_an_adapter_is_under_the_licence_of_its_model(model: str, name: str, notice: str) -> None:
    licence = licence_of(model)
    assert licence.name == name and notice in licence.notice


def test_every_model_that_saes_are_listed_for_has_a_licence() -> None:
    assert not [model for model in PUBLISHED if licence_of(model).name == "other"]


def test_a_file_of_somebodys_own_is_not_named(run: Run, tmp_path: Path) -> None:
    described = run.described
    described["config"]["data"] |= {"source": "/home/somebody/diary.txt"}
    write_json(run.folder / "config.json", described)
    folder = package(run, tmp_path / "a")
    assert "platform" not in json.loads((folder / "lorasae.json").read_text())["versions"]
    assert not any(b"diary" in path.read_bytes() for path in folder.rglob("*") if path.is_file())


def test_the_example_and_a_run_on_own_weights_are_refused(run: Run) -> None:
    shipped = example()
    assert shipped
    with pytest.raises(LabError, match="Publish a run of your own"):
        publication(shipped)
    described = run.described
    described["config"] |= {"model": {**described["config"]["model"], "model": str(run.folder)}}
    write_json(run.folder / "config.json", described)
    with pytest.raises(LabError, match="a folder of this machine"):
        publication(run)


def test_a_push_is_one_commit_and_a_second_push_none(run: Run, hub: LocalHub, tmp_path: Path) -> None:
    api, made = hub.api(hub.accounts.token("alice")), package(run, tmp_path / "a")
    first = push(made, run.run_id, Target(REPO), api)
    again = push(made, run.run_id, Target(REPO), api)
    assert first.is_new and not again.is_new and again.commit == first.commit and commits(hub) == 1
    assert hub.repo(REPO).read()["private"]
    for path in made.rglob("*"):
        if path.is_file():
            assert hub.repo(REPO).content("main", str(path.relative_to(made))) == path.read_bytes()


def test_what_is_not_this_run_is_left_alone(run: Run, hub: LocalHub, tmp_path: Path) -> None:
    api, made = hub.api(hub.accounts.token("alice")), package(run, tmp_path / "a")
    hub.publish({"model.safetensors": b"x"}, REPO)
    with pytest.raises(LabError, match="holds something else"):
        push(made, run.run_id, Target(REPO), api)
    push(made, run.run_id, Target("alice/other"), api)
    with pytest.raises(LabError, match=f"holds the run {run.run_id}"):
        push(made, "20260101-000000-abcdef", Target("alice/other"), api)


def test_a_pull_request_leaves_the_main_branch_alone(run: Run, hub: LocalHub, tmp_path: Path) -> None:
    api = hub.api(hub.accounts.token("alice"))
    pushed = push(package(run, tmp_path / "a"), run.run_id, Target(REPO, as_pull_request=True), api)
    assert "/discussions/" in pushed.url and commits(hub) == 0


FAULTS = {
    "500": answer(500),
    "429": answer(429, retry_after=0),
    "403": answer(403),
    "dropped": drop(),
    "lost": lose_answer(),
    "cut": cut(after=1),
}


def test_after_every_fault_at_every_request_the_hub_holds_all_or_nothing_and_a_retry_ends_with_one_commit(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)  # what the client waits between its own retries
    made = package(run, tmp_path / "a")
    names = {str(path.relative_to(made)) for path in made.rglob("*") if path.is_file()}
    with local_hub(tmp_path / "whole") as hub:
        push(made, run.run_id, Target(REPO), hub.api(hub.accounts.token("alice")))
        n_requests = len(hub.log)
    outcomes = {"arrived": 0, "nothing there": 0}
    with local_hub(tmp_path / "spoiled") as hub:
        api = hub.api(hub.accounts.token("alice"))
        for number, (name, fault) in product(range(1, n_requests + 1), FAULTS.items()):
            repo, before = f"alice/{name}-{number}", len(hub.log)
            hub.faults.inject(fault, when=lambda asking, struck=before + number: asking.number == struck)
            try:
                push(made, run.run_id, Target(repo), api)
            except Exception as error:  # noqa: BLE001  # whatever it is, the Hub must hold all or nothing
                assert not re.search(r"hf_\w+", str(error))
            hub.faults.clear()
            there = held(hub, repo)
            assert there in (set(), names), (name, number, there)
            outcomes["arrived" if there else "nothing there"] += 1
            push(made, run.run_id, Target(repo), api)
            assert commits(hub, repo) == 1, (name, number)
    with capsys.disabled():
        print(f"\n{n_requests} requests x {len(FAULTS)} faults: {outcomes}")


def requests_of(hub: LocalHub, repo: str) -> list[dict[str, Any]]:
    """The pull requests that are open."""
    found = hub.storage.repo("model", repo)
    return [
        each for each in (found.read()["discussions"] if found else []) if each["isPullRequest"] and each["status"] in ("open", "draft")
    ]


def test_a_pull_request_is_made_once_however_often_it_is_tried(run: Run, hub: LocalHub, tmp_path: Path) -> None:
    alice, made, target = (
        hub.api(hub.accounts.token("alice")),
        package(run, tmp_path / "a"),
        Target(REPO, private=False, as_pull_request=True),
    )
    first, again = push(made, run.run_id, target, alice), push(made, run.run_id, target, alice)
    assert first.is_new and not again.is_new and again.url == first.url and again.commit == first.commit
    assert len(requests_of(hub, REPO)) == 1
    (made / "README.md").write_text("# Another card\n")  # other files are another request
    assert push(made, run.run_id, target, alice).is_new and len(requests_of(hub, REPO)) == 2


def test_a_request_of_somebody_else_or_one_that_was_closed_is_not_taken_for_ours(run: Run, hub: LocalHub, tmp_path: Path) -> None:
    alice, bob, made = hub.api(hub.accounts.token("alice")), hub.api(hub.accounts.token("bob")), package(run, tmp_path / "a")
    alice.create_repo(REPO)
    hub.publish({"notes.md": b"x"}, "alice/other")
    files = [CommitOperationAdd(str(path.relative_to(made)), path) for path in made.rglob("*") if path.is_file()]
    bob.create_commit(REPO, files, commit_message=f"Adapter of the run {run.run_id}", create_pr=True)
    target = Target(REPO, private=False, as_pull_request=True)
    ours = push(made, run.run_id, target, alice)
    assert ours.is_new and len(requests_of(hub, REPO)) == 2
    alice.change_discussion_status(REPO, int(ours.url.rpartition("/")[2]), "closed")
    assert push(made, run.run_id, target, alice).is_new


def test_a_request_that_the_client_itself_repeated_is_closed(run: Run, hub: LocalHub, tmp_path: Path) -> None:
    alice, made, target = hub.api(hub.accounts.token("alice")), package(run, tmp_path / "a"), Target(REPO, as_pull_request=True)
    create = alice.create_commit

    def twice(*arguments: Any, **settings: Any) -> Any:
        create(*arguments, **settings)
        again = [CommitOperationAdd(str(path.relative_to(made)), path) for path in made.rglob("*") if path.is_file()]
        return create(arguments[0], again, **settings)

    alice.create_commit = twice  # type: ignore[method-assign]
    pushed = push(made, run.run_id, target, alice)
    assert pushed.url.endswith("/discussions/1") and [each["num"] for each in requests_of(hub, REPO)] == [1]


def test_after_every_fault_at_every_request_there_is_at_most_one_pull_request_and_after_a_retry_one(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)
    made = package(run, tmp_path / "a")
    names = {str(path.relative_to(made)) for path in made.rglob("*") if path.is_file()}
    with local_hub(tmp_path / "whole") as hub:
        push(made, run.run_id, Target(REPO, as_pull_request=True), hub.api(hub.accounts.token("alice")))
        n_requests = len(hub.log)
    outcomes = {0: 0, 1: 0}
    with local_hub(tmp_path / "spoiled") as hub:
        api = hub.api(hub.accounts.token("alice"))
        for number, (name, fault) in product(range(1, n_requests + 1), FAULTS.items()):
            repo, before = f"alice/{name}-{number}", len(hub.log)
            hub.faults.inject(fault, when=lambda asking, struck=before + number: asking.number == struck)
            with suppress(Exception):
                push(made, run.run_id, Target(repo, as_pull_request=True), api)
            hub.faults.clear()
            assert len(requests_of(hub, repo)) <= 1, (name, number)
            outcomes[len(requests_of(hub, repo))] += 1
            push(made, run.run_id, Target(repo, as_pull_request=True), api)
            (request,) = requests_of(hub, repo)
            held = hub.repo(repo).at(hub.repo(repo).oid_of(f"refs/pr/{request['num']}") or "").files
            assert set(held) - {".gitattributes"} == names and commits(hub, repo) == 0, (name, number)
    with capsys.disabled():
        print(f"\n{n_requests} requests x {len(FAULTS)} faults: after the fault {outcomes[1]} with the pull request, {outcomes[0]} without")


def test_publishing_says_on_the_card_that_the_downloaded_adapter_was_measured(run: Run, hub: LocalHub) -> None:
    api = hub.api(hub.accounts.token("alice"))
    phases: list[str] = []
    published = publish(run, Target(REPO), api, as_measured, phases.append)
    card = (hub.repo(REPO).content("main", "README.md") or b"").decode()
    assert "## Measured again after publishing" in card and commits(hub) == 2 and "downloading it again" in phases
    again = publish(run, Target(REPO), api, as_measured)
    assert again.commit == published.commit and commits(hub) == 2


@pytest.mark.parametrize(
    ("was_private", "private", "said"), [(True, False, "now everybody can see it"), (False, True, "left so"), (True, True, "")]
)
def test_a_repository_that_is_there_already_is_shown_as_wished_but_never_hidden(
    run, hub, was_private: bool, private: bool, said: str
) -> None:
    api = hub.api(hub.accounts.token("alice"))
    api.create_repo(REPO, private=was_private)
    pushed = publish(run, Target(REPO, private=private), api, as_measured)
    assert said in pushed.note and bool(pushed.note) == bool(said)
    assert hub.repo(REPO).read()["private"] is (was_private and private)
    assert not publish(run, Target(REPO, private=hub.repo(REPO).read()["private"]), api, as_measured).note


def test_a_repository_that_may_not_be_made_public_is_said_to_be_private_still(run: Run, hub: LocalHub) -> None:
    api = hub.api(hub.accounts.token("alice"))
    api.create_repo(REPO, private=True)
    hub.faults.inject(answer(403), method="PUT", path="/settings")
    assert "still private" in publish(run, Target(REPO, private=False), api, as_measured).note
    assert "now everybody" in publish(run, Target(REPO, private=False), api, as_measured).note


def test_a_pull_request_changes_nothing_of_who_sees_a_repository(run: Run, hub: LocalHub) -> None:
    api = hub.api(hub.accounts.token("alice"))
    api.create_repo(REPO, private=True)
    publish(run, Target(REPO, private=False, as_pull_request=True), api, None)
    assert hub.repo(REPO).read()["private"]


def test_a_downloaded_adapter_that_does_something_else_is_told(run: Run, hub: LocalHub) -> None:
    def otherwise(_: Run, __: Run) -> dict[str, Any]:
        return {"n_sequences": 8, "n_tokens": 1000, "metrics": {"ce_adapted_sae": {"stated": 0.58, "measured": 0.59}}}

    with pytest.raises(LabError, match=r"its ce_adapted_sae is 0\.59"):
        publish(run, Target(REPO), hub.api(hub.accounts.token("alice")), otherwise)


def test_what_was_published_comes_back_as_the_same_adapter(run: Run, hub: LocalHub, tmp_path: Path) -> None:
    api, store = hub.api(hub.accounts.token("alice")), RunStore(tmp_path / "elsewhere")
    publish(run, Target(REPO), api, as_measured)
    back = reopen(store, REPO, api)
    assert back.about.name == REPO and back.status.state == "succeeded" and back.result["results"] == run.result["results"]
    assert len(list(back.metrics())) == len(list(run.metrics()))
    found = measured_again(run, back)
    for pair in found["metrics"].values():
        assert pair["stated"] == pair["measured"]
    assert reopen(store, REPO, api).run_id == back.run_id  # the same commit once


def test_the_lines_of_the_card_alone_give_the_number_that_the_lab_measured(run: Run, hub: LocalHub, tmp_path: Path) -> None:
    token = hub.accounts.token("alice")
    publish(run, Target(REPO), hub.api(token), None)
    card = (hub.repo(REPO).content("main", "README.md") or b"").decode()
    lines = card.split("```python\n")[1].split("```")[0]
    script = tmp_path / "ten_lines.py"
    script.write_text(lines)
    environment = hub.environment(tmp_path / "cache", token) | {"PYTHONPATH": ""}
    said = subprocess.run([sys.executable, str(script)], cwd=ASSETS.parent, env=environment, capture_output=True, text=True, timeout=300)
    printed = float(re.findall(r"tensor\(([\d.]+)", said.stdout)[0]) if said.returncode == 0 else pytest.fail(said.stderr[-2000:])
    measured = measured_again(run, run)["metrics"]["ce_adapted_sae"]["stated"]
    assert "import lorasae" not in lines and printed == pytest.approx(measured, abs=1e-4)


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("lorasae.json", b"{", "is damaged"),
        ("lorasae.json", b'{"format": 99}', "has the format 99"),
        ("lorasae.json", b'{"format": 1}', "lacks"),
        ("adapter_config.json", b'{"base_model_name_or_path": "google/gemma-2-2b"}', "Its adapter is of 'google/gemma-2-2b'"),
        ("adapter_model.safetensors", b"\x80\x04not safe", "is damaged"),
        ("heldout.npy", None, "is damaged"),
    ],
)
def test_what_strangers_publish_is_checked_before_it_is_believed(
    run: Run, hub: LocalHub, tmp_path: Path, name: str, content: bytes | None, found: str
) -> None:
    made = package(run, tmp_path / "a")
    if content is None:
        np.save(made / name, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    else:
        (made / name).write_bytes(content)
    hub.publish(made, REPO)
    store = RunStore(tmp_path / "elsewhere")
    with pytest.raises(LabError, match=found):
        reopen(store, REPO, hub.api())
    assert not store.all() and not list((tmp_path / "elsewhere").rglob("*.safetensors"))


def test_no_pattern_of_a_strangers_is_ever_run(run: Run, hub: LocalHub, tmp_path: Path) -> None:
    """PEFT takes `target_modules` as a regular expression: one that backtracks would hold the inspection process for ever."""
    made = package(run, tmp_path / "a")
    settings = json.loads((made / "adapter_config.json").read_text())
    (made / "adapter_config.json").write_text(json.dumps({**settings, "target_modules": "(.*.*)*x", "exclude_modules": "(a+)+$"}))
    hub.publish(made, REPO)
    back = reopen(RunStore(tmp_path / "elsewhere"), REPO, hub.api())
    found = json.loads((back.adapter / "adapter_config.json").read_text())
    assert isinstance(found["target_modules"], list) and "exclude_modules" not in found
    assert all(pair["stated"] == pair["measured"] for pair in measured_again(run, back)["metrics"].values())


def test_a_repository_of_something_else_is_told(hub: LocalHub, tmp_path: Path) -> None:
    hub.publish({"config.json": b"{}"}, "somebody/model")
    with pytest.raises(LabError, match="Give a repository that was published from LoRA-SAE Lab"):
        reopen(RunStore(tmp_path), "somebody/model", hub.api())
    with pytest.raises(LabError, match="repository on the Hub that you may see"):
        reopen(RunStore(tmp_path), "somebody/nothing", hub.api())


def test_the_token_is_in_no_file_and_no_address(run: Run, hub: LocalHub, tmp_path: Path) -> None:
    token = hub.accounts.token("alice")
    api = hub.api(token)
    publish(run, Target(REPO), api, as_measured)
    reopen(RunStore(tmp_path / "elsewhere"), REPO, api)
    kept = [path for path in tmp_path.rglob("*") if path.is_file() and token.encode() in path.read_bytes()]
    assert not kept and not any(token in asking.url for asking in hub.log)


@pytest.mark.parametrize(
    ("environment", "todo"),
    [
        ({"HF_TOKEN": "hf_old"}, "set HF_TOKEN to it"),
        ({"HF_TOKEN": ""}, "log in with hf auth login"),
        ({"HF_TOKEN": "hf_old", "LORASAE_ACCESS": "sign-in"}, "sign in with Hugging Face"),
    ],
)
def test_what_to_do_about_a_token_that_is_no_longer_valid_depends_on_where_it_came_from(
    run: Run, hub: LocalHub, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], todo: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LabError, match=f"no longer takes the token in use. Get a new one: {todo}"):
        publish(run, Target(REPO), hub.api("hf_wrongwrongwrong"), as_measured)


@pytest.mark.parametrize("name", ["adapter", "alice/a--b", "alice/x.git", f"alice/{'x' * 97}"])
def test_what_is_no_name_is_refused_before_the_hub_is_asked(run: Run, hub: LocalHub, name: str) -> None:
    with pytest.raises(LabError, match="no name of a repository on the Hub"):
        publish(run, Target(name), hub.api(hub.accounts.token("alice")), as_measured)
    assert not hub.log


def test_the_client_without_a_token_is_told_what_to_do(run: Run, hub: LocalHub) -> None:
    with pytest.raises(LabError, match="hf auth login"):
        publish(run, Target(REPO), HfApi(endpoint=hub.endpoint, token=False), as_measured)
