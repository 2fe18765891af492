"""Runs trained together in one process: each ends in the bits of the run that was alone, whatever becomes of the others."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lorasae.config import RunConfig
from lorasae.core.step import ReferenceGradients, ReferenceOfEach
from lorasae.errors import LabError
from lorasae.store.run_folder import Run
from lorasae.store.runs import RunStore
from lorasae.training.recipe import adapt
from lorasae.training.supervision import Nobody, Stopped
from lorasae.training.together import adapt_together, groups
from tests.tiny_world import tiny_run

ROOT = Path(__file__).parents[1]
CLOCKS = ("train_s", "tokens_per_s", "peak_memory_bytes")


def plain(world: Path, **sections: Any) -> RunConfig:
    """A tiny run trained by the reference step, which computes one adapter after the other and so gives each its very bits."""
    return tiny_run(world, **{**sections, "train": {"fast": False, **sections.get("train", {})}})


def different(world: Path, make: Callable[..., RunConfig] = plain) -> list[RunConfig]:
    """Rank, scale, dropout, place, seed, rate and schedule: everything that runs trained together may differ in. Dropout is on in each."""
    return [
        make(world),
        make(world, name="large", adapter={"rank": 4, "alpha": 3, "dropout": 0.3}),
        make(world, adapter={"placement": "all", "modules": ["mlp"]}, watch={"evaluations": 1}),
        make(
            world,
            adapter={"layers": [3]},
            seed=7,
            data={"order_seed": 0},
            train={"learning_rate": 3e-3, "schedule": "constant", "gradient_clip": None},
        ),
    ]


@pytest.fixture(scope="module")
def alone(world, tmp_path_factory) -> list[Run]:
    store = RunStore(tmp_path_factory.mktemp("alone"))
    runs = [store.create(config) for config in different(world)]
    for run in runs:
        adapt(run)
    return runs


def trained(runs: list[Run], listeners: list[Nobody] | None = None) -> list:
    return adapt_together(runs, listeners or [Nobody()] * len(runs))


def same(one: Run, other: Run) -> bool:
    """Adapter, settings of the adapter, metrics and result, but for clocks and names, and that it was trained with others."""
    files = [(run.adapter / name).read_bytes() for name in ("adapter_model.safetensors", "adapter_config.json") for run in (one, other)]
    rows = [[{key: value for key, value in row.items() if key not in CLOCKS} for row in run.metrics()] for run in (one, other)]
    results = [{key: value for key, value in run.result.items() if key not in ("run_id", "seconds", "way")} for run in (one, other)]
    return files[0] == files[1] and files[2] == files[3] and rows[0] == rows[1] and results[0] == results[1]


def test_runs_trained_together_are_each_what_they_are_alone(world, alone, tmp_path):
    store = RunStore(tmp_path)
    runs = [store.create(config) for config in different(world)]
    outcomes = trained(runs)
    assert all(run.status.state == "succeeded" and run.result == outcome for run, outcome in zip(runs, outcomes, strict=True))
    assert all(same(run, other) for run, other in zip(runs, alone, strict=True))
    assert all(
        sorted(path.name for path in run.folder.iterdir()) == sorted(path.name for path in alone[0].folder.iterdir()) for run in runs
    )
    assert len({(run.adapter / "adapter_model.safetensors").read_bytes() for run in runs}) == len(runs)


def test_by_the_fast_step_they_are_each_what_they_are_alone_to_rounding(world, tmp_path):
    """Some share less of the frozen work than they would have alone, which rounds differently."""
    store = RunStore(tmp_path)
    runs, singles = ([store.create(config) for config in different(world, tiny_run)] for _ in range(2))
    trained(runs)
    for run, single in zip(runs, singles, strict=True):
        adapt(single)
        assert "Trained by the fast step" in run.log.read_text()
        losses = [[row["kl_train"] for row in each.metrics() if "kl_train" in row] for each in (run, single)]
        assert losses[0] == pytest.approx(losses[1], rel=1e-4)
        for key, value in run.result["results"].items():
            assert value["value"] == pytest.approx(single.result["results"][key]["value"], abs=1e-4)


def test_settings_that_change_text_model_or_loss_are_in_groups_of_their_own(world):
    configs = [*different(world), plain(world, seed=1), plain(world, data={"context_length": 32}), plain(world, name="x")]
    configs += [plain(world, saes=[{"release": str(world / "sae_2")}]), plain(world, train={"kl_reduction": "sum"})]
    assert groups(configs) == [[0, 1, 2, 3, 6], [4], [5], [7], [8]]
    begun = plain(world, adapter={"start": "somebody/adapter"})
    assert groups([begun, plain(world), begun]) == [[0], [1], [2]]  # whether each may begin so is asked of it alone


class At(Nobody):
    def __init__(self, step, act):
        self.step, self.act = step, act

    def row(self, row, n_steps):
        if row["step"] == self.step:
            self.act()


def test_one_that_fails_takes_no_other_with_it(world, alone, tmp_path):
    store = RunStore(tmp_path)
    mad = {"learning_rate": 1e30, "warmup_fraction": 0.0, "gradient_clip": None}
    configs = [plain(world, train=mad), plain(world), plain(world, adapter={"rank": 400}), different(world)[1]]
    runs = [store.create(config) for config in configs]
    outcomes = trained(runs)
    assert isinstance(outcomes[0], LabError) and "not a finite number" in str(outcomes[0]) and runs[0].status.state == "failed"
    assert isinstance(outcomes[2], LabError) and "smaller side" in str(outcomes[2]) and runs[2].status.state == "failed"
    assert same(runs[1], alone[0]) and same(runs[3], alone[1])


def test_the_wish_of_one_is_its_own_and_it_goes_on_alone(world, alone, tmp_path):
    store = RunStore(tmp_path)
    runs = [store.create(config) for config in different(world)]
    wishes = [At(3, lambda: runs[0].wish_stop("pause")), At(5, lambda: runs[1].wish_stop("keep")), Nobody(), Nobody()]
    paused, kept, *others = trained(runs, wishes)
    assert isinstance(paused, Stopped) and runs[0].status.state == "interrupted" and runs[0].saved_step == 3
    assert kept["step"] == 5 and runs[1].status.state == "stopped"
    assert [result["step"] for result in others] == [12, 12]
    for run in runs:
        adapt(run)
    assert all(same(run, other) for run, other in zip(runs, alone, strict=True))


def test_a_signal_interrupts_all_and_together_they_go_on(world, alone, tmp_path):
    store = RunStore(tmp_path)
    runs = [store.create(config) for config in different(world)]
    outcomes = trained(runs, [Nobody(), At(4, lambda: os.kill(os.getpid(), signal.SIGTERM)), Nobody(), Nobody()])
    assert all(isinstance(outcome, Stopped) for outcome in outcomes) and {run.status.state for run in runs} == {"interrupted"}
    assert [run.saved_step for run in runs] == [5, 4, 4, 4]  # the first had been told of its step before the signal came
    adapt(runs[2])  # one is ahead of the others by now
    assert all(not isinstance(outcome, Exception) for outcome in trained(runs))
    assert all(same(run, other) for run, other in zip(runs, alone, strict=True))


def test_a_killed_sweep_leaves_runs_that_go_on_alone(world, alone, tmp_path):
    store = RunStore(tmp_path)
    runs = [store.create(config) for config in different(world)[:2]]
    script = f"""
import os, sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from lorasae.store.run_folder import Run
from lorasae.training.supervision import Nobody
from lorasae.training.together import adapt_together

class Kill(Nobody):
    def row(self, row, n_steps):
        if row["step"] == 7:
            os.kill(os.getpid(), {signal.SIGKILL:d})

adapt_together([Run(Path(folder)) for folder in sys.argv[1:]], [Nobody(), Kill()])
"""
    out = subprocess.run([sys.executable, "-c", script, *(str(run.folder) for run in runs)], cwd=ROOT, capture_output=True, text=True)
    assert out.returncode == -signal.SIGKILL, out.stderr
    assert {run.status.state for run in runs} == {"interrupted"} and [run.saved_step for run in runs] == [7, 6]
    for run in runs:
        adapt(run)
    assert same(runs[0], alone[0]) and same(runs[1], alone[1])


class Tight(ReferenceOfEach):
    """Cannot compute more than one sequence at once, and finds out when the first adapter has drawn its masks."""

    def accumulate_each(self, micro_batches):
        if len(micro_batches[0]) > 1:
            with self.students[0].randomness.in_use():
                torch.rand(100)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return super().accumulate_each(micro_batches)


def test_a_lack_of_memory_is_met_for_all_of_them(world, tmp_path):
    def tight(model, saes, special_tokens, reduction, students):
        transforms = {hook_point: sae.reconstruct for hook_point, sae in saes.items()}
        return Tight(ReferenceGradients(model, transforms, special_tokens, reduction), students)

    store = RunStore(tmp_path)
    adapters = [{"rank": 2}, {"rank": 4, "dropout": 0.3}]
    runs = [store.create(tiny_run(world, adapter=each)) for each in adapters]
    adapt_together(runs, [Nobody()] * 2, tight)
    for run, adapter in zip(runs, adapters, strict=True):
        assert run.log.read_text().count("2 sequences at once did not fit into the memory") == 1
        single = store.create(plain(world, adapter=adapter, train={"micro_batch_size": 1}))
        adapt(single)
        tensors = [load_file(each.adapter / "adapter_model.safetensors") for each in (run, single)]
        assert all(torch.equal(tensor, tensors[1][name]) for name, tensor in tensors[0].items())
