"""The way a run's steps are computed: chosen, told, kept, and changed only when the memory does not suffice."""

import contextlib
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lorasae.core.step import ReferenceGradients, ReferenceOfEach
from lorasae.costs.estimates import TIGHT_FROM, memory, micro_batch_that_fits, with_micro_batch
from lorasae.errors import LabError
from lorasae.store.run_folder import Run
from lorasae.store.runs import RunStore
from lorasae.training import recipe, room, setting_up
from lorasae.training.portions import is_out_of_memory
from lorasae.training.recipe import adapt
from lorasae.training.threads import fastest, threads_put_back
from lorasae.training.way import Way, record_way, recorded_way
from tests.tiny_world import CrashAt, tiny_run

ROOT = Path(__file__).parents[1]
CPU_WORDS = "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."


class Gradients(ReferenceOfEach):
    """Takes the place of fast ones, and notes how many sequences it was given at once; more than `fit` are too many."""

    seen: list[int]
    fit: int = 99
    problem: Exception = RuntimeError(CPU_WORDS)
    draws: bool = False

    def accumulate_each(self, micro_batches):
        self.seen.append(len(micro_batches[0]))
        if len(micro_batches[0]) > self.fit:
            if self.draws:
                with self.students[0].randomness.in_use():
                    torch.rand(100)
            raise self.problem
        return super().accumulate_each(micro_batches)


def fast(**settings):
    """A source of fast gradients, and what they saw."""
    seen: list[int] = []

    def faster(model, saes, special_tokens, reduction, students):
        transforms = {hook_point: sae.reconstruct for hook_point, sae in saes.items()}
        gradients = Gradients(ReferenceGradients(model, transforms, special_tokens, reduction), students)
        for name, value in {"seen": seen, **settings}.items():
            object.__setattr__(gradients, name, value)
        return gradients

    return faster, seen


def way_of(run: Run) -> Way:
    way = recorded_way(run)
    assert way is not None
    return way


def adapter(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.adapter / "adapter_model.safetensors")


def same_bits(one: Run, other: Run) -> bool:
    a, b = adapter(one), adapter(other)
    return all(torch.equal(tensor, b[name]) for name, tensor in a.items())


def test_a_run_says_by_which_step_it_was_trained_and_why(world, tmp_path):
    store = RunStore(tmp_path)
    run = store.create(tiny_run(world))
    adapt(run, faster=lambda *_: "gpt_odd has no fast path")
    assert way_of(run) == Way("reference", "gpt_odd has no fast path", 4, 1)
    assert "Trained by the reference step, because gpt_odd has no fast path; 4 sequences at once; 1 thread" in run.log.read_text()
    run, (faster, seen) = store.create(tiny_run(world)), fast()
    adapt(run, faster=faster)
    assert way_of(run) == Way("fast", "", 4, 1) and len(seen) == 12
    assert "Trained by the fast step; 4 sequences at once" in run.log.read_text()


def test_the_fast_step_can_be_switched_off(world, tmp_path):
    run, (faster, seen) = RunStore(tmp_path).create(tiny_run(world, train={"fast": False})), fast()
    adapt(run, faster=faster)
    assert not seen and "because the settings say so (train.fast)" in run.log.read_text()


@pytest.mark.parametrize("begun_fast", [True, False])
def test_a_run_that_goes_on_goes_the_way_it_began(world, tmp_path, begun_fast):
    run, (faster, seen) = RunStore(tmp_path).create(tiny_run(world)), fast()
    with pytest.raises(RuntimeError, match="lights"):
        adapt(run, CrashAt(5), faster if begun_fast else lambda *_: "it was not there")
    before = way_of(run)
    adapt(run, faster=faster)
    assert way_of(run) == before and len(seen) == (5 + 8 if begun_fast else 0)


LACKS = (
    RuntimeError(CPU_WORDS),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"),
    MemoryError(),
    RuntimeError("std::bad_alloc"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
)


@pytest.mark.parametrize("problem", LACKS)
def test_a_lack_of_memory_is_known_by_its_kind_or_its_words(problem):
    assert is_out_of_memory(problem) and not is_out_of_memory(RuntimeError("shapes do not match"))


def test_a_micro_batch_that_does_not_fit_is_halved_and_the_result_is_that_of_the_smaller_one(world, tmp_path):
    """Dropout is on, and the attempts that failed had drawn: the run must not notice."""
    store = RunStore(tmp_path)
    (faster, seen) = fast(fit=1, draws=True)
    run = store.create(tiny_run(world))
    adapt(run, faster=faster)
    assert seen[:4] == [4, 2, 1, 1] and seen.count(1) == 12
    assert way_of(run) == Way("fast", "", 1, 1)
    log = run.log.read_text()
    assert log.count("did not fit into the memory") == 2 and "from now on 1, with the same sequences per step" in log
    small = store.create(tiny_run(world, train={"micro_batch_size": 1}))
    adapt(small, faster=fast()[0])
    assert same_bits(run, small)
    with pytest.raises(RuntimeError, match="lights"):
        adapt(again := store.create(tiny_run(world)), CrashAt(5), faster)
    seen.clear()
    adapt(again, faster=faster)
    assert set(seen) == {1} and same_bits(again, run)


def test_a_run_begins_with_as_many_sequences_at_once_as_fit(world, tmp_path, monkeypatch):
    store, small = RunStore(tmp_path), {"micro_batch_size": 2}
    adapt(asked_small := store.create(tiny_run(world, train=small)))
    needed = []
    monkeypatch.setattr(room, "micro_batch_that_fits", lambda *given: needed.append(given) or micro_batch_that_fits(*given))
    monkeypatch.setattr(room, "reachable_bytes", lambda device: 1 << 40)
    adapt(roomy := store.create(tiny_run(world)))
    (config, sizes, saes, placed, _, on_gpu, n_runs) = needed[0]
    assert way_of(roomy).micro_batch_size == 4 and (on_gpu, n_runs) == (False, 1)
    two = memory(with_micro_batch(config, 2), sizes, saes, placed, on_gpu).total
    monkeypatch.setattr(room, "reachable_bytes", lambda device: two / TIGHT_FROM)
    adapt(tight := store.create(tiny_run(world)))
    assert way_of(tight).micro_batch_size == 2 and same_bits(tight, asked_small)
    told = "4 sequences at once are reckoned to need more memory than there is; 2 at once do the same"
    assert told in tight.log.read_text()
    monkeypatch.setattr(room, "reachable_bytes", lambda device: 1 << 40)
    with pytest.raises(RuntimeError, match="lights"):
        adapt(broken_off := store.create(tiny_run(world)), CrashAt(5))
    monkeypatch.setattr(room, "reachable_bytes", lambda device: two / TIGHT_FROM)
    adapt(broken_off)  # where there is less memory by now
    assert way_of(broken_off).micro_batch_size == 2 and told in broken_off.log.read_text() and broken_off.status.state == "succeeded"


def test_one_sequence_that_does_not_fit_ends_the_run_with_a_sentence(world, tmp_path):
    run, (faster, _) = RunStore(tmp_path).create(tiny_run(world)), fast(fit=0)
    with pytest.raises(
        LabError, match=r"one sequence of 16 tokens.*Not even that fits.*can't allocate memory.*smaller data\.context_length"
    ):
        adapt(run, faster=faster)
    assert run.status.state == "failed" and "Not even that fits" in run.status.message


def test_another_error_is_not_taken_for_a_lack_of_memory(world, tmp_path):
    run, (faster, seen) = RunStore(tmp_path).create(tiny_run(world)), fast(fit=0, problem=RuntimeError("shapes do not match"))
    with pytest.raises(RuntimeError, match="shapes"):
        adapt(run, faster=faster)
    assert len(seen) == 1


def test_a_measurement_that_does_not_fit_begins_again_in_smaller_portions(world, tmp_path, monkeypatch):
    measure, sizes = recipe.measure, []

    def tight(model, batches, *others):
        def watched():
            for batch in batches:
                sizes.append(len(batch))
                if len(sizes) == 3:
                    raise RuntimeError(CPU_WORDS)
                yield batch

        return measure(model, watched(), *others)

    monkeypatch.setattr(recipe, "measure", tight)
    run = RunStore(tmp_path).create(tiny_run(world))
    adapt(run)
    assert sizes[:3] == [4, 4, 4] and set(sizes[3:]) == {2} and way_of(run).micro_batch_size == 2
    assert run.result["heldout"]["n_sequences"] == 16


LIMITED = """
import resource, sys
from pathlib import Path
from lorasae.core.step import ReferenceGradients, ReferenceOfEach
from lorasae.store.run_folder import Run
from lorasae.training.recipe import adapt

class Limited(ReferenceOfEach):
    def accumulate_each(self, micro_batches):
        used = 4096 * int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (used + 120_000_000, resource.RLIM_INFINITY))
        try:
            return super().accumulate_each(micro_batches)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

def limited(model, saes, special_tokens, reduction, students):
    transforms = {hook_point: sae.reconstruct for hook_point, sae in saes.items()}
    return Limited(ReferenceGradients(model, transforms, special_tokens, reduction), students)

adapt(Run(Path(sys.argv[1])), faster=limited)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is counted from /proc")
def test_a_real_lack_of_memory_is_met(world, tmp_path):
    shape = {"tokens": 65536, "tokens_per_step": 65536, "micro_batch_size": 1024}
    run = RunStore(tmp_path).create(tiny_run(world, data={"context_length": 64}, train=shape, watch={"evaluations": 0}))
    out = subprocess.run([sys.executable, "-c", LIMITED, str(run.folder)], cwd=ROOT, capture_output=True, text=True)
    assert out.returncode == 0, out.stderr
    assert "did not fit into the memory" in run.log.read_text() and way_of(run).micro_batch_size < 1024
    assert run.status.state == "succeeded"


# Threads


@pytest.mark.parametrize("best", [1, 2, 4])
def test_the_number_of_threads_that_takes_least_time_is_kept_and_put_back_in_the_end(best):
    with threads_put_back() as allowed:
        assert fastest(4, lambda: time.sleep(0.002 if torch.get_num_threads() == best else 0.02)) == best == torch.get_num_threads()
    assert torch.get_num_threads() == allowed


def test_threads_are_tried_out_once_and_a_run_that_goes_on_uses_as_many(world, tmp_path, monkeypatch):
    tried = []

    def one(allowed, work):
        work()
        tried.append(allowed)
        torch.set_num_threads(1)

    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.setattr(setting_up, "fastest", one)
    run, noted = RunStore(tmp_path).create(tiny_run(world)), []
    for fails_at in (4, None):
        with threads_put_back(), contextlib.suppress(RuntimeError):
            torch.set_num_threads(2)
            adapt(run, Threads(noted, fails_at))
            assert torch.get_num_threads() == 2
    assert tried == [2] and set(noted) == {1} and way_of(run).n_threads == 1
    alone = RunStore(tmp_path).create(tiny_run(world))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    adapt(alone)
    assert same_bits(run, alone)  # having tried leaves no trace


class Threads(CrashAt):
    def __init__(self, noted, fails_at):
        super().__init__(fails_at)
        self.noted = noted

    def row(self, row, n_steps):
        self.noted.append(torch.get_num_threads())
        super().row(row, n_steps)


def test_a_prescribed_number_of_threads_is_respected(world, tmp_path):
    assert os.environ["OMP_NUM_THREADS"]
    run, (faster, seen) = RunStore(tmp_path).create(tiny_run(world)), fast()
    record_way(run, Way("fast", "", 4, 7))
    adapt(run, faster=faster)
    assert way_of(run).n_threads == torch.get_num_threads() and len(seen) == 12  # nothing was tried out
    assert json.loads(run.way_file.read_text())["n_threads"] == torch.get_num_threads()
