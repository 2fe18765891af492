"""A run over HTTP: its summary, its charts, its log, what is posted to it, and how problems are told."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lorasae.metrics import METRICS
from lorasae.store.run_records import Status
from lorasae.web import cards, run_routes
from lorasae.web.problems import FAILED
from lorasae.web.summaries import card
from tests.web.conftest import OWNERS, World, write_rows

PINNED = {"release": "pocket-scope", "sae_id": "layer_2/width_2k/average_l0_17", "feature": 7}


def summary(world: World, run_id: str) -> dict[str, Any]:
    answer = world.client().get(f"/lab/runs/{run_id}")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_finished_run_is_summed_up(local: World) -> None:
    run = local.run(name="the first")
    local.finish(run)
    told = summary(local, run.run_id)
    assert (told["name"], told["title"], told["state"], told["step"], told["n_steps"]) == ("the first", "the first", "succeeded", 144, 144)
    assert told["is_yours"] and told["may_act"] and not told["shared"] and not told["is_example"]
    assert told["headline"] == {"gap_closed": {"value": 0.55, "standard_error": 0.01}, "ce_gap_before": 0.16, "ce_gap_after": 0.07}
    assert told["results"]["gap_closed"]["value"] == 0.55 and told["heldout"] == {"n_sequences": 192, "n_tokens": 24153}
    assert told["computed"] == {"way": "Trained by the fast step; 8 sequences at once", "seconds": {"training": 12.5}}
    (sae,) = told["saes"]
    assert (sae["layer"], sae["d_sae"], sae["l0"], sae["hook_point"], sae["neuronpedia"]) == (
        2,
        2048,
        17.0,
        "blocks.2.hook_resid_post",
        None,
    )
    assert told["config"]["train"]["tokens"] == 147456 and told["tokens_per_step"] == 1024
    assert "torch" in told["versions"] and set(told["pins"]) == {"text", "features"}


def test_a_run_under_way_shows_the_numbers_of_its_latest_evaluation(local: World) -> None:
    run = local.run()
    run.append_metrics({"step": 29, "gap_closed": 0.3, "ce_gap_after": 0.1})
    run.append_metrics({"step": 58, "gap_closed": 0.4, "ce_gap_after": 0.09})
    told = summary(local, run.run_id)
    assert told["headline"] == {"gap_closed": {"value": 0.4, "standard_error": None}, "ce_gap_before": None, "ce_gap_after": 0.09}
    assert told["results"] is None and told["heldout"] is None
    (sae,) = told["saes"]
    assert (sae["sae_id"], sae["layer"]) == ("layer_2/width_2k/average_l0_17", 2), "what an empty id means is filled in"
    assert "layer_2" in told["title"]


def test_a_card_has_the_curve_and_not_the_settings_in_full(local: World) -> None:
    run = local.run(n_rows=300)
    (card,) = local.client().get("/lab/runs").json()["runs"]
    assert card["run_id"] == run.run_id and len(card["spark"]) == 40
    assert "SAE at layer 2 · rank 16 on layers after the SAE" in card["settings"]
    assert not {"config", "results", "versions"} & set(card)
    write_rows(run, 300, 301)
    (card,) = local.client().get("/lab/runs").json()["runs"]
    assert card["spark"][-1] == 1 / 301


def test_a_damaged_run_does_not_keep_the_others_from_being_listed(local: World) -> None:
    good, bad = local.run(), local.run()
    (bad.folder / "config.json").write_text("{")
    assert [card["run_id"] for card in local.client().get("/lab/runs").json()["runs"]] == [good.run_id]
    answer = local.client().get(f"/lab/runs/{bad.run_id}")
    assert answer.status_code in (400, 404) and "problem" in answer.json()


def test_a_long_list_of_ended_runs_is_made_of_what_is_remembered(local: World, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = [local.run(n_rows=1) for _ in range(3)]
    for run in runs:
        run.write_status(Status("interrupted", "done", 1, 144))
    looked_into: list[str] = []
    monkeypatch.setattr(cards, "card", lambda lab, run, *rest: looked_into.append(run.run_id) or card(lab, run, *rest))
    client = local.client()
    first, again = client.get("/lab/runs").json(), client.get("/lab/runs").json()
    assert first == again and sorted(looked_into) == sorted([*(run.run_id for run in runs), "example"])
    local.lab.jobs.rename(runs[0].run_id, "another name")
    write_rows(runs[1], 1, 2)
    third = {each["run_id"]: each for each in client.get("/lab/runs").json()["runs"]}
    assert third[runs[0].run_id]["name"] == "another name" and len(third[runs[1].run_id]["spark"]) == 2


def test_what_is_remembered_for_one_visitor_is_not_told_to_another(open_to_visitors: World) -> None:
    run = open_to_visitors.run("A")
    run.write_status(Status("interrupted", "done", 1, 144))
    assert open_to_visitors.client("A").get("/lab/runs").json()["runs"][0]["is_yours"]
    run.write_about(owner=OWNERS["B"])
    open_to_visitors.lab.index.describe(run.run_id, run.about)
    assert open_to_visitors.client("A").get("/lab/runs").json()["runs"] == []
    assert open_to_visitors.client("B").get("/lab/runs").json()["runs"][0]["may_act"]


def test_the_table_of_metrics_is_the_one_of_the_package(local: World) -> None:
    told = local.client().get("/lab/metrics").json()["metrics"]
    assert list(told) == list(METRICS)
    assert set(told["gap_closed"]) >= {"label", "unit", "better", "formula"}


def test_a_window_of_a_series(local: World) -> None:
    run = local.run(n_rows=2000)
    client = local.client()
    whole = client.get(f"/lab/runs/{run.run_id}/series").json()["series"]["kl_train"]
    part = client.get(f"/lab/runs/{run.run_id}/series?from=100&to=110&points=100").json()["series"]["kl_train"]
    assert len(whole[0]) <= 1500 and part[0] == list(range(100, 111))
    for query in ("from=nan", "to=inf", "points=3", "points=9999999", "from=x"):
        assert client.get(f"/lab/runs/{run.run_id}/series?{query}").status_code == 400


def test_the_end_of_the_log_begins_with_a_whole_line_and_holds_no_secret(local: World) -> None:
    run = local.run()
    assert local.client().get(f"/lab/runs/{run.run_id}/log").json() == {"text": "", "truncated": False}
    run.log.write_bytes(
        "".join(f"line {n} – hf_abcdefghijklmnop Authorization: Bearer abcdefghijkl\n" for n in range(1000)).encode() + b"\xff\xfe end\n"
    )
    told = local.client().get(f"/lab/runs/{run.run_id}/log?tail=2000").json()
    assert told["truncated"] and told["text"].startswith("line ") and told["text"].endswith(" end\n")
    assert "abcdefghijkl" not in told["text"]
    assert local.client().get(f"/lab/runs/{run.run_id}/log?tail=100000000").status_code == 400


def test_a_replay_holds_its_frames(local: World) -> None:
    run = local.run()
    assert local.client().get(f"/lab/runs/{run.run_id}/replay").json()["frames"] == []
    frames = [{"step": step, "tokens": ["Anna", " saw"], "kl": [None, 0.5], "pins": [{**PINNED, "acts": [0.0, 1.0]}]} for step in (0, 29)]
    run.replay.write_text("".join(json.dumps(frame) + "\n" for frame in frames) + '{"torn')
    told = local.client().get(f"/lab/runs/{run.run_id}/replay").json()
    assert told["tokens"] == ["Anna", " saw"] and [frame["step"] for frame in told["frames"]] == [0, 29]


# What is posted


def test_a_run_is_renamed_shared_pinned_and_taken_off_the_list(local: World) -> None:
    run, client = local.run(), local.client()
    address = f"/lab/runs/{run.run_id}"
    assert client.post(f"{address}/rename", json={"name": "  <b>new</b>  name "}).json()["name"] == "<b>new</b> name"
    assert client.post(f"{address}/share", json={"shared": True}).json()["shared"] is True
    assert client.post(f"{address}/pins", json={"text": "Anna saw", "features": [PINNED]}).json()["pins"]["features"] == [PINNED]
    told = summary(local, run.run_id)
    assert (told["name"], told["shared"], told["pins"]["text"]) == ("<b>new</b> name", True, "Anna saw")
    assert client.post(f"{address}/delete", json={"with_files": False}).json()["ok"]
    assert client.get("/lab/runs").json()["runs"] == [] and run.folder.exists()
    assert client.post(f"{address}/delete", json={"with_files": True}).json()["ok"]
    assert not run.folder.exists() and client.get(address).status_code == 404


def test_what_cannot_be_done_now_is_a_conflict_told_in_a_sentence(local: World) -> None:
    run = local.run()
    local.finish(run)
    answer = local.client().post(f"/lab/runs/{run.run_id}/resume")
    assert answer.status_code == 409 and "finished" in answer.json()["problem"]
    answer = local.client().post(f"/lab/runs/{run.run_id}/stop")
    assert answer.status_code == 409


WRONG = [
    ("rename", {}),
    ("rename", {"name": 7}),
    ("rename", {"name": "x" * 201}),
    ("rename", {"name": "x", "owner": "local"}),
    ("share", {"shared": "yes"}),
    ("share", {"shared": 1}),
    ("share", {"shared": None}),
    ("delete", {"with_files": "true"}),
    ("delete", {}),
    ("delete", []),
    ("pins", {"text": "", "features": []}),
    ("pins", {"text": "x" * 2001, "features": []}),
    ("pins", {"text": "x", "features": [PINNED] * 25}),
    ("pins", {"text": "x", "features": [{**PINNED, "feature": -1}]}),
    ("pins", {"text": "x", "features": [{**PINNED, "feature": True}]}),
    ("pins", {"text": "x", "features": [{**PINNED, "release": "x" * 301}]}),
    ("pins", {"text": "x", "features": [{**PINNED, "feature": 1.5}]}),
    ("pins", {"text": "x", "features": "all"}),
    ("pins", "text"),
    ("share", None),
]


@pytest.mark.parametrize(("what", "body"), WRONG, ids=str)
def test_a_body_of_another_form_is_refused_and_changes_nothing(local: World, what: str, body: Any) -> None:
    run = local.run(name="as it was")
    before = {path.name: path.read_bytes() for path in run.folder.iterdir() if path.is_file()}
    answer = local.client().post(f"/lab/runs/{run.run_id}/{what}", json=body)
    assert answer.status_code == 400 and answer.json()["problem"]
    assert {path.name: path.read_bytes() for path in run.folder.iterdir() if path.is_file()} == before


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b'{"name": "\\ud800"}', b"[" * 100_000, b'{"name": NaN}'])
def test_what_is_no_json_is_a_mistake_and_no_failure(local: World, content: bytes) -> None:
    run = local.run()
    answer = local.client().post(f"/lab/runs/{run.run_id}/rename", content=content, headers={"content-type": "application/json"})
    assert answer.status_code == 400 and answer.json()["problem"]


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20)
json_values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3))


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    what=st.sampled_from(["rename", "share", "pins", "delete"]),
    body=json_values | st.fixed_dictionaries({"name": json_values}) | st.fixed_dictionaries({"text": json_values, "features": json_values}),
)
def test_no_body_makes_the_lab_fail(local: World, what: str, body: Any) -> None:
    run = next(iter(local.lab.store.all()), None) or local.run()
    answer = local.client().post(f"/lab/runs/{run.run_id}/{what}", content=json.dumps(body), headers={"content-type": "application/json"})
    assert answer.status_code in (200, 400, 404, 409), answer.text


# Problems


def test_a_failure_of_ours_is_told_without_detail(local: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise RuntimeError("hf_secretsecretsecret in /home/someone/.cache")

    monkeypatch.setattr(run_routes, "summary", fails)
    answer = local.client().get(f"/lab/runs/{local.run().run_id}")
    assert answer.status_code == 500 and answer.json() == {"problem": FAILED}


def test_strangers_do_not_read_the_paths_of_the_machine(open_to_visitors: World) -> None:
    run = open_to_visitors.run("A", shared=True)
    (run.folder / "lorasae.json").write_text("[]")
    answer = open_to_visitors.client("B").get(f"/lab/runs/{run.run_id}")
    assert answer.status_code == 400 and "damaged" in answer.json()["problem"]
    assert str(open_to_visitors.settings.home) not in answer.text


@pytest.mark.parametrize("path", ["/lab/nothing", "/lab/runs/x/y/z", "/lab/assets/nothing.js"])
def test_an_unknown_address_is_told_in_a_sentence(local: World, path: str) -> None:
    answer = local.client().get(path)
    assert answer.status_code == 404 and answer.json()["problem"].endswith(".")


def test_hostile_text_comes_back_as_it_was(local: World) -> None:
    run = local.run()
    name = "<img src=x onerror=alert(1)> ${7*7} \u202e {{x}} 😀"
    local.client().post(f"/lab/runs/{run.run_id}/rename", json={"name": name})
    answer = local.client().get(f"/lab/runs/{run.run_id}")
    assert answer.json()["name"] == name and answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"


def test_a_lone_surrogate_in_a_run_folder_does_not_break_its_page(local: World) -> None:
    run = local.run()
    run.replay.write_text('{"step": 0, "tokens": ["\\ud800"], "kl": [NaN], "pins": []}\n')
    told = local.client().get(f"/lab/runs/{run.run_id}/replay")
    assert told.status_code == 200 and told.json()["frames"][0]["kl"] == [None]
