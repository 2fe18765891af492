"""Inspection over HTTP: who may ask, what is answered, and that whoever leaves gives the process free. The process itself is a stand-in
where only the web floor is meant; one test goes through the true one."""

import json
import shutil
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from lorasae.config import RunConfig
from lorasae.errors import LabError
from lorasae.identity import COOKIE
from lorasae.inspection.inspector import Unavailable
from lorasae.store.run_folder import Run
from tests.tiny_world import tiny_run
from tests.web.conftest import OWNERS, SECRETS, Served, World, make_world, serve

ROUTES = ("saes", "compare?text=a", "feature?feature=1", "activity", "steer?feature=1&prompt=a")


class StandIn:
    """An inspection process that says what it is told to say."""

    def __init__(self, *messages: dict[str, Any], refusal: LabError | None = None) -> None:
        self.messages, self.refusal = messages, refusal
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.cancelled = threading.Event()

    def begin(self, method: str, receive: Any, **asked: Any) -> int:
        if self.refusal is not None:
            raise self.refusal
        self.asked.append((method, asked))
        for message in self.messages:
            receive(message)
        return 7

    def cancel(self, number: int) -> None:
        assert number == 7
        self.cancelled.set()

    def close(self) -> None: ...


def with_stand_in(world: World, *messages: dict[str, Any], refusal: LabError | None = None) -> tuple[World, StandIn]:
    stand_in = StandIn(*messages, refusal=refusal)
    world.lab.inspector.close()
    world.lab.inspector = stand_in  # type: ignore[assignment]
    return World(world.lab), stand_in


def events_of(text: str) -> list[tuple[str, Any]]:
    blocks = [dict(line.split(": ", 1) for line in block.splitlines()) for block in text.strip().split("\n\n") if not block.startswith(":")]
    return [(block["event"], json.loads(block["data"])) for block in blocks]


@pytest.mark.parametrize("route", ROUTES)
def test_a_private_run_is_inspected_by_its_owner_alone(open_to_visitors: World, route: str) -> None:
    world, stand_in = with_stand_in(open_to_visitors, {"result": {"fine": True}})
    private, shared = world.run("A"), world.run("A", shared=True)
    assert world.client("B").get(f"/lab/runs/{private.run_id}/{route}").status_code == 404
    assert world.client("nobody").get(f"/lab/runs/{private.run_id}/{route}").status_code == 404
    assert stand_in.asked == []
    assert world.client("A").get(f"/lab/runs/{private.run_id}/{route}").status_code == 200
    assert world.client("B").get(f"/lab/runs/{shared.run_id}/{route}").status_code == 200
    assert [asked["run"] for _, asked in stand_in.asked] == [str(private.folder), str(shared.folder)]


@pytest.mark.parametrize("route", ["compare?text=a&release=/etc", "feature?feature=1&release=/etc", "activity?release=/etc"])
def test_folders_of_the_machine_may_be_named_by_its_own_user_alone(local: World, open_to_visitors_too: World, route: str) -> None:
    for world, who, folders in ((local, "local", True), (open_to_visitors_too, "A", False)):
        world, stand_in = with_stand_in(world, {"result": {}})
        world.client(who).get(f"/lab/runs/{world.run(who).run_id}/{route}")
        ((_, asked),) = stand_in.asked
        assert asked["folders"] is folders and asked["release"] == "/etc"


@pytest.fixture
def open_to_visitors_too(tmp_path: Any, example: Any) -> Iterator[World]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LORASAE_HOME", str(tmp_path / "other-home"))
        world = make_world(tmp_path / "other-home", "visitors")
    yield world
    world.lab.__exit__(None, None, None)


@pytest.mark.parametrize(
    ("message", "status", "sentence"),
    [
        ({"problem": ["A text was given", "It holds no token", "Give a sentence"]}, 400, "It holds no token. Give a sentence."),
        ({"failed": "ZeroDivisionError: in /home/me/x.py"}, 400, "The lab failed at this"),
        ({"ended": "died"}, 503, "Its process ended in the middle of it"),
        ({"ended": "stuck"}, 503, "It took too long"),
    ],
)
def test_problems_are_sentences(local: World, message: dict[str, Any], status: int, sentence: str) -> None:
    world, _ = with_stand_in(local, message)
    run = world.run()
    answer = world.client().get(f"/lab/runs/{run.run_id}/compare?text=a")
    assert answer.status_code == status and sentence in answer.json()["problem"] and "x.py" not in answer.text
    ((name, told),) = events_of(world.client().get(f"/lab/runs/{run.run_id}/activity").text)
    assert name == "problem" and sentence in told["problem"]


def test_too_busy_is_503_and_nothing_a_stream_hides(local: World) -> None:
    world, _ = with_stand_in(local, refusal=Unavailable("a", "Its hands are full", "Try again"))
    run = world.run()
    assert world.client().get(f"/lab/runs/{run.run_id}/saes").status_code == 503
    ((name, told),) = events_of(world.client().get(f"/lab/runs/{run.run_id}/steer?feature=1").text)
    assert name == "problem" and "hands are full" in told["problem"]


@pytest.mark.parametrize("query", ["feature=x", "", "feature=1&seed=1.5", "feature=1&strength=much", f"feature=1&prompt={'a' * 21_001}"])
def test_a_mistyped_question_is_told_before_the_process_hears_of_it(local: World, query: str) -> None:
    world, stand_in = with_stand_in(local, {"result": {}})
    answer = world.client().get(f"/lab/runs/{world.run().run_id}/steer?{query}")
    assert answer.status_code == 400 and answer.json()["problem"] and stand_in.asked == []


def test_streams_have_the_names_that_the_page_listens_for(local: World) -> None:
    pieces = [{"event": "start", "amount": 2.0}, {"event": "token", "lane": "adapted_plain", "text": "<b>"}]
    world, stand_in = with_stand_in(local, *({"piece": piece} for piece in pieces), {"result": {"ended": 1}})
    run = world.run()
    told = events_of(world.client().get(f"/lab/runs/{run.run_id}/steer?feature=1&prompt=a&with_sae=1&strength=-2").text)
    assert told == [("start", {"amount": 2.0}), ("token", {"lane": "adapted_plain", "text": "<b>"}), ("done", {"ended": 1})]
    assert stand_in.asked[0][1]["with_sae"] is True and stand_in.asked[0][1]["strength"] == -2
    world, _ = with_stand_in(world, {"piece": {"done": 1, "total": 2}}, {"result": {"ready": True}})
    told = events_of(world.client().get(f"/lab/runs/{run.run_id}/activity").text)
    assert told == [("progress", {"done": 1, "total": 2}), ("ready", {"ready": True})]


def test_a_reader_who_leaves_gives_the_stream_up(open_to_visitors: World) -> None:
    world, stand_in = with_stand_in(open_to_visitors, {"piece": {"event": "start"}})
    served = serve(world)
    try:
        address = f"{served.address}/lab/runs/{world.run('A').run_id}/steer?feature=1&prompt=a"
        with httpx.Client(cookies={COOKIE: SECRETS["A"]}) as client, client.stream("GET", address) as answer:
            lines = answer.iter_lines()  # kept: httpx closes the connection with the iterator
            assert next(lines) == "event: start"
            assert not stand_in.cancelled.is_set()
        assert stand_in.cancelled.wait(5)
    finally:
        served.stop()


def test_a_server_that_stops_does_not_wait_for_a_stream(open_to_visitors: World) -> None:
    world, stand_in = with_stand_in(open_to_visitors, {"piece": {"event": "start"}})
    served = serve(world)
    address = f"{served.address}/lab/runs/{world.run('A').run_id}/steer?feature=1&prompt=a"
    with httpx.Client(cookies={COOKIE: SECRETS["A"]}) as client, client.stream("GET", address) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "event: start"
        assert served.stop() < 4 and stand_in.cancelled.wait(2)


# Through the true process


@pytest.fixture
def with_finished_run(open_to_visitors: World, finished: Run) -> tuple[World, Run]:
    run = open_to_visitors.lab.store.create(RunConfig(), OWNERS["A"], "")
    shutil.copytree(finished.folder, run.folder, dirs_exist_ok=True)
    run.write_about(owner=OWNERS["A"])
    return open_to_visitors, run


def test_a_run_is_inspected_from_a_browser(with_finished_run: tuple[World, Run], world: Any) -> None:
    lab, run = with_finished_run
    served: Served = serve(lab)
    try:
        with httpx.Client(base_url=served.address, cookies={COOKIE: SECRETS["A"]}, timeout=120) as client:
            at = f"/lab/runs/{run.run_id}"
            (own,) = client.get(f"{at}/saes").json()["saes"]
            told = client.get(f"{at}/compare", params={"text": "some <b>words."}).json()
            assert told["sae"]["spliced"] and told["run_id"] == run.run_id and told["text"] == "some <b>words."
            refused = client.get(f"{at}/compare", params={"text": "a", "release": str(world / "sae_2")})
            assert refused.status_code == 400 and "SAEs offered" in refused.json()["problem"]
            assert str(run.folder) not in client.get(f"{at}/saes").text.replace(own["release"], "")
            names = [name for name, _ in events_of(client.get(f"{at}/activity").text)]
            assert names[0] == "progress" and names[-1] == "ready"
            started = time.monotonic()
            steered = events_of(client.get(f"{at}/steer", params={"feature": 3, "prompt": "some", "n_tokens": 4, "seed": 1}).text)
            assert steered[0][0] == "start" and steered[-1][0] == "done" and time.monotonic() - started < 60
            assert 4 < len(steered) <= 18
    finally:
        served.stop()


def test_an_unfinished_run_says_what_to_wait_for_and_names_no_folder(open_to_visitors: World) -> None:
    run = open_to_visitors.lab.store.create(tiny_run(open_to_visitors.settings.home), OWNERS["A"], "")
    answer = open_to_visitors.client("A").get(f"/lab/runs/{run.run_id}/compare?text=a")
    assert answer.status_code == 400 and "It is not finished" in answer.json()["problem"] and str(run.folder) not in answer.text
