"""One device, shared by a job and the inspection: never both at once, neither starves, and who is killed holds nothing."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from lorasae.errors import LabError
from lorasae.inspection.inspector import Inspector
from lorasae.inspection.room import CPU_PARAMETERS, FACTOR, SPARE_BYTES, Need, device_beside_job, need_of
from lorasae.inspection.service import Service
from lorasae.store.device_turns import SWITCH, SharedTurn, Turn, turn_at
from lorasae.store.run_folder import example
from lorasae.store.runs import RunStore
from lorasae.training.recipe import adapt
from tests.test_inspector import gone
from tests.tiny_world import tiny_run

ROOT = Path(__file__).parents[1]
STEP_S = 0.02
WORKER = """
import sys, time
from pathlib import Path
from lorasae.store.device_turns import SharedTurn

turn, step_s = SharedTurn(Path(sys.argv[1]), "gpu"), float(sys.argv[2])
turn.announce()
with turn:
    print("at work", flush=True)
    while True:
        began = time.monotonic()
        time.sleep(step_s)
        print(began, time.monotonic(), flush=True)
        turn.give_way()
"""
Spans = list[tuple[float, float]]


@contextmanager
def worker(folder: Path, step_s: float = STEP_S) -> Iterator["subprocess.Popen[str]"]:
    """A process that takes step after step; a line with its beginning and end after each."""
    process = subprocess.Popen([sys.executable, "-c", WORKER, str(folder), str(step_s)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def steps_of(process: "subprocess.Popen[str]") -> Spans:
    """All that it did, after which it is no more."""
    process.kill()
    said, _ = process.communicate()
    spans = [line.split() for line in said.splitlines()]
    return [(float(span[0]), float(span[1])) for span in spans if len(span) == 2 and span[0] != "at"]


def visits(folder: Path, n: int, work_s: float = 0.0) -> tuple[Spans, list[float]]:
    """What an inspection does: n steps, and how long it waited for each."""
    turn, spans, waited = SharedTurn(folder, "gpu"), [], []
    for _ in range(n):
        asked = time.monotonic()
        turn.take()
        began = time.monotonic()
        time.sleep(work_s)
        spans.append((began, time.monotonic()))
        waited.append(began - asked)
        turn.give_back()
    turn.close()
    return spans, waited


def overlapping(one: Spans, other: Spans) -> int:
    return sum(a < d and c < b for a, b in one for c, d in other)


def test_an_inspection_gets_its_turn_within_a_step_and_the_job_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with worker(tmp_path) as process:
        looked, waited = visits(tmp_path, 20, work_s=0.01)
        done_at = looked[-1][1]
        time.sleep(0.3)
        steps = steps_of(process)
    with capsys.disabled():
        print(f"\nan inspection waited {1000 * sum(waited) / 20:.1f} ms, at most {1000 * max(waited):.1f}, for 20 ms steps")
    assert not overlapping(steps, looked)
    assert sorted(waited)[-2] < 3 * STEP_S  # one step, and what a busy machine adds
    between = [began for began, _ in steps if looked[0][0] < began < done_at]
    assert len(between) >= 19 and len([began for began, _ in steps if began > done_at]) > 3


def test_a_long_inspection_does_not_starve_the_job(tmp_path: Path) -> None:
    with worker(tmp_path) as process:
        looked, _ = visits(tmp_path, 50, work_s=0.005)  # greedy: asks again at once
        steps = steps_of(process)
    between = [began for began, _ in steps if looked[0][0] < began < looked[-1][1]]
    assert len(between) >= 40 and not overlapping(steps, looked)


def test_who_is_killed_holds_nothing(tmp_path: Path) -> None:
    with worker(tmp_path, step_s=600) as process:  # in the middle of a step
        turn, taken = SharedTurn(tmp_path, "gpu"), threading.Event()
        assert turn.job() is not None
        threading.Thread(target=lambda: (turn.take(), taken.set()), daemon=True).start()
        assert not taken.wait(0.3)
        process.kill()
        assert taken.wait(2)
        assert turn.job() is None


def test_of_two_jobs_the_second_is_said_to_be_at_work_once_the_first_has_ended(tmp_path: Path) -> None:
    first, second, looking = (SharedTurn(tmp_path, "gpu") for _ in range(3))
    assert first.announce() and not second.announce()
    with second:
        named = looking.job()
    first.close()
    assert looking.job() is None
    with second:
        assert looking.job() not in (None, named)
    second.close()


def test_a_run_beside_another_one_says_that_they_take_turns(world: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(SWITCH, "1")
    monkeypatch.setenv("LORASAE_HOME", str(tmp_path))
    other, run = SharedTurn(tmp_path / "devices", "cpu"), RunStore(tmp_path).create(tiny_run(world, train={"tokens": 0}))
    assert other.announce()
    adapt(run)
    assert "another run is at work on this device" in run.log.read_text()


def test_a_device_that_fails_while_it_is_given_back_is_free_for_others(tmp_path: Path) -> None:
    def fails() -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    broken, other, taken = SharedTurn(tmp_path, "gpu", fails), SharedTurn(tmp_path, "gpu"), threading.Event()
    with pytest.raises(RuntimeError, match="illegal memory access"), broken:
        pass
    threading.Thread(target=lambda: (other.take(), taken.set()), daemon=True).start()
    assert taken.wait(2) and not broken.held


def test_devices_do_not_wait_for_each_other(tmp_path: Path) -> None:
    with worker(tmp_path, step_s=600), SharedTurn(tmp_path, "another gpu") as turn:
        assert turn.held and turn.job() is None


def test_turns_cost_microseconds_and_nothing_without_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    import torch

    monkeypatch.delenv(SWITCH, raising=False)
    assert type(turn_at(torch.device("cpu"), tmp_path)) is Turn and not list(tmp_path.iterdir())
    monkeypatch.setenv(SWITCH, "1")
    with turn_at(torch.device("cpu"), tmp_path) as turn:
        started = time.perf_counter()
        for _ in range(5000):
            turn.give_way()
        each_s = (time.perf_counter() - started) / 5000
    with capsys.disabled():
        print(f"\na turn given and taken again, with nobody waiting: {1e6 * each_s:.1f} µs")
    assert each_s < 500e-6


def test_a_run_waits_for_an_inspection_and_comes_to_the_same_result(world: Path, finished, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(SWITCH, "1")
    monkeypatch.setenv("LORASAE_HOME", str(tmp_path))
    run = RunStore(tmp_path).create(tiny_run(world))
    inspection = SharedTurn(tmp_path / "devices", "cpu")
    inspection.take()
    doing = threading.Thread(target=lambda: quietly(run), daemon=True)
    doing.start()
    wait_for(lambda: run.told.phase == "measuring" or inspection.job() is not None)
    time.sleep(1.0)
    assert doing.is_alive() and not list(run.metrics())
    while doing.is_alive():  # from here on they take turns
        inspection.give_way()
        time.sleep(0.001)
    assert run.result["results"] == finished.result["results"] and inspection.job() is None


def quietly(run) -> None:
    """In a thread, where signals cannot be heard."""
    import signal

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(signal, "signal", lambda *_: None)
        adapt(run)


def wait_for(true, within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_an_idle_inspection_process_lets_a_new_job_have_its_memory_and_comes_back_when_asked(finished, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(SWITCH, "1")
    inspector, job = Inspector(tmp_path), SharedTurn(tmp_path / "devices", "cpu")
    asked = {"run": str(finished.folder), "text": "some words.", "release": "", "sae_id": "", "folders": True}
    try:
        inspector.ask("compare", **asked)
        first = inspector.pid
        job.announce()
        assert first is not None and gone(first, 10)
        before = json.dumps(inspector.ask("compare", **asked)["tokens"])
        second = inspector.pid
        time.sleep(1.5)
        assert inspector.pid == second != first  # it was opened beside that job, and stays
        job.take()  # a step of the job is under way
        answers: list[dict] = []
        inspector.begin("compare", answers.append, **{**asked, "text": "other words."})
        time.sleep(1.0)
        assert not answers
        job.give_back()
        wait_for(lambda: answers)
        assert "result" in answers[0] and json.dumps(inspector.ask("compare", **asked)["tokens"]) == before
    finally:
        inspector.close()
        job.close()


@pytest.mark.parametrize("opened", ["refused", "cpu", "own cpu", "cuda", None])
def test_what_lies_on_the_gpu_is_in_the_way_of_a_job_unless_something_was_opened_beside_it_there(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opened: str | None
) -> None:
    """No GPU is needed: only what the process remembers about one."""
    import torch

    run = RunStore(tmp_path).create(tiny_run(world, model={"device": "cpu"} if opened == "own cpu" else {"device": "auto"}))
    service, job = Service(tmp_path), SharedTurn(tmp_path / "devices", "gpu")
    service.device, service.turn, service._holds_memory = torch.device("cuda"), SharedTurn(tmp_path / "devices", "gpu"), True
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    job.announce()

    def answer(*_: object) -> str | None:
        if opened == "refused":
            raise LabError("A run was to be opened", "A job is at work", "Wait")
        return None if opened == "own cpu" else opened

    monkeypatch.setattr("lorasae.inspection.service.device_for", answer)
    with suppress(LabError):
        service._device_for(run)
    assert service.is_in_the_way() == (opened in ("refused", "cpu", "own cpu"))
    job.close()
    service.turn.close()


SMALL, LARGE = Need(2e9, 1e8), Need(12e9, CPU_PARAMETERS * 2)


@pytest.mark.parametrize(
    ("need", "free_gpu", "free_ram", "device"),
    [
        (LARGE, 12e9 * FACTOR + SPARE_BYTES, 0, "cuda"),
        (SMALL, 2e9 * FACTOR + SPARE_BYTES - 1, 64e9, "cpu"),
        (SMALL, 0, 6.1e9, "cpu"),
    ],
)
def test_beside_a_job_a_run_is_opened_where_there_is_room(need: Need, free_gpu: float, free_ram: float, device: str) -> None:
    assert device_beside_job("A run was to be opened", need, free_gpu, free_ram) == device


@pytest.mark.parametrize(
    ("need", "free_gpu", "free_ram"), [(LARGE, 17.7e9, 500e9), (SMALL, 1e9, 5e9), (Need(float("inf"), float("inf")), 80e9, 500e9)]
)
def test_where_there_is_none_a_sentence_says_what_to_do(need: Need, free_gpu: float, free_ram: float) -> None:
    with pytest.raises(LabError, match=r"A job is at work on the GPU.*Wait until the job is done, or pause it") as told:
        device_beside_job("A run was to be opened", need, free_gpu, free_ram)
    assert "inf" not in str(told.value)


def test_the_need_is_that_of_model_and_saes() -> None:
    shipped = example()
    assert shipped is not None
    need = need_of(shipped)
    assert 1e6 < need.n_parameters < 1e7 and 1.5e9 < need.n_bytes < 1.6e9
