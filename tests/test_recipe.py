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

from lorasae.checkpoints import newest_checkpoint
from lorasae.config import RunConfig
from lorasae.errors import LabError
from lorasae.recipe import adapt
from lorasae.runs import Run, RunStore
from lorasae.supervision import Nobody, Stopped
from tests.tiny_world import tiny_run, write_lossy_sae

ROOT = Path(__file__).parents[1]


def finished(home: Path, config: RunConfig) -> Run:
    run = RunStore(home).create(config)
    adapt(run)
    return run


@pytest.fixture(scope="module")
def uninterrupted(world, tmp_path_factory):
    return finished(tmp_path_factory.mktemp("home"), tiny_run(world))


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


class CrashAt(Nobody):
    """Fails while step `step` is reported: as sudden as the process can be to itself."""

    def __init__(self, step):
        self.step = step

    def row(self, row, n_steps):
        if row["step"] == self.step:
            raise RuntimeError("the lights went out")


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


def start(run: Run, **environment: str) -> subprocess.Popen:
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(
        [sys.executable, "-m", "lorasae.recipe", str(run.folder)], cwd=ROOT, env=variables, stderr=subprocess.PIPE, text=True
    )


def wait_for_step(run: Run, step: int, process: subprocess.Popen) -> None:
    while max((row["step"] for row in run.metrics()), default=-1) < step:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)


def test_a_killed_run_goes_on_and_ends_in_the_same_bits(world, tmp_path):
    """kill -9 twice, in the middle of whatever it was doing, with checkpoints at every step."""
    config = tiny_run(world, train={"tokens": 64 * 64})
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
