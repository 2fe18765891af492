"""Errands run apart from the app, one at a time and not for ever; what they measured is remembered under what it depends on."""

import json
import subprocess
import sys
import threading

import pytest

from lorasae.config import run_config
from lorasae.costs.model_sizes import sizes_of
from lorasae.errors import LabError
from lorasae.planning.errand import Errands
from lorasae.planning.forecast import forecast, why_not_measured
from lorasae.planning.probing import Probing, placed_saes
from lorasae.store.run_records import Status
from lorasae.store.runs import RunStore
from tests.tiny_world import tiny_run

FOUND = {"start_s": 8.0, "step_s_per_token": 1e-4, "evaluation_s_per_token": 4e-5, "peak_bytes": 6e8}


class Answering(Errands):
    """Errands that know the answer."""

    n_asked = 0

    def run(self, module, asked, what, limit_s, *, online=False, private=False):
        self.n_asked += 1
        return dict(FOUND)


@pytest.fixture
def probing(tmp_path):
    return Probing(tmp_path, Answering())


def test_what_was_measured_is_what_the_forecast_says(probing):
    config = run_config({})
    assert forecast(config, probing)["known_from"] == "assumed"
    probing.measure(config)
    told = forecast(config, probing)
    assert told["known_from"] == "measured" and told["memory"]["measured_bytes"] == 6e8
    assert told["tokens_per_s"] == pytest.approx(1e4)
    assert told["time"]["training_s"] == pytest.approx(147_456 * 1e-4)
    assert told["time"]["start_s"] == 8.0


def test_a_measurement_serves_all_settings_that_do_not_change_a_step(probing):
    probing.measure(run_config({}))
    same = {
        "name": "x",
        "seed": 3,
        "train": {"tokens": 10_240, "learning_rate": 1e-3},
        "saes": [{"sae_id": "layer_2/width_2k/average_l0_17"}],
    }
    assert probing.measured(run_config(same)) is not None
    for other in ({"adapter": {"rank": 8}}, {"data": {"context_length": 64}}, {"saes": [{"sae_id": "layer_4/width_2k/average_l0_17"}]}):
        assert probing.measured(run_config(other)) is None


def test_other_settings_are_reckoned_at_the_speed_last_measured(probing):
    probing.measure(run_config({}))
    told = forecast(run_config({"adapter": {"placement": "all"}}), probing)
    assert told["known_from"] == "measured elsewhere" and told["measured_of"] == "pocket"
    assert told["tokens_per_s"] < 1e4


def finished(home, values=None, *, owner="local", name="mine", tokens_per_s=2000.0, log=None, state="succeeded", way=None):
    """A run folder as a run leaves it."""
    config = run_config(values or {})
    run = RunStore(home).create(config, owner, name)
    rows = [{"step": 143, "tokens_per_s": 1.0}, {"step": 144, "tokens_per_s": tokens_per_s, "peak_memory_bytes": 7e8}]
    run.metrics_file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run.log.write_text(
        log or "23:59:30 loading: x\n23:59:50 measuring: x\n23:59:55 training: x\n23:59:58 evaluating: x\n00:00:28 saving: x\n"
    )
    run.way_file.write_text(json.dumps(way or {"step": "fast", "beside": 0}))
    run.write_status(Status(state=state, step=144, n_steps=144))
    return run


def test_a_finished_run_tells_the_speed_of_its_settings_better_than_a_measurement(probing, tmp_path):
    probing.measure(run_config({}))
    finished(tmp_path)
    told = forecast(run_config({"seed": 5}), probing, "local")
    assert told["known_from"] == "measured" and told["measured_in"] == {"own": True, "name": "mine"}
    assert told["tokens_per_s"] == pytest.approx(2000) and told["memory"]["measured_bytes"] == 7e8
    assert told["time"]["start_s"] == 20 and told["time"]["training_s"] == pytest.approx(147_456 / 2000)
    final_s = 30  # over midnight, for 3 conditions; before training 3 more, and 4 times 2 on an eighth
    assert told["time"]["evaluating_s"] == pytest.approx(final_s * (1 + 3 / 3 + 4 * 2 / 8 / 3))


def test_the_name_of_a_run_is_told_to_its_owner_alone(probing, tmp_path):
    finished(tmp_path, owner="v1", name="secret plan")
    assert forecast(run_config({}), probing, "v1")["measured_in"]["name"] == "secret plan"
    for other in ("local", "v2", ""):
        assert "secret" not in json.dumps(forecast(run_config({}), probing, other))


def test_a_finished_run_with_other_settings_gives_its_speed_to_reckon_with(probing, tmp_path):
    finished(tmp_path)
    told = forecast(run_config({"adapter": {"placement": "all"}}), probing, "local")
    assert told["known_from"] == "measured elsewhere" and told["measured_in"]["name"] == "mine" and told["tokens_per_s"] < 2000


def test_the_newest_run_counts_and_one_that_did_not_finish_or_is_damaged_does_not(probing, tmp_path):
    finished(tmp_path, state="failed")
    running = finished(tmp_path, state="running")
    finished(tmp_path).metrics_file.write_text("")
    assert forecast(run_config({}), probing)["known_from"] == "assumed"
    running.write_status(Status(state="succeeded", step=144, n_steps=144))
    assert forecast(run_config({}), probing)["known_from"] == "measured"


def test_a_run_of_another_machine_says_nothing_about_this_one(probing, tmp_path):
    described = (run := finished(tmp_path)).described
    (run.folder / "config.json").write_text(json.dumps({**described, "versions": {"platform": "elsewhere"}}))
    assert forecast(run_config({}), probing)["known_from"] == "assumed"


def test_a_run_of_a_sweep_and_one_that_says_not_how_it_was_trained_tell_nothing_about_one_alone(probing, tmp_path):
    finished(tmp_path, way={"step": "fast", "beside": 4})
    finished(tmp_path).way_file.unlink()
    assert forecast(run_config({}), probing)["known_from"] == "assumed"


def test_a_log_that_tells_no_times_leaves_the_training_speed(probing, tmp_path):
    finished(tmp_path, log="nothing\n")
    told = forecast(run_config({}), probing)
    assert told["tokens_per_s"] == pytest.approx(2000) and 0 < told["time"]["evaluating_s"] < told["time"]["training_s"]


def test_a_damaged_memory_is_passed_over(probing, tmp_path):
    probing.measure(run_config({}))
    for path in (tmp_path / "cache" / "speed").iterdir():
        path.write_text("{")
    assert forecast(run_config({}), probing)["known_from"] == "assumed"


def test_what_is_not_on_this_machine_is_not_measured_but_reckoned(probing):
    gemma = {
        "model": {"model": "google/gemma-2-2b", "dtype": "bfloat16"},
        "saes": [{"release": "gemma-scope-2b-pt-res-canonical", "sae_id": "layer_12/width_16k/canonical"}],
    }
    told = forecast(run_config(gemma), probing)
    assert told["n_layers"] == 26 and told["layers"] == tuple(range(13, 26)) and told["memory"]["reckoned_bytes"] > 5e9
    with pytest.raises(LabError, match="is not on this machine yet"):
        probing.measure(run_config(gemma))
    assert "is not on this machine yet" in str(why_not_measured(run_config(gemma), "fits", training=False))


def test_a_measurement_waits_while_a_run_is_training():
    assert "A run is training" in str(why_not_measured(run_config({}), "fits", training=True))
    assert why_not_measured(run_config({}), "fits", training=False) is None


def test_a_model_nobody_knows_the_size_of_is_forecast_in_steps_alone(probing):
    config = run_config({"model": {"model": "somebody/unknown"}})
    assert sizes_of(config.model) is None
    told = forecast(config, probing)
    assert told["n_steps"] == 144 and "config.json is on the Hub" in told["unknown"]


def test_a_published_sae_is_reckoned_with_at_its_own_size():
    config = run_config(
        {"model": {"model": "openai-community/gpt2"}, "saes": [{"release": "gpt2-small-res-jb", "sae_id": "blocks.8.hook_resid_pre"}]}
    )
    sizes = sizes_of(config.model)
    assert sizes is not None
    (sae,) = placed_saes(config, sizes)
    assert (sae.layer, sae.site, sae.d_in, sae.d_sae) == (8, "before the layer", 768, 24_576)


# The processes themselves


def test_a_real_probe_measures_a_real_step(world, tmp_path):
    measured = Probing(tmp_path, Errands()).measure(tiny_run(world))
    assert 0 < measured.step_s_per_token < 1 and 0 < measured.evaluation_s_per_token < 1
    assert 1e8 < measured.peak_bytes < 1e10 and 0.5 < measured.start_s < 90


def test_a_real_preview_shows_documents_and_the_tokens_between_them(world):
    asked = tiny_run(world).model_dump(mode="json")
    found = Errands().run("lorasae.planning.preview", asked, "A preview was asked for", 60)
    assert found["tokens"][0]["id"] == 1 and len(found["tokens"]) == found["n_tokens"] == 16
    assert len(found["documents"]) == 4 and found["documents"][0]["text"] == (world / "text.txt").read_text().split("\n\n")[0]


def test_a_problem_that_the_errand_meets_is_told_as_it_stands(tmp_path, monkeypatch):
    lines = (
        "from lorasae.planning.errand import answer_errand",
        "from lorasae.errors import LabError",
        "def refuse(asked, asked_at):",
        "    raise LabError(asked['what'], 'It is not there', 'Look elsewhere')",
        "answer_errand(refuse)",
    )
    (tmp_path / "refusing.py").write_text("\n".join(lines))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(LabError, match=r"A thing\. It is not there\. Look elsewhere\."):
        Errands().run("refusing", {"what": "A thing"}, "A thing was asked for", 20)


def test_an_errand_that_takes_too_long_ends(tmp_path, monkeypatch):
    (tmp_path / "endless.py").write_text(
        "from lorasae.planning.errand import answer_errand\nimport time\nanswer_errand(lambda *_: time.sleep(60))\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(LabError, match="It took longer than 1 s"):
        Errands().run("endless", {}, "A thing was asked for", 1)


def test_an_errand_that_breaks_tells_its_last_line_and_leaves_room_for_the_next(tmp_path, monkeypatch):
    (tmp_path / "broken.py").write_text("raise SystemExit('the wheel came off')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    errands = Errands()
    with pytest.raises(LabError, match="the wheel came off"):
        errands.run("broken", {}, "A thing was asked for", 5)
    assert not errands.busy


def test_a_second_errand_at_the_same_time_is_asked_to_wait(tmp_path, monkeypatch):
    (tmp_path / "slow.py").write_text(
        "from lorasae.planning.errand import answer_errand\nimport time\nanswer_errand(lambda *_: time.sleep(1) or {'ok': 1})\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    errands, answers = Errands(), []
    first = threading.Thread(target=lambda: answers.append(errands.run("slow", {}, "A thing was asked for", 20)))
    first.start()
    while not errands.busy:
        pass
    with pytest.raises(LabError, match="is under way"):
        errands.run("slow", {}, "A thing was asked for", 20)
    first.join()
    assert answers == [{"ok": 1}]


def test_an_errand_sees_no_secret_of_the_app(tmp_path, monkeypatch):
    (tmp_path / "telling.py").write_text(
        "from lorasae.planning.errand import answer_errand\nfrom lorasae.sources.hub_access import token_in_use\nimport os\n"
        "answer_errand(lambda *_: {**os.environ, 'asks as': token_in_use()})\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("HF_TOKEN", "hf_hidden")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    seen = Errands().run("telling", {}, "A thing was asked for", 20)
    assert "hidden" not in json.dumps(seen) and seen["HF_HUB_OFFLINE"] == "1"
    online = Errands().run("telling", {}, "A thing was asked for", 20, online=True)
    assert "hidden" not in json.dumps(online) and online["HF_HUB_DISABLE_IMPLICIT_TOKEN"] == "1"
    own, theirs = (Errands().run("telling", {}, "A thing was asked for", 20, online=True, token=token) for token in (None, "hf_a_visitors"))
    assert (own.pop("asks as"), theirs.pop("asks as"), online["asks as"]) == ("hf_hidden", "hf_a_visitors", False)
    assert "hidden" not in json.dumps(own) and "visitors" not in json.dumps(theirs)


def test_reckoning_imports_no_torch():
    names = ("forecast", "fitting", "uploads", "config_text")
    code = f"import sys, {', '.join(f'lorasae.planning.{name}' for name in names)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
