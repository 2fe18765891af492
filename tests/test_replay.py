"""Replay: what pinned features did over training is recorded as it was, costs the run nothing, and never ends it."""

import json

import numpy as np
import pytest
import torch

from lorasae.core.features import text_activity
from lorasae.core.hook_points import HookPoint
from lorasae.errors import LabError
from lorasae.inspection.opened_run import OpenedRun
from lorasae.store.replay import add_frame, forget_frames_after, frames, replay_of
from lorasae.store.run_folder import Run
from lorasae.store.run_records import DEFAULT_TEXT, FeatureRef, Pins, pins_from
from lorasae.store.runs import RunStore
from lorasae.training.recipe import adapt
from lorasae.training.supervision import Nobody
from tests.test_recipe import At, CrashAt, adapter_bytes, lasting
from tests.tiny_world import tiny_run

TEXT = "a kite, a letter and a word."


def pinned(world, *features: tuple[int, int]) -> Pins:
    """Features as (layer of the SAE, index)."""
    return Pins(TEXT, tuple(FeatureRef(str(world / f"sae_{layer}"), "", feature) for layer, feature in features))


@pytest.fixture(scope="module")
def config(world):
    return tiny_run(world, adapter={"placement": "all"})


@pytest.fixture(scope="module")
def recorded(world, config, tmp_path_factory):
    """A finished run with two pins: one of its own SAE, one of an SAE at another layer that is not in the stream."""
    run = RunStore(tmp_path_factory.mktemp("home")).create(config, pins=pinned(world, (1, 0), (1, 21), (2, 5)))
    adapt(run)
    return run


def steps(run: Run) -> list[int]:
    return [frame["step"] for frame in frames(run)]


def test_frames_are_taken_at_the_start_at_every_evaluation_and_at_the_end(recorded):
    assert steps(recorded) == [0, 4, 8, 12]
    shown = replay_of(recorded)
    assert shown["text"] == TEXT and shown["tokens"][0] == "<bos>" and "".join(shown["tokens"][1:]) == TEXT[: len(shown["tokens"]) - 1]
    for frame in shown["frames"]:
        assert len(frame["kl"]) == len(shown["tokens"]) and all(np.isfinite(frame["kl"]))
        assert [(pin["feature"], pin["hook_point"]) for pin in frame["pins"]] == [
            (0, "blocks.1.hook_resid_post"),
            (21, "blocks.1.hook_resid_post"),
            (5, "blocks.2.hook_resid_post"),
        ]
        assert all(len(pin["acts"]) == len(shown["tokens"]) for pin in frame["pins"])
    kl = [sum(frame["kl"]) for frame in shown["frames"]]
    assert kl[-1] < kl[0]


def test_the_last_frame_is_what_the_finished_run_does(recorded, world):
    """Measured by the inspector's own means on the opened run."""
    opened = OpenedRun(recorded)
    ids = torch.tensor([[opened.loaded.tokenizer.bos_token_id, *opened.loaded.tokenizer(TEXT, add_special_tokens=False)["input_ids"]]])[
        :, :16
    ]
    spliced = opened.loaded.saes
    activity = text_activity(opened.model, ids, "adapted_sae", spliced, spliced, opened.loaded.special_tokens)
    last = frames(recorded)[-1]
    assert last["kl"] == pytest.approx(activity.kl.tolist(), abs=2e-5)
    acts = activity.firings[HookPoint(1, "resid_post")].on(np.array([0, 21]))
    for column, pin in enumerate(last["pins"][:2]):
        assert pin["acts"] == pytest.approx(acts[:, column].tolist(), abs=2e-5)


def test_recording_changes_nothing_of_the_run(recorded, config, tmp_path):
    bare = RunStore(tmp_path).create(config)
    adapt(bare)
    assert adapter_bytes(bare) == adapter_bytes(recorded) and lasting(bare) == lasting(recorded)
    assert bare.result["results"] == recorded.result["results"]
    assert replay_of(bare)["text"] == DEFAULT_TEXT and [frame["pins"] for frame in frames(bare)] == [[]] * 4
    assert all(frame["kl"] for frame in frames(bare))


def test_a_pin_that_is_broken_is_told_and_the_others_are_recorded(world, tmp_path):
    pins = Pins(TEXT, (FeatureRef("no-such-release", "x", 1), FeatureRef(str(world / "sae_1"), "", 10**6), *pinned(world, (1, 3)).features))
    run = RunStore(tmp_path).create(tiny_run(world), pins=pins)
    adapt(run)
    assert run.status.state == "succeeded"
    assert [[pin["feature"] for pin in frame["pins"]] for frame in frames(run)] == [[3]] * 4
    log = run.log.read_text()
    assert log.count("pinned of no-such-release / x are not recorded") == 1 and "feature 1000000 is not recorded" in log


@pytest.mark.parametrize("content", ["{", '{"text": 7}', '{"text": "a", "features": [{"release": 1}]}', "\x00"])
def test_damaged_pins_do_not_end_a_run(world, tmp_path, content):
    run = RunStore(tmp_path).create(tiny_run(world, train={"tokens": 2 * 64}, watch={"evaluations": 0}))
    (run.folder / "pins.json").write_text(content)
    adapt(run)
    assert run.status.state == "succeeded" and "replay: nothing recorded at step 0" in run.log.read_text()


def test_pins_that_are_added_meanwhile_are_in_the_next_frame(world, tmp_path):
    run = RunStore(tmp_path).create(tiny_run(world))
    adapt(run, At(5, lambda: run.write_pins(pinned(world, (2, 7)))))
    found = [(frame["step"], frame["text"] == TEXT, len(frame["pins"])) for frame in frames(run)]
    assert found == [(0, False, 0), (4, False, 0), (8, True, 1), (12, True, 1)]
    assert [frame["step"] for frame in replay_of(run)["frames"]] == [8, 12]  # one text at a time


@pytest.mark.parametrize("step", [4, 9])
def test_a_resumed_run_does_not_double_its_frames(recorded, config, world, tmp_path, step):
    run = RunStore(tmp_path).create(config, pins=pinned(world, (1, 0), (1, 21), (2, 5)))
    with pytest.raises(RuntimeError):
        adapt(run, CrashAt(step))
    adapt(run)
    assert frames(run) == frames(recorded)


def test_a_run_that_crashes_after_its_last_frame_has_it_once(recorded, config, world, tmp_path):
    class CrashWhenSaving(Nobody):
        def phase(self, name, message):
            if name == "saving":
                raise RuntimeError("the lights went out")

    run = RunStore(tmp_path).create(config, pins=recorded.pins)
    with pytest.raises(RuntimeError):
        adapt(run, CrashWhenSaving())
    adapt(run)
    assert frames(run) == frames(recorded)


def test_a_run_that_was_stopped_and_went_on_keeps_that_frame(recorded, config, tmp_path):
    run = RunStore(tmp_path).create(config, pins=recorded.pins)
    adapt(run, At(6, lambda: run.wish_stop("keep")))
    assert steps(run) == [0, 4, 6]
    adapt(run)
    assert steps(run) == [0, 4, 6, 8, 12]
    assert [frame for frame in frames(run) if frame["step"] != 6] == frames(recorded)


def test_a_long_text_is_cut_to_what_the_model_reads(world, tmp_path):
    run = RunStore(tmp_path).create(tiny_run(world, train={"tokens": 64}, watch={"evaluations": 0}), pins=Pins("word " * 300))
    adapt(run)
    assert [len(frame["tokens"]) for frame in frames(run)] == [16, 16]


# The file


@pytest.fixture
def run(tmp_path):
    return RunStore(tmp_path).create(tiny_run(tmp_path))


def frame(step: int, text: str = DEFAULT_TEXT) -> dict:
    return {"step": step, "text": text, "tokens": ["a"], "kl": [0.5], "pins": []}


def test_a_frame_replaces_those_of_its_step_and_later(run):
    for step in (0, 4, 8, 4):
        add_frame(run, frame(step))
    assert steps(run) == [0, 4]
    forget_frames_after(run, -1)
    assert steps(run) == [] and replay_of(run) == {"text": DEFAULT_TEXT, "tokens": [], "frames": []}


def test_a_damaged_frame_is_left_out(run):
    add_frame(run, frame(0))
    with run.replay.open("a") as file:
        file.write('[1]\n{"step": 3}\n{"step": 4, "kl": [0.')
    assert steps(run) == [0]
    add_frame(run, frame(5))
    assert steps(run) == [0, 5]


def test_a_run_without_a_replay_has_an_empty_one(run):
    assert replay_of(run)["frames"] == []


@pytest.mark.parametrize(
    "content",
    [
        None,
        [],
        {"text": ""},
        {"text": "x" * 2001},
        {"features": [{"release": "a", "sae_id": "b", "feature": i} for i in range(25)]},
        {"features": [{"release": "a", "sae_id": "b", "feature": -1}]},
        {"features": [{"release": "a", "sae_id": "b", "feature": True}]},
        {"features": [{"release": "a" * 600, "sae_id": "b", "feature": 1}]},
        {"features": ["a"]},
        {"features": "abc"},
    ],
)
def test_pins_of_another_form_are_refused(run, content):
    with pytest.raises(LabError, match="Features to record"):
        pins_from(content)


def test_pins_are_what_was_pinned(run):
    pins = pins_from({"text": "<b>kite</b>", "features": [{"release": "a", "sae_id": "b", "feature": 1}] * 2})
    run.write_pins(pins)
    assert run.pins == pins == Pins("<b>kite</b>", (FeatureRef("a", "b", 1),))
    assert json.loads((run.folder / "pins.json").read_text())["features"] == [{"release": "a", "sae_id": "b", "feature": 1}]
