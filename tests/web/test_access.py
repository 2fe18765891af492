"""Who may do what: every route about a run, asked by everybody, about every kind of run. No route that does not ask is added unseen."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from lorasae.jobs.jobs import JobView
from lorasae.store.run_folder import Run
from lorasae.web.access import acted_on, looked_at, owner
from tests.web.conftest import World

OPEN_TO_ALL = {  # about no run, and the same for everybody
    "/healthz",
    "/readyz",
    "/lab/metrics",
    "/lab/notices",
    "/lab/assets/vendor/plotly-basic.min.js",
    "/lab/assets/{address:path}",
    "/lab/catalog",
    "/lab/catalog/saes",
    "/lab/catalog/search",
    "/auth/sign-in",
    "/auth/callback",
    "/auth/sign-out",
}
BODIES: dict[str, dict[str, Any]] = {
    "rename": {"name": "a name"},
    "share": {"shared": True},
    "delete": {"with_files": False},
    "pins": {"text": "a text", "features": []},
    "publishing": {"repo_id": "me/adapter", "private": True},
    "preview": {"repo_id": "me/adapter"},
}
HOSTILE = [
    "..",
    "%2e%2e",
    "..%2f..%2fetc",
    "a" * 4000,
    "20260101-000000-aaaaaa%00",
    "20260101-000000-aaaaaa%0a",
    "＃",
    "%",
    "example%2f..",
    "C:",
    "\\\\host",
]


@dataclass
class Recorder:
    """Jobs that only note what they are asked to do."""

    asked: list[tuple[str, tuple[Any, ...]]]

    def view(self, run_id: str) -> JobView:
        return JobView("running", None, "training", 1, 2, None, "", 1, "")

    def resume_blocked(self, run: Run) -> str | None:
        return None

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: self.asked.append((name, arguments))


class Silent:
    """An inspector that answers at once."""

    def begin(self, method: str, receive: Callable[[dict[str, Any]], None], **asked: Any) -> int:
        receive({"result": {}})
        return 1

    def cancel(self, number: int) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def world(open_to_visitors: World) -> Iterator[World]:
    jobs, inspector = open_to_visitors.lab.jobs, open_to_visitors.lab.inspector
    open_to_visitors.lab.jobs = Recorder([])  # type: ignore[assignment]
    open_to_visitors.lab.inspector = Silent()
    yield World(open_to_visitors.lab)
    open_to_visitors.lab.jobs, open_to_visitors.lab.inspector = jobs, inspector


def routes(world: World) -> list[APIRoute]:
    return [route for route in world.web.app.routes if isinstance(route, APIRoute)]


def about_a_run(world: World) -> list[tuple[str, str]]:
    """Method and address of every route about a run that ends by itself."""
    addresses = [(method, route.path) for route in routes(world) for method in sorted(route.methods) if "{run_id}" in route.path]
    return [(method, path.replace("{name}", "metrics.csv")) for method, path in addresses if not path.endswith("/live")]


def asks(dependant: Dependant, what: Callable[..., Any]) -> bool:
    return dependant.call is what or any(asks(inner, what) for inner in dependant.dependencies)


def test_every_route_about_a_run_asks_who_may(world: World) -> None:
    found = [route for route in routes(world) if route.path.startswith("/lab/runs/")]
    assert len(found) >= 15
    for route in found:
        assert "{run_id}" in route.path, route.path
        needed = acted_on if route.methods - {"GET", "HEAD"} else looked_at
        assert asks(route.dependant, needed), f"{route.methods} {route.path} does not depend on {needed.__name__}"


def test_every_other_route_knows_the_visitor_or_is_open_to_all(world: World) -> None:
    for route in routes(world):
        if not route.path.startswith("/lab/runs/") and route.path not in OPEN_TO_ALL:
            assert asks(route.dependant, owner), f"{route.path} is neither in OPEN_TO_ALL nor does it ask who is there"


def test_no_route_hides_in_something_mounted(world: World) -> None:
    assert all(isinstance(route, APIRoute) for route in world.web.app.routes)


def welcome(method: str, path: str) -> int:
    """What an owner is answered about a run that has no result yet: publishing is allowed, and there is nothing to publish."""
    return 409 if method == "POST" and "/publishing" in path else 200


def ask(world: World, who: str, method: str, path: str, run_id: str) -> int:
    query = "?feature=0" if path.endswith(("/feature", "/steer")) else ""
    body = BODIES.get(path.rsplit("/", 1)[-1], {}) if method == "POST" else None
    answer = world.client(who).request(method, path.replace("{run_id}", run_id) + query, json=body)
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert list(answer.json()) == ["problem"]
    return answer.status_code


@pytest.mark.parametrize("who", ["nobody", "A", "B"])
def test_looking_and_acting_are_allowed_as_said(world: World, who: str) -> None:
    private, shared = world.run("A"), world.run("A", shared=True)
    for method, path in about_a_run(world):
        is_reading = method == "GET"
        assert ask(world, who, method, path, private.run_id) == (welcome(method, path) if who == "A" else 404), (method, path)
        assert ask(world, who, method, path, shared.run_id) == (
            welcome(method, path) if who == "A" or is_reading else 401 if who == "nobody" else 403
        ), (method, path)
        assert ask(world, who, method, path, "example") == (200 if is_reading else 403), (method, path)
        assert ask(world, who, method, path, "20260101-000000-0123456789abcdef") == 404, (method, path)
    if who != "A":
        assert world.lab.jobs.asked == []  # type: ignore[attr-defined]


def test_locally_the_machines_own_runs_are_open_and_those_of_visitors_are_not(local: World) -> None:
    jobs, inspector = local.lab.jobs, local.lab.inspector
    local.lab.jobs, local.lab.inspector = Recorder([]), Silent()  # type: ignore[assignment]
    world = World(local.lab)
    own, theirs, shared = world.run("local"), world.run("A"), world.run("A", shared=True)
    for method, path in about_a_run(world):
        assert ask(world, "local", method, path, own.run_id) == welcome(method, path)
        assert ask(world, "local", method, path, theirs.run_id) == 404
        assert ask(world, "local", method, path, shared.run_id) == (200 if method == "GET" else 403)
        assert ask(world, "local", method, path, "example") == (200 if method == "GET" else 403)
    local.lab.jobs, local.lab.inspector = jobs, inspector


@pytest.mark.parametrize("run_id", HOSTILE)
def test_what_is_no_id_is_nothing(world: World, run_id: str) -> None:
    (world.lab.store.home / "canary").mkdir()
    for method, path in about_a_run(world):
        answer = world.client("A").request(method, path.replace("{run_id}", run_id), json=BODIES.get(path.rsplit("/", 1)[-1], {}))
        assert answer.status_code in (404, 405), (path, answer.text)
    assert world.lab.jobs.asked == []  # type: ignore[attr-defined]


def test_an_answer_says_nothing_about_whether_a_private_run_exists(world: World) -> None:
    private = world.run("A", name="secret plans")
    there = world.client("B").get(f"/lab/runs/{private.run_id}")
    absent = world.client("B").get("/lab/runs/20260101-000000-0123456789abcdef")
    assert there.json() == absent.json() and there.status_code == absent.status_code == 404


def test_a_list_holds_ones_own_runs_and_the_example(open_to_visitors: World) -> None:
    world = open_to_visitors
    own = [world.run("A").run_id, world.run("A", shared=True).run_id]
    world.run("B", shared=True)
    listed = world.client("A").get("/lab/runs").json()
    assert sorted(card["run_id"] for card in listed["runs"]) == sorted(own)
    assert listed["example"]["is_example"] and not listed["example"]["may_act"]
    assert world.client("nobody").get("/lab/runs").json()["runs"] == []
