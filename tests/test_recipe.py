"""A whole run on a tiny world: it works, it can be interrupted anywhere, and its adapter is good without us."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from lorasae.config import RunConfig
from lorasae.errors import LabError
from lorasae.store.checkpoints import newest_checkpoint
from lorasae.store.run_folder import Run
from lorasae.store.runs import RunStore
from lorasae.training.recipe import adapt
from lorasae.training.supervision import Nobody, Stopped
from tests.tiny_world import CrashAt, tiny_run, write_lossy_sae

ROOT = Path(__file__).parents[1]


def finished(home: Path, config: RunConfig) -> Run:
    run = RunStore(home).create(config)
    adapt(run)
    return run


@pytest.fixture(scope="module")
def uninterrupted(world, tmp_path_factory):
    return finished(tmp_path_factory.mktemp("home"), tiny_run(world))


@pytest.fixture(scope="module")
def by_the_reference_step(world, tmp_path_factory):
    return finished(tmp_path_factory.mktemp("home"), tiny_run(world, train={"fast": False}))


def adapter_bytes(run: Run) -> bytes:
    return (run.adapter / "adapter_model.safetensors").read_bytes()


def values(run: Run) -> dict[str, float]:
    return {key: each["value"] for key, each in run.result["results"].items()}


def lasting(run: Run) -> list[dict]:
    """The metric rows without what depends on the clock or the machine."""
    return [
        {key: value for key, value in row.items() if key not in ("train_s", "tokens_per_s", "peak_memory_bytes")} for row in run.metrics()
    ]


def test_a_run_closes_a_part_of_the_gap_and_writes_down_everything(uninterrupted):
    rows = list(uninterrupted.metrics())
    assert [row["step"] for row in rows] == list(range(13))
    assert rows[-1]["kl_train"] < rows[1]["kl_train"]
    assert [row["step"] for row in rows if "gap_closed" in row] == [4, 8]
    results = values(uninterrupted)
    assert results["ce_gap_before"] > 0.01 and 0 < results["gap_closed"] < 1
    assert results["gap_closed"] == pytest.approx(1 - results["ce_gap_after"] / results["ce_gap_before"])
    assert results["kl_adapted_sae"] < results["kl_original_sae"]
    seconds = uninterrupted.result["seconds"]
    assert seconds["training"] == pytest.approx(rows[-1]["train_s"], abs=1e-3) and seconds["evaluating"] > 0
    assert uninterrupted.status.state == "succeeded" and uninterrupted.status.step == 12
    assert all(each["standard_error"] > 0 for key, each in uninterrupted.result["results"].items() if key.startswith("ce_gap"))


def test_the_adapter_is_good_without_this_package(world, uninterrupted):
    """The README's script, in a process of its own: plain peft, transformers and sae-lens give ce_adapted_sae to 1e-5."""
    readme = (ROOT / "README.md").read_text()
    script = readme.split("```python\n")[1].split("```")[0]
    assert "lorasae import" not in script and "import lorasae" not in script
    folders = [str(uninterrupted.folder), str(world / "model"), str(world / "sae_1")]
    out = subprocess.run([sys.executable, "-c", script, *folders], cwd=world, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert float(out.stdout) == pytest.approx(values(uninterrupted)["ce_adapted_sae"], abs=1e-5)


def test_the_same_settings_give_the_same_bits(world, uninterrupted, tmp_path):
    again = finished(tmp_path, tiny_run(world))
    assert adapter_bytes(again) == adapter_bytes(uninterrupted) and lasting(again) == lasting(uninterrupted)
    other = finished(tmp_path, tiny_run(world, seed=1))
    assert adapter_bytes(other) != adapter_bytes(uninterrupted)


@pytest.mark.parametrize("step", range(13))
def test_a_run_broken_off_at_any_step_ends_in_the_same_bits(world, uninterrupted, tmp_path, step):
    """Dropout is on, so that a forgotten random state would show."""
    run = RunStore(tmp_path).create(tiny_run(world))
    with pytest.raises(RuntimeError):
        adapt(run, CrashAt(step))
    assert run.status.state == "failed" and "lights" in run.status.message
    adapt(run)
    assert adapter_bytes(run) == adapter_bytes(uninterrupted)
    assert lasting(run) == lasting(uninterrupted)
    assert values(run) == values(uninterrupted)


@pytest.mark.parametrize("step", [3, 8])
def test_so_does_one_that_is_trained_by_the_reference_step(world, by_the_reference_step, tmp_path, step):
    run = RunStore(tmp_path).create(tiny_run(world, train={"fast": False}))
    with pytest.raises(RuntimeError):
        adapt(run, CrashAt(step))
    adapt(run)
    assert adapter_bytes(run) == adapter_bytes(by_the_reference_step) and lasting(run) == lasting(by_the_reference_step)


def test_the_fast_and_the_reference_step_end_at_the_same_numbers(uninterrupted, by_the_reference_step):
    for run, step in ((uninterrupted, "fast"), (by_the_reference_step, "reference")):
        assert f"Trained by the {step} step" in run.log.read_text()
    assert values(uninterrupted) == pytest.approx(values(by_the_reference_step), rel=1e-3)


def start(run: Run, **environment: str) -> subprocess.Popen:
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(
        [sys.executable, "-m", "lorasae.training.recipe", str(run.folder)], cwd=ROOT, env=variables, stderr=subprocess.PIPE, text=True
    )


def wait_for_step(run: Run, step: int, process: subprocess.Popen) -> None:
    while max((row["step"] for row in run.metrics()), default=-1) < step:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)


def test_a_killed_run_goes_on_and_ends_in_the_same_bits(world, tmp_path):
    """kill -9 twice, in the middle of whatever it was doing, with checkpoints at every step, each of two micro-batches."""
    config = tiny_run(world, train={"tokens": 48 * 64, "micro_batch_size": 2})
    run = RunStore(tmp_path).create(config)
    for step in (9, 30):
        process = start(run)
        wait_for_step(run, step, process)
        process.kill()
        process.wait()
        assert run.status.state == "interrupted" and "without a word" in run.status.message
    assert start(run).wait() == 0
    assert adapter_bytes(run) == adapter_bytes(finished(tmp_path, config)) and run.status.state == "succeeded"


def test_sigterm_saves_and_exits_and_says_how_far_it_came(world, tmp_path):
    run = RunStore(tmp_path).create(tiny_run(world, train={"tokens": 400 * 64}, watch={"checkpoint_every_steps": None, "evaluations": 0}))
    process = start(run)
    wait_for_step(run, 5, process)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode != 0 and "Stopped after step" in said
    checkpoint, damaged = newest_checkpoint(run.checkpoints)
    assert checkpoint is not None and checkpoint.step == run.status.step >= 5 and not damaged
    assert run.status.state == "interrupted"


def test_a_damaged_checkpoint_is_passed_over(world, uninterrupted, tmp_path):
    run = RunStore(tmp_path).create(tiny_run(world))
    with pytest.raises(RuntimeError):
        adapt(run, CrashAt(7))
    newest = max(run.checkpoints.iterdir())
    content = bytearray((newest / "adapter.safetensors").read_bytes())
    content[-1] ^= 1
    (newest / "adapter.safetensors").write_bytes(content)
    adapt(run)
    assert adapter_bytes(run) == adapter_bytes(uninterrupted)


def test_a_loss_that_is_not_finite_stops_with_the_last_finite_state_kept(world, tmp_path):
    run = RunStore(tmp_path).create(tiny_run(world, train={"learning_rate": 1e30, "warmup_fraction": 0.0, "gradient_clip": None}))
    with pytest.raises(LabError, match=r"not a finite number .* smaller train.learning_rate"):
        adapt(run)
    checkpoint, _ = newest_checkpoint(run.checkpoints)
    assert checkpoint is not None and all(tensor.isfinite().all() for tensor in checkpoint.adapter.values())
    assert run.status.state == "failed" and "finite" in run.status.message


def test_a_full_disk_is_told_and_loses_nothing(world, uninterrupted, tmp_path):
    """A real one: a file system of two megabytes, filled at step 6, freed afterwards."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("file systems cannot be mounted here")
    try:
        run = RunStore(disk).create(tiny_run(world))

        class FillDisk(Nobody):
            def row(self, row, n_steps):
                if row["step"] == 6:
                    with (disk / "ballast").open("wb") as ballast, pytest.raises(OSError):
                        while True:
                            ballast.write(bytes(1024))
                            ballast.flush()

        with pytest.raises(LabError, match="The disk is full; every finished checkpoint is kept"):
            adapt(run, FillDisk())
        (disk / "ballast").unlink()
        adapt(run)
        assert adapter_bytes(run) == adapter_bytes(uninterrupted)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_a_run_whose_text_changed_does_not_go_on(world, tmp_path):
    text = tmp_path / "text.txt"
    shutil.copy(world / "text.txt", text)
    run = RunStore(tmp_path).create(tiny_run(world, data={"source": str(text)}))
    with pytest.raises(RuntimeError):
        adapt(run, CrashAt(3))
    text.write_text(text.read_text().replace("a", "b"))
    with pytest.raises(LabError, match="not what it was when the run started"):
        adapt(run)


def test_several_saes_at_once_with_adapters_everywhere(world, tmp_path):
    saes = [{"release": str(world / "sae_1")}, {"release": str(world / "sae_2")}]
    run = finished(tmp_path, tiny_run(world, saes=saes, adapter={"placement": "all"}))
    assert values(run)["kl_adapted_sae"] < values(run)["kl_original_sae"]
    assert [each["hook_point"] for each in run.result["saes"]] == ["blocks.1.hook_resid_post", "blocks.2.hook_resid_post"]
    moved = run.result["saes"][0]
    assert moved["original"]["l0"] != moved["adapted_sae"]["l0"]


def test_adapters_above_the_sae_leave_its_features_alone(uninterrupted):
    (sae,) = uninterrupted.result["saes"]
    assert sae["original"] == sae["adapted_sae"]


def test_bf16_trains_too(world, tmp_path):
    run = finished(tmp_path, tiny_run(world, model={"dtype": "bfloat16"}))
    assert values(run)["kl_adapted_sae"] < values(run)["kl_original_sae"]


def test_an_sae_that_does_not_fit_the_stream_is_refused_before_training(world, tmp_path):
    """Right size, wrong place: its stated variance explained cannot be met."""
    folder = tmp_path / "sae"
    write_lossy_sae(folder, 1)
    weights = load_file(folder / "sae_weights.safetensors")
    save_file({**weights, "W_dec": -weights["W_dec"]}, folder / "sae_weights.safetensors")
    run = RunStore(tmp_path).create(tiny_run(world, saes=[{"release": str(folder)}]))
    with pytest.raises(LabError, match="variance"):
        adapt(run)
    assert not run.checkpoints.exists()


def test_two_processes_cannot_work_on_one_run(world, tmp_path):
    run = RunStore(tmp_path).create(tiny_run(world))
    with run.claimed(), pytest.raises(LabError, match="Another process is at work on it"):
        adapt(run)
    adapt(run)
    assert run.status.state == "succeeded"


def test_a_stop_while_measuring_is_heeded_at_once(world, tmp_path):
    run = RunStore(tmp_path).create(tiny_run(world))

    class StopWhenMeasuring(Nobody):
        def phase(self, name, message):
            if name == "measuring":
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped, match=r"Stopped while measuring.*--resume"):
        adapt(run, StopWhenMeasuring())
    assert run.status.state == "interrupted" and not run.checkpoints.exists()


def test_a_checkpoint_of_another_run_is_refused(world, uninterrupted, tmp_path):
    run = RunStore(tmp_path).create(tiny_run(world))
    shutil.copytree(uninterrupted.checkpoints, run.checkpoints)
    with pytest.raises(LabError, match=f"belongs to the run {uninterrupted.run_id}"):
        adapt(run)


def test_a_finished_run_is_not_done_again(uninterrupted):
    before = (uninterrupted.folder / "metrics.jsonl").stat().st_mtime_ns
    assert adapt(uninterrupted) == uninterrupted.result
    assert (uninterrupted.folder / "metrics.jsonl").stat().st_mtime_ns == before


def test_nothing_in_the_run_folder_is_a_pickle_or_names_the_adapter_of_peft_s_template(uninterrupted):
    names = {path.name for path in uninterrupted.folder.rglob("*") if path.is_file()}
    assert not {name for name in names if name.endswith((".pt", ".pth", ".bin", ".pkl"))} and "README.md" not in names
    assert json.loads((uninterrupted.adapter / "adapter_config.json").read_text())["r"] == 2


# Ending early


class At(Nobody):
    """Does something while a step is reported or a phase begins."""

    def __init__(self, at, act):
        self.at, self.act = at, act

    def phase(self, name, message):
        if name == self.at:
            self.act()

    def row(self, row, n_steps):
        if row["step"] == self.at:
            self.act()


@pytest.mark.parametrize("step", [1, 4, 11])
def test_stop_and_keep_saves_a_measured_adapter_and_going_on_ends_in_the_same_bits(world, uninterrupted, tmp_path, step):
    run = RunStore(tmp_path).create(tiny_run(world, watch={"checkpoint_every_steps": 5}))
    result = adapt(run, At(step, lambda: run.wish_stop("keep")))
    assert result["step"] == step and result["n_steps"] == 12 and set(result["results"]) == set(uninterrupted.result["results"])
    assert run.status.state == "stopped" and f"after step {step} of 12" in run.status.message and run.stop_wish is None
    checkpoint, _ = newest_checkpoint(run.checkpoints)
    saved = load_file(run.adapter / "adapter_model.safetensors")
    assert checkpoint.step == step and all((saved[name] == tensor).all() for name, tensor in checkpoint.adapter.items())
    adapt(run)
    assert run.status.state == "succeeded" and run.result["step"] == 12
    assert adapter_bytes(run) == adapter_bytes(uninterrupted) and values(run) == values(uninterrupted)
    assert lasting(run) == lasting(uninterrupted)


def test_the_wish_to_keep_survives_a_crash(world, tmp_path):
    run = RunStore(tmp_path).create(tiny_run(world))

    def wish_and_crash():
        run.wish_stop("keep")
        raise RuntimeError("the lights went out")

    with pytest.raises(RuntimeError):
        adapt(run, At(5, wish_and_crash))
    assert run.status.state == "failed" and run.stop_wish == "keep"
    assert adapt(run)["step"] == 4 and run.status.state == "stopped"  # step 5 was never saved


def test_sigterm_while_a_stop_is_kept_goes_first_and_the_wish_is_fulfilled_afterwards(world, tmp_path):
    """The app ends while the run is being measured: the process must go now, and the wish is still there."""
    run = RunStore(tmp_path).create(tiny_run(world))

    class WishThenTerminate(Nobody):
        def row(self, row, n_steps):
            if row["step"] == 5:
                run.wish_stop("keep")

        def phase(self, name, message):
            if name == "evaluating":
                os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(Stopped, match="Stopped while measuring"):
        adapt(run, WishThenTerminate())
    assert run.status.state == "interrupted" and run.stop_wish == "keep"
    assert adapt(run)["step"] == 5 and run.status.state == "stopped" and run.stop_wish is None


@pytest.mark.parametrize("phase", ["measuring", "training"])
def test_there_is_nothing_to_keep_before_the_first_step(world, tmp_path, phase):
    run = RunStore(tmp_path).create(tiny_run(world))
    with pytest.raises(Stopped):
        adapt(run, At(phase, lambda: run.wish_stop("keep")))
    assert run.status.state == "interrupted" and run.stop_wish is None and not run.has_result
    adapt(run)
    assert run.status.state == "succeeded"


def test_a_pause_interrupts_after_the_step_under_way(world, uninterrupted, tmp_path):
    run = RunStore(tmp_path).create(tiny_run(world, watch={"checkpoint_every_steps": None}))
    with pytest.raises(Stopped, match="after step 5 of 12"):
        adapt(run, At(5, lambda: run.wish_stop("pause")))
    assert run.status.state == "interrupted" and run.stop_wish is None
    adapt(run)
    assert adapter_bytes(run) == adapter_bytes(uninterrupted)


# What it tells


class Watcher(Nobody):
    """Reads status.json like a page does: while phases begin and steps are made."""

    def __init__(self, run):
        self.run, self.seen = run, []

    def phase(self, name, message):
        self.seen.append((name, self.run.status))

    def row(self, row, n_steps):
        self.seen.append((row["step"], row["eta_s"]))


def test_phases_come_in_order_and_the_time_left_is_told_once_it_is_known(world, tmp_path):
    run = RunStore(tmp_path).create(tiny_run(world))
    watcher = Watcher(run)
    adapt(run, watcher)
    names = [name for name, _ in watcher.seen if isinstance(name, str)]
    assert names == ["loading", "reading", "measuring", "training", "evaluating", "saving"]
    assert all(status.state == "running" and status.pid == os.getpid() for name, status in watcher.seen if isinstance(name, str))
    left = {step: eta_s for step, eta_s in watcher.seen if isinstance(step, int)}
    assert left[0] is None and left[1] is None and all(left[step] > 0 for step in range(2, 13))
    assert left[12] > 0  # all steps are done: the measurement at the end is still to come
    log = run.log.read_text()
    assert all(f"{name}: " in log for name in names) and log.endswith("succeeded\n")
    status = json.loads((run.folder / "status.json").read_text())
    assert status["eta_s"] is None and status["fraction"] is None and status["phase"] == "done"


def test_a_resumed_run_says_where_it_went_on(world, tmp_path):
    run = RunStore(tmp_path).create(tiny_run(world))
    with pytest.raises(RuntimeError):
        adapt(run, CrashAt(7))
    watcher = Watcher(run)
    adapt(run, watcher)
    (status,) = [status for name, status in watcher.seen if name == "training"]
    assert status.step == 6 == status.resumed_from


def test_what_is_in_the_hub_s_cache_need_not_be_fetched(monkeypatch, tmp_path):
    from huggingface_hub import constants

    from lorasae.config import run_config
    from lorasae.sources.still_to_fetch import still_to_fetch

    config = run_config(
        {"model": {"model": "openai-community/gpt2"}, "saes": [{"release": "gpt2-small-res-jb", "sae_id": "blocks.8.hook_resid_pre"}]}
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert still_to_fetch(config) == []  # the tests are offline: nothing may be fetched
    monkeypatch.setattr(constants, "is_offline_mode", lambda: False)
    assert still_to_fetch(config) == ["openai-community/gpt2", "gpt2-small-res-jb / blocks.8.hook_resid_pre"]
    assert still_to_fetch(RunConfig()) == []
    snapshot = tmp_path / "models--jbloom--GPT2-Small-SAEs-Reformatted" / "snapshots" / "abc" / "blocks.8.hook_resid_pre"
    snapshot.mkdir(parents=True)
    (snapshot / "cfg.json").write_text("{}")
    assert still_to_fetch(config) == ["openai-community/gpt2", "gpt2-small-res-jb / blocks.8.hook_resid_pre"]
    (snapshot / "sae_weights.safetensors").write_bytes(b"")
    assert still_to_fetch(config) == ["openai-community/gpt2"]


def test_what_was_measured_on_another_text_is_not_believed(world, tmp_path):
    """The text was edited between a first measurement and the first checkpoint."""
    text = tmp_path / "text.txt"
    whole = (world / "text.txt").read_text()
    text.write_text(whole)
    store, settings = RunStore(tmp_path), {"data": {"source": str(text)}}
    run = store.create(tiny_run(world, **settings))
    with pytest.raises(RuntimeError, match="lights"):
        adapt(run, CrashAt(0))
    text.write_text("\n\n".join(reversed(whole.split("\n\n"))))
    shutil.rmtree(run.checkpoints, ignore_errors=True)
    adapt(run)
    fresh = store.create(tiny_run(world, **settings))
    adapt(fresh)
    assert values(run) == values(fresh)
