"""The one button of the first page: however it is pressed, a visitor has one first repair under way."""

from lorasae.demo.first_repair import NAME, PINS, TEXT, first_repair
from tests.web.conftest import OWNERS, World

TOKEN = "0123456789abcdef0123456789abcdef"


def test_it_starts_the_default_adaptation_with_features_to_replay(local: World) -> None:
    answer = local.client().post("/lab/start-pocket", json={"submission": TOKEN}).json()
    run = local.lab.store.open_id(answer["run_id"])
    assert answer["started"] and run.about.name == NAME and run.pins == PINS and run.pins.text == TEXT
    assert run.config.train == first_repair("other name").train == type(run.config)().train  # the default training, to the letter
    assert run.config.adapter == type(run.config)().adapter and run.config.saes == type(run.config)().saes


def test_a_double_click_and_a_second_window_start_one_run(local: World) -> None:
    clicks = [local.client().post("/lab/start-pocket", json={"submission": token}).json() for token in (TOKEN, TOKEN, TOKEN[::-1])]
    assert len({click["run_id"] for click in clicks}) == 1 and [click["started"] for click in clicks] == [True, False, False]
    assert len(local.lab.store.all()) == 1


def test_one_that_has_ended_does_not_stand_in_the_way_of_another(local: World) -> None:
    first = local.client().post("/lab/start-pocket", json={"submission": TOKEN}).json()
    local.lab.jobs.discard(first["run_id"])
    second = local.client().post("/lab/start-pocket", json={"submission": TOKEN[::-1]}).json()
    assert second["started"] and second["run_id"] != first["run_id"]


def test_each_visitor_has_a_first_repair_of_their_own(open_to_visitors: World) -> None:
    started = {who: open_to_visitors.client(who).post("/lab/start-pocket", json={"submission": TOKEN}).json()["run_id"] for who in "AB"}
    owners = {who: open_to_visitors.lab.store.open_id(run_id).about.owner for who, run_id in started.items()}
    assert owners == {who: OWNERS[who] for who in "AB"}


def test_a_visitor_without_a_cookie_is_told_so(open_to_visitors: World) -> None:
    answer = open_to_visitors.client("nobody").post("/lab/start-pocket", json={"submission": TOKEN})
    assert answer.status_code >= 400 and "cookie" in answer.json()["problem"]
    assert open_to_visitors.lab.store.all() == []


def test_what_is_no_token_is_refused(local: World) -> None:
    for body in ({}, {"submission": ""}, {"submission": "../../etc/passwd-and-more"}, {"submission": TOKEN, "owner": "somebody"}):
        assert local.client().post("/lab/start-pocket", json=body).status_code == 400
    assert local.lab.store.all() == []
