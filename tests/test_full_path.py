"""From a name typed into the catalogue to an adapter opened elsewhere: four families of models, four layouts of published SAEs, one token.

Everything comes over HTTP from the local Hub, through the lab's own commands and loaders, into homes and caches that were empty. Gemma 2 is
adapted by a worker of the queue and published as the page does it, the others by commands; all are opened, measured and looked into in a
second home. The token that opens the gates on the way is looked for afterwards everywhere it must not be.
"""

import json
import re
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, constants
from huggingface_hub.repocard import metadata_load

from lorasae.config import RunConfig, run_config
from lorasae.errors import LabError
from lorasae.identity import LOCAL_OWNER
from lorasae.inspection.inspector import Inspector
from lorasae.jobs.jobs import open_jobs
from lorasae.planning.errand import Errands
from lorasae.planning.parts_desk import LIMIT_S
from lorasae.planning.to_download import Download, downloads
from lorasae.publishing.desk import PublishingDesk
from lorasae.publishing.publish import TOLERANCE, publish, published
from lorasae.publishing.push import Target
from lorasae.publishing.reopen import reopen
from lorasae.sources.published_models import is_gated
from lorasae.sources.shelf import page
from lorasae.sources.still_to_fetch import still_to_fetch
from lorasae.store.run_folder import Run
from lorasae.store.runs import RunStore
from tests.hub import miniatures
from tests.hub.client import run_client
from tests.hub.faults import answer, cut, drop, lose_answer
from tests.hub.server import LocalHub, local_hub

TEXT = "the owl found a key in spring."
BY_THE_QUEUE = "gemma-2"  # the others by commands
TYPED = {  # what a user pastes or types -> the SAE it stands for
    "gemma-2": "https://huggingface.co/google/gemma-scope-2b-pt-res/tree/main/layer_20/width_16k/average_l0_71",
    "gemma-3": "gemma-3-270m/12-gemmascope-2-res-16k",
    "llama": "llama_scope_lxr_8x / l15r_8x",
    "gpt2": "https://www.neuronpedia.org/gpt2-small/8-res-jb/123",
}
FOUND = {
    "gemma-2": ("google/gemma-2-2b", "gemma-scope-2b-pt-res / layer_20/width_16k/average_l0_71"),
    "gemma-3": ("google/gemma-3-270m", "gemma-scope-2-270m-pt-res / layer_12_width_16k_l0_medium"),
    "llama": ("meta-llama/Llama-3.1-8B", "llama_scope_lxr_8x / l15r_8x"),
    "gpt2": ("openai-community/gpt2", "gpt2-small-res-jb / blocks.8.hook_resid_pre"),
}
FAILURES = {  # what the Hub does -> to which requests of a push
    "500": (answer(500), "/api/repos/create"),
    "401": (answer(401), "/api/models/"),
    "403": (answer(403), "/commit/"),
    "429": (answer(429, retry_after=0), "/commit/"),
    "dropped": (drop(), "/api/repos/create"),
    "lost": (lose_answer(), "/resolve/"),
    "cut": (cut(after=1), "/resolve/"),
}
SESSION = """
import json, sys
from lorasae.cli.main import main
from lorasae.home import home
from lorasae.store.runs import RunStore

def spelled_out(word):
    name = word.removeprefix("run:")
    return word if name == word else next(run.run_id for run in RunStore(home()).all() if run.about.name == name)

for command in json.loads(sys.argv[1]):
    print("#### " + " ".join(command[:2]), flush=True)
    print("exit status", main([spelled_out(word) for word in command]), flush=True)
"""


def chosen(name: str, model: str = "") -> RunConfig:
    """Four steps around the SAE that the search finds, on the model it belongs to."""
    found = page(TYPED[name], {}, 0, 5).cards[0]
    return run_config(
        {
            "name": name,
            "model": {"model": model or found.model, "device": "cpu"},
            "saes": [found.ref.model_dump()],
            "adapter": {"rank": 4, "alpha": 8},
            "data": {"source": miniatures.DATASET, "context_length": 32, "heldout_tokens": 512},
            "train": {"tokens": 4 * 128, "tokens_per_step": 128, "micro_batch_size": 4, "learning_rate": 1e-2},
            "watch": {"evaluations": 1},
        }
    )


@dataclass
class Walk:
    """A Hub, somebody with a token, two homes with a cache each, and all that was seen and said on the way."""

    hub: LocalHub
    root: Path
    token: str
    said: dict[str, str] = field(default_factory=dict)  # a command's first words -> its output
    outputs: list[str] = field(default_factory=list)  # of whole processes, and what exceptions looked like
    to_fetch: dict[str, list[Download]] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)  # of that, afterwards
    checked: dict[str, Any] = field(default_factory=dict)  # what was measured again after publishing
    compared: dict[str, Any] = field(default_factory=dict)

    def environment(self, place: str) -> dict[str, str]:
        """Of an app in one of the two homes: the token is in it."""
        folder = self.root / place
        return self.hub.environment(folder / "cache", self.token) | {"LORASAE_HOME": str(folder / "home"), "TMPDIR": str(self.tmp)}

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    def run(self, place: str, name: str) -> Run:
        return next(run for run in RunStore(self.root / place / "home").all() if run.about.name == name)

    def session(self, place: str, commands: list[list[str]]) -> None:
        """Commands one after the other in one process, which starts with what is in that home."""
        done = run_client(SESSION, json.dumps(commands), environment=self.environment(place))
        self.outputs += [done.stdout, done.stderr]
        self.said |= {part.split("\n")[0]: part for part in done.stdout.split("#### ")[1:]}

    @contextmanager
    def in_app(self, place: str) -> Iterator[None]:
        """This process as the app of a home: its environment, and what the client read at import."""
        cache = self.root / place / "cache"
        cache.mkdir(parents=True)
        (cache / "token").write_text(self.token)  # what `hf auth login` leaves
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv("HF_HUB_OFFLINE")
            for name, value in self.environment(place).items():
                patch.setenv(name, value)
            patch.setattr(constants, "HF_HUB_CACHE", str(cache / "hub"))
            patch.setattr(tempfile, "tempdir", str(self.tmp))
            patch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)  # between the client's own retries
            yield


class Witness(threading.Thread):
    """Reads, as long as it lives, the environment of every child that is not the app itself, and every file in the temporary folder."""

    def __init__(self, tmp: Path, token: str) -> None:
        super().__init__(name="witness", daemon=True)
        self.tmp, self.token = tmp, token.encode()
        self.own = Path("/proc/self/cmdline").read_text().split("\0")
        self.environments: dict[str, bytes] = {}  # module -> of its last process
        self.n_files, self.leaks, self.done = 0, [], threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.02):
            with suppress(OSError):  # what has just ended, or was just removed
                self._look()

    def _look(self) -> None:
        for pid in " ".join(path.read_text() for path in Path("/proc/self/task").glob("*/children")).split():
            words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            if "-m" in words and words != self.own:  # one of ours that is not yet what it is to become
                self.environments[words[words.index("-m") + 1]] = Path(f"/proc/{pid}/environ").read_bytes()
        for path in self.tmp.rglob("*"):
            if path.is_file():
                self.n_files += 1
                if self.token in path.read_bytes():
                    self.leaks.append(path)


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Walk, Witness]]:
    root = tmp_path_factory.mktemp("walk")
    (root / "tmp").mkdir()
    with local_hub(root / "hub") as hub:
        miniatures.publish(hub, accepted=("alice",))
        walk = Walk(hub, root, hub.accounts.token("alice"))
        witness = Witness(walk.tmp, walk.token)
        witness.start()
        with walk.in_app("one"):
            adapt_and_publish(walk)
            publish_in_vain(walk)
            walk.left = [each for name in TYPED for each in still_to_fetch(chosen(name))]
        with walk.in_app("two"):
            open_elsewhere(walk)
        witness.done.set()
        witness.join()
        yield walk, witness


@pytest.fixture
def walk(walked: tuple[Walk, Witness]) -> Walk:
    return walked[0]


def adapt_and_publish(walk: Walk) -> None:
    """Gemma 2 by the queue and the page's own desk; the others by commands meanwhile, and one that must fail."""
    walk.to_fetch = {name: downloads(chosen(name)) for name in TYPED}
    jobs = open_jobs(RunStore(walk.root / "one" / "home"))
    jobs.start()
    try:
        run = jobs.submit(LOCAL_OWNER, chosen(BY_THE_QUEUE), "once")
        commands = []
        for name in (*TYPED, "in vain"):
            path = walk.root / f"{name}.json"
            path.write_text((chosen(name) if name in TYPED else chosen("gpt2", "alice/nothing")).model_dump_json())
            commands += [["adapt", str(path)], ["push", f"run:{name}", f"alice/{name}"]] if name in TYPED else [["adapt", str(path)]]
        walk.session("one", [command for command in commands if BY_THE_QUEUE not in command[1]])
        until(lambda: run.told.state not in ("queued", "running"), 60)
    finally:
        jobs.close()
        jobs.index.close()
    assert run.told.state == "succeeded", run.log.read_text()
    desk = PublishingDesk()
    desk.begin(run, Target(f"alice/{BY_THE_QUEUE}"), walk.hub.api(walk.token))
    until(lambda: (desk.latest(run) or walk).state != "under way", 60)  # type: ignore[union-attr]
    assert desk.latest(run).state == "done", desk.latest(run)  # type: ignore[union-attr]
    walk.checked = {name: (published(walk.run("one", name)) or {})["checked"]["metrics"] for name in TYPED}


def publish_in_vain(walk: Walk) -> None:
    """Every kind of failure; what is said of each is kept, with its traceback."""
    api, run = walk.hub.api(walk.token), walk.run("one", "gpt2")
    for name, (fault, path) in FAILURES.items():
        walk.hub.faults.inject(fault, path=path, times=None)
        in_vain(walk, run, f"alice/at-{name}", api)
        walk.hub.faults.clear()
    in_vain(walk, run, "somebody/else", api)
    in_vain(walk, run, "alice/unknown-token", walk.hub.api(walk.token + "x"))


def in_vain(walk: Walk, run: Run, repo_id: str, api: HfApi) -> None:
    with pytest.raises(LabError) as caught:
        publish(run, Target(repo_id), api, lambda *_: {"n_sequences": 8, "n_tokens": 1, "metrics": {}})
    walk.outputs.append("".join(traceback.format_exception(caught.value)))


def open_elsewhere(walk: Walk) -> None:
    """In the second home: one as a page does it (opened, its model fetched, looked into without a network); then all by commands."""
    commands = []
    reopened = reopen(RunStore(walk.root / "two" / "home"), f"alice/{BY_THE_QUEUE}", walk.hub.api(walk.token))
    parts = {"run": str(reopened.folder)}
    Errands().run("lorasae.planning.run_parts", parts, "A run's parts were asked for", LIMIT_S, online=True, token=None)
    inspector = Inspector(walk.root / "two" / "home")
    try:
        walk.compared = inspector.ask("compare", run=str(reopened.folder), text=TEXT, release="", sae_id="", folders=True)
    finally:
        inspector.close()
    for name in TYPED:
        commands += [["open", f"alice/{name}"], ["inspect", f"run:alice/{name}", "--text", TEXT], ["eval", f"run:alice/{name}"]]
    walk.session("two", commands)


def until(done: Any, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize("name", TYPED)
def test_what_is_typed_finds_the_sae_and_what_the_hub_has_to_send_once(walk: Walk, name: str) -> None:
    found = page(TYPED[name], {}, 0, 5)
    assert found.by_name and (found.cards[0].model, str(found.cards[0].ref)) == FOUND[name]
    assert is_gated(found.cards[0].model or "") == (name != "gpt2")
    model, sae = walk.to_fetch[name]
    assert walk.left == [] and not model.here and not sae.here and (model.n_bytes or 0) > 100e6 and (sae.n_bytes or 0) > 10e6


@pytest.mark.parametrize("name", TYPED)
def test_it_is_adapted_published_measured_again_and_opened_elsewhere_with_the_numbers_of_its_card(walk: Walk, name: str) -> None:
    run, opened = walk.run("one", name), walk.run("two", f"alice/{name}")
    assert run.result["model_revision"] and run.result["saes"][0]["revision"]
    assert len(walk.checked[name]) == 4
    assert all(abs(pair["stated"] - pair["measured"]) <= TOLERANCE for pair in walk.checked[name].values())
    card = walk.root / f"{name}.md"
    card.write_bytes(walk.hub.repo(f"alice/{name}").content("main", "README.md") or b"")
    data: dict[str, Any] = metadata_load(card) or {}
    assert "## Measured again after publishing" in card.read_text() and data["base_model"] == FOUND[name][0]
    on_card = {metric["type"]: metric["value"] for metric in data["model-index"][0]["results"][0]["metrics"]}
    said = walk.said[f"eval run:alice/{name}"]
    for key, label in (("ce_original", "original"), ("ce_original_sae", "original + SAE"), ("ce_adapted_sae", "adapted + SAE")):
        measured = re.search(rf"^{re.escape(label)} +([\d.]+) ±", said, re.MULTILINE)
        assert measured and float(measured[1]) == pytest.approx(opened.result["results"][key]["value"], abs=1e-4)
        assert on_card.get(key, opened.result["results"][key]["value"]) == run.result["results"][key]["value"]


@pytest.mark.parametrize("name", TYPED)
def test_the_opened_adapter_can_be_looked_into(walk: Walk, name: str) -> None:
    said = walk.said[f"inspect run:alice/{name}"]
    assert "exit status 0" in said and "feature" in said


def test_the_inspection_process_answers_about_it_without_a_network(walk: Walk) -> None:
    assert len(walk.compared["tokens"]) > 10 and walk.compared["features"]


def test_a_failure_on_the_way_is_told(walk: Walk) -> None:
    (failed,) = [said for said in walk.said.values() if "exit status 1" in said]
    assert failed.startswith("adapt ") and "in vain" in failed
    assert len([each for each in walk.outputs if "LabError" in each]) == len(FAILURES) + 2


def test_the_token_is_found_nowhere_but_where_its_owner_put_it(walked: tuple[Walk, Witness]) -> None:
    walk, witness = walked
    files = [path for path in walk.root.rglob("*") if path.is_file()]
    kept = {path.relative_to(walk.root).as_posix() for path in files if walk.token.encode() in path.read_bytes()}
    assert kept == {"one/cache/token", "two/cache/token"}  # the login, as the Hub's own client keeps it
    assert any(path.name == "index.sqlite3" for path in files) and any(path.suffix == ".log" for path in files) and not witness.leaks
    modules = {"training.recipe", "publishing.check", "inspection.service", "planning.run_parts"}
    assert set(witness.environments) == {f"lorasae.{module}" for module in modules}
    assert not [module for module, environment in witness.environments.items() if walk.token.encode() in environment]
    assert not [each for each in walk.outputs if walk.token in each] and walk.token not in json.dumps(walk.compared)
    assert not [asking.url for asking in walk.hub.log if walk.token in asking.url] and any(asking.authorized for asking in walk.hub.log)
    hosts = {asking.host for asking in walk.hub.log if asking.authorized}
    assert hosts == {walk.hub.endpoint.removeprefix("http://")}  # and not the storage's
    print(f"\n{len(files)} files, {witness.n_files} looks into temporary ones, {len(walk.hub.log)} requests, {len(walk.outputs)} outputs")
