"""The inspection process: asked from the app, killed in the middle, idle, stuck, too busy, and orphaned. Its answers are the maths' own."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from lorasae.errors import LabError
from lorasae.inspection.inspector import Inspector, Limits, Unavailable

ROOT = Path(__file__).parents[1]
TEXT = "some words, here."


@pytest.fixture(scope="module")
def inspector(tmp_path_factory):
    one = Inspector(tmp_path_factory.mktemp("home"))
    yield one
    one.close()


@pytest.fixture(scope="module")
def upper(world, finished):
    return {"run": str(finished.folder), "release": str(world / "sae_2"), "sae_id": "", "folders": True}


def steering(asked, **changes):
    return {
        **asked,
        "prompt": "some",
        "feature": 3,
        "strength": 2.0,
        "n_tokens": 5,
        "temperature": 0.7,
        "seed": 1,
        "with_sae": False,
    } | changes


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def gone(pid, within_s=5.0):
    deadline = time.monotonic() + within_s
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not alive(pid)


def test_the_client_costs_no_torch():
    heavy = "{'torch', 'transformers', 'peft', 'sae_lens'}"
    code = f"import sys, lorasae.inspection.inspector, lorasae.web.inspect_routes; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_a_text_is_compared_and_the_answer_is_json(inspector, upper, finished):
    told = inspector.ask("compare", text=TEXT, **upper)
    assert told["run_id"] == finished.run_id and told["text"] == TEXT
    assert told["sae"]["hook_point"] == "blocks.2.hook_resid_post" and told["sae"]["can_change"] and not told["sae"]["spliced"]
    assert "".join(token["text"] for token in told["tokens"][1:]) == TEXT
    assert told["means"]["kl_after"] < told["means"]["kl_before"]
    assert told["heldout_ce_original"] == pytest.approx(finished.result["results"]["ce_original"]["value"], rel=1e-4)
    assert told["features"][0]["change"] > 0 and len(told["features"][0]["before"]) == len(told["tokens"])
    json.dumps(told, allow_nan=False)


def test_the_pass_is_told_as_it_goes_and_then_features_know_their_fate(inspector, upper):
    before = inspector.ask("feature", feature=3, text=TEXT, **upper)
    assert before["activity"] == {"ready": False, "progress": 0.0} and before["density"] is None and before["logits"]["up"]
    told = list(inspector.stream("activity", **upper))
    assert told[-1] == {"done": 512, "total": 512} and inspector.ask("activity", **upper) == {"ready": True}
    features = inspector.ask("compare", text=TEXT, **upper)["features"]
    assert {row["status"] for row in features} & {"kept", "shifted"}
    details = inspector.ask("feature", feature=features[0]["feature"], text=TEXT, **upper)
    assert details["activity"]["ready"] and details["status"] == features[0]["status"] and details["before"] == features[0]["before"]
    json.dumps(details, allow_nan=False)


def test_steering_streams_four_texts(inspector, upper):
    told = list(inspector.stream("steer", **steering(upper)))
    assert told[0]["event"] == "start" and told[0]["amount"] == pytest.approx(2 * told[0]["typical_maximum"])
    lanes = {name: [piece for piece in told[1:] if piece["lane"] == name] for name in told[0]["lanes"]}
    assert len(lanes) == 4 and all(1 <= len(pieces) <= 5 for pieces in lanes.values())
    assert list(inspector.stream("steer", **steering(upper))) == told  # the same link gives the same text
    still = list(inspector.stream("steer", **steering(upper, strength=0.0)))[1:]
    texts = {name: [piece["token"] for piece in still if piece["lane"] == name] for name in lanes}
    assert texts["original_plain"] == texts["original_steered"] and texts["adapted_plain"] == texts["adapted_steered"]


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"feature": 32}, "The SAE has 32 features, 0 to 31"),
        ({"feature": -1}, "The SAE has 32 features"),
        ({"strength": 1e9}, "A strength of"),
        ({"strength": float("nan")}, "A strength of nan"),
        ({"n_tokens": 0}, "It goes from 1 to"),
        ({"temperature": -1}, "A temperature of"),
        ({"seed": -1}, "A seed of"),
        ({"prompt": ""}, "It holds no token"),
        ({"prompt": "a" * 63}, "It fills all 64 positions"),
        ({"folders": False}, "Choose one of the SAEs offered"),
        ({"run": "/nowhere"}, "It has no config.json|It is not finished"),
    ],
)
def test_what_cannot_be_done_is_told_in_a_sentence(inspector, upper, changes, sentence):
    with pytest.raises(LabError, match=sentence):
        list(inspector.stream("steer", **steering(upper, **changes)))


def test_a_comparison_does_not_wait_for_a_stream_and_the_stream_goes_on(inspector, upper):
    stream = inspector.stream("steer", **steering(upper, n_tokens=50, prompt="a"))
    assert next(stream)["event"] == "start"
    inspector.ask("compare", text="other words.", **upper)
    rest = list(stream)
    told = list(inspector.stream("steer", **steering(upper, n_tokens=50, prompt="a")))
    assert rest == told[1:]  # the comparison in between left no trace


def test_many_askers_get_their_own_answers(inspector, upper):
    told = {}

    def ask(text):
        told[text] = inspector.ask("compare", text=text, **upper)["text"]

    threads = [threading.Thread(target=ask, args=(f"words {'abcdefgh'[n]}.",)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(told) == 8 and all(asked == answered for asked, answered in told.items())


def test_a_stream_that_is_left_is_given_up(inspector, upper):
    stream = inspector.stream("steer", **steering(upper, n_tokens=50, prompt="b"))
    next(stream)
    stream.close()
    child = inspector._child
    assert child is not None and not child.asked
    assert inspector.ask("saes", run=upper["run"])["saes"]


def test_a_process_killed_in_the_middle_is_told_and_the_next_question_works(inspector, upper):
    stream = inspector.stream("steer", **steering(upper, n_tokens=50, prompt="c"))
    next(stream)
    first = inspector.pid
    os.kill(first, signal.SIGKILL)
    with pytest.raises(Unavailable, match=r"Its process ended in the middle of it.*Try again"):
        list(stream)
    assert inspector.ask("compare", text=TEXT, **upper)["tokens"] and inspector.pid not in (None, first)


def test_too_many_at_once_are_turned_away_and_nothing_is_lost(upper, tmp_path):
    busy = Inspector(tmp_path, Limits(waiting=2))
    try:
        answers = []
        for _ in range(2):
            busy.begin("saes", answers.append, run=upper["run"])
        with pytest.raises(Unavailable, match="hands full"):
            busy.ask("saes", run=upper["run"])
        deadline = time.monotonic() + 60
        while len(answers) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert ["result" in answer for answer in answers] == [True, True]
    finally:
        busy.close()


def test_an_idle_process_goes_home_and_the_next_question_starts_another(upper, tmp_path):
    home = Inspector(tmp_path, Limits(idle_s=0.3))
    try:
        home.ask("saes", run=upper["run"])
        first = home.pid
        assert gone(first, 10)
        assert home.ask("saes", run=upper["run"])["saes"] and home.pid != first
    finally:
        home.close()


def test_a_process_that_says_nothing_is_ended_and_told(upper, tmp_path):
    silent = Inspector(tmp_path, Limits(silent_s=0.5))
    try:
        silent.begin("saes", print, run=upper["run"])
        os.kill(silent.pid, signal.SIGSTOP)
        with pytest.raises(Unavailable, match="It took too long"):
            silent.ask("saes", run=upper["run"])
    finally:
        silent.close()


def test_whoever_waits_when_the_lab_closes_is_told_and_nothing_is_left_behind(upper, tmp_path):
    closing = Inspector(tmp_path)
    told = []
    closing.begin("saes", told.append, run=upper["run"])
    pid = closing.pid
    closing.close()
    assert gone(pid)
    deadline = time.monotonic() + 5
    while not told and time.monotonic() < deadline:
        time.sleep(0.02)
    assert told == [{"ended": "closed"}]
    with pytest.raises(Unavailable, match="being closed"):
        closing.ask("saes", run=upper["run"])


def test_the_process_dies_with_a_parent_that_was_killed(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from lorasae.inspection.inspector import Inspector;"
        f"one = Inspector(Path({str(tmp_path)!r})); one.begin('saes', str, run=''); print(one.pid, flush=True); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    child = int(parent.stdout.readline())
    assert alive(child)
    parent.kill()
    parent.wait()
    assert gone(child, 20)  # it may have to finish importing first


def environment_of(pid: int) -> list[str]:
    """Of a process just started; for an instant it has none yet."""
    deadline = time.monotonic() + 10
    while not (content := Path(f"/proc/{pid}/environ").read_text()) and time.monotonic() < deadline:
        time.sleep(0.01)
    return content.split("\0")


def test_the_process_sees_no_secret_and_no_network(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    monkeypatch.setenv("SOMETHING_ELSE", "x")
    one = Inspector(tmp_path)
    try:
        one.begin("saes", str, run="")
        seen = environment_of(one.pid)
        names = {line.partition("=")[0] for line in seen}
        assert (
            "HF_TOKEN" not in names and "SOMETHING_ELSE" not in names and "HF_HUB_OFFLINE=1" in seen and "OMP_WAIT_POLICY=passive" in seen
        )
    finally:
        one.close()
