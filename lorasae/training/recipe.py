"""One training run, read top to bottom: `python -m lorasae.training.recipe RUN_DIR`, or `python -m lorasae adapt` from a terminal.

    1. loading      model, tokenizer and SAEs, checked against each other; the adapter attached, fresh or as it begins (and downloading)
    2. reading      text, tokenised and packed; training and held-out sides share no document
    3. measuring    the conditions before training; measured L0 and variance explained against what the publisher states
    4. training     steps, with a short evaluation every so often and checkpoints to be taken up from
    5. evaluating   all conditions on the whole held-out text
    6. saving       the adapter in PEFT format and the result

Everything a run knows is in its folder. It is taken up from its newest whole checkpoint; on the same machine and versions the result is
bit-identical to that of a run that was never interrupted (CPU). A run that is wished to stop early goes from 4 to 5 at once, and can be
taken up later all the same.
"""

import os
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as in lorasae/__main__.py, and before torch is imported

import torch

from lorasae.core.adapter import in_use
from lorasae.core.conditions import ALL, BEFORE, Condition
from lorasae.core.evaluate import Measurement, measure
from lorasae.core.step import StepOutcome, learning_rate_at, moved
from lorasae.errors import LabError
from lorasae.sources.data import micro_batches
from lorasae.sources.hub_access import HubToken, asking_as, fetching_at_most, token_from_stdin
from lorasae.sources.loading import check_measured
from lorasae.store.checkpoints import newest_checkpoint, write_checkpoint
from lorasae.store.replay import forget_frames_after
from lorasae.store.run_folder import Run
from lorasae.training.heldout_part import choose_part
from lorasae.training.known_before import Known, keep_known
from lorasae.training.lives import Computed, Life, Wanted, lived
from lorasae.training.memory import peak_memory_bytes
from lorasae.training.pace import evaluated_steps
from lorasae.training.portions import in_portions
from lorasae.training.recorder import Recorder
from lorasae.training.setting_up import set_up
from lorasae.training.supervision import Listener, Nobody, Report, Stopped, StopRequest, ending_told
from lorasae.training.way import Faster, fast_gradients
from lorasae.training.workbench import Workbench, plain, save, snapshot, take_up
from lorasae.training.workshop import Workshop, workshop

DURING: tuple[Condition, ...] = ("original", "original_sae", "adapted_sae")


def adapt(run: Run, listener: Listener | None = None, faster: Faster = fast_gradients) -> dict[str, Any]:
    """Do the run, or what is left of it, and return its result.

    Args:
        run: A run folder.
        listener: Told of phases and metrics.
        faster: Where the fast step's gradients come from.

    Raises:
        LabError: For anything the user can act on; status.json says the same.
        Stopped: After SIGTERM, SIGINT or the wish to pause; everything done so far is kept.
    """
    with workshop(faster) as shop:
        (outcome,) = lived([life_of(run, listener or Nobody(), shop)])
    if isinstance(outcome, Exception):
        raise outcome
    return outcome


def life_of(run: Run, listener: Listener, shop: Workshop) -> Life:
    """The run from wherever it is to its end: asks for the gradients of its steps, and returns its result."""
    if run.status.state == "succeeded":
        return run.result
    with run.claimed():
        if run.told.state == "stopped":  # it fulfilled its wish then; now it is to go on
            run.forget_wish()
        report = Report(run, listener, run.config.n_steps)
        with ending_told(run, report):
            stop = StopRequest(run, shop.signals)
            bench = set_up(run, report, stop, shop)
            bench.turn.take()
            return (yield from _train_and_measure(bench, report, stop))


def _train_and_measure(bench: Workbench, report: Report, stop: StopRequest) -> Life:
    recorder = Recorder(bench, report.remark)
    first = take_up_newest(bench, report)
    if not first:
        measure_before(bench, report, stop)
        recorder.record(0)
    reached = yield from train(bench, first, report, stop, recorder)
    report.phase("evaluating", "all conditions on the held-out text")
    report.progress(0.0, bench.pace.last_evaluation_s)
    if reached:
        recorder.record(reached)
    after = measure_heldout(bench, ALL, None, report, stop)
    report.phase("saving", "adapter and result")
    return save(bench, after, reached)


def take_up_newest(bench: Workbench, report: Report) -> int:
    """Go to the newest whole checkpoint, and forget what came after it. Returns its step; 0: there is none."""
    checkpoint, damaged = newest_checkpoint(bench.run.checkpoints)
    if damaged:
        report.phase("loading", f"{len(damaged)} damaged checkpoint(s) passed over")
    if checkpoint:
        take_up(bench, checkpoint)
        report.taken_up(checkpoint.step)
    kept = checkpoint.step if checkpoint and checkpoint.step else -1
    bench.run.forget_metrics_after(kept)
    forget_frames_after(bench.run, kept)
    return checkpoint.step if checkpoint else 0


def measure_before(bench: Workbench, report: Report, stop: StopRequest) -> None:
    """What the SAE costs, and whether it does what its publisher states."""
    report.phase("measuring", "what the SAE costs before training")
    conditions: tuple[Condition, ...] = (*BEFORE, "adapted_sae") if bench.config.adapter.start else BEFORE
    shared = bench.shop.before  # no adapter has learned yet: what one run of this process measured is true of all
    before = bench.shop.before = shared or measure_heldout(bench, conditions, None, report, stop, trained=False)
    for hook_point, statistics in before.sites.items() if not bench.config.trust_measured else ():
        check_measured(hook_point, bench.loaded.cards[hook_point], statistics)
    choose_part(bench.run, before)
    keep_known(bench.run, before, bench.corpus.fingerprint)
    report.row({"step": 0, **_values(before)})


def train(bench: Workbench, first: int, report: Report, stop: StopRequest, recorder: Recorder) -> Generator[Wanted, Computed, int]:
    """Steps `first` … n_steps - 1, or fewer if that is wished; returns how many were taken in all."""
    config, n_steps, pace = bench.config, bench.config.n_steps, bench.pace
    evaluated = evaluated_steps(config)
    saved_at = time.monotonic()
    if not n_steps:
        return 0
    report.phase("training", f"from step {first} on, {n_steps} in all" if first else f"{n_steps} steps")
    stop.heed(f"Stopped at step {first} of {n_steps}; everything so far is kept", trained=first > 0)
    if stop.keep:
        return first
    for step in range(first, n_steps):
        bench.turn.give_way()
        gradient = yield Wanted(bench, step)
        started = time.monotonic()
        learning_rate, outcome = move(bench, step, gradient.kl)
        pace.step_took(gradient.seconds + time.monotonic() - started)
        if not outcome.finite:
            raise _not_finite(bench, step, learning_rate, outcome)
        done = step + 1
        row = {
            "step": done,
            "kl_train": outcome.kl,
            "gradient_norm": outcome.gradient_norm,
            "learning_rate": learning_rate,
            "tokens_per_s": done * config.train.tokens_per_step / pace.train_s,
            "train_s": pace.train_s,
            "peak_memory_bytes": peak_memory_bytes(bench.loaded.device),
        }
        if done in evaluated:
            row |= _evaluated(measure_heldout(bench, DURING, bench.part))
            recorder.record(done)
        report.row(row, pace.left_s(done), pace.step_s)
        interrupt, keep = stop.interrupt, stop.keep
        due = bool(config.watch.checkpoint_every_steps) and done % (config.watch.checkpoint_every_steps or 1) == 0
        if due or interrupt or keep or time.monotonic() - saved_at >= config.watch.checkpoint_every_s or done == n_steps:
            write_checkpoint(bench.run.checkpoints, snapshot(bench, done))
            saved_at = time.monotonic()
        if interrupt:
            stop.heed(f"Stopped after step {done} of {n_steps}; everything so far is kept", trained=True)
        if keep:
            return done
    return n_steps


def _not_finite(bench: Workbench, step: int, learning_rate: float, outcome: StepOutcome) -> LabError:
    """The last finite state, kept, and the sentence about it."""
    if not (bench.run.checkpoints / f"step-{step:08d}").exists():  # whose random state is that of before this step
        write_checkpoint(bench.run.checkpoints, snapshot(bench, step))
    return LabError(
        f"Step {step} of the run {bench.run.run_id} was taken",
        f"Its loss or gradient is not a finite number (KL {outcome.kl}, learning rate {learning_rate:.2g})",
        f"The adapter of the last finite step is kept in {bench.run.checkpoints}; start again with a smaller train.learning_rate",
    )


def move(bench: Workbench, step: int, kl: float) -> tuple[float, StepOutcome]:
    """Move the adapter by the gradient that was computed; the learning rate of the step, and what it measured."""
    train = bench.config.train
    learning_rate = learning_rate_at(step, bench.config.n_steps, train.learning_rate, train.schedule, train.warmup_fraction)
    return learning_rate, moved(bench.optimizer, kl, learning_rate=learning_rate, gradient_clip=train.gradient_clip)


def measure_heldout(
    bench: Workbench,
    conditions: tuple[Condition, ...],
    rows: Sequence[int] | None,
    report: Report | None = None,
    stop: StopRequest | None = None,
    *,
    trained: bool = True,
) -> Measurement:
    """Measure conditions on these held-out sequences, None for all; a stop is heeded, and progress told, between batches."""
    started, known = time.monotonic(), Known.of(bench.run, bench.corpus.fingerprint)
    chunks = bench.corpus.heldout if rows is None else bench.corpus.heldout[list(rows)]
    left = known.left(conditions)

    def batches(size: int) -> Iterator[torch.Tensor]:
        n_batches = -(-len(chunks) // size)
        for done, batch in enumerate(micro_batches(chunks, size, bench.loaded.device)):
            if stop:
                stop.heed("Stopped while measuring; everything so far is kept", trained=trained)
            if report and done:
                left_s = (time.monotonic() - started) / done * (n_batches - done)
                report.progress(done / n_batches, left_s if trained else None)  # before training nobody knows how long that will take
            bench.turn.give_way()
            yield batch

    def measured(size: int) -> Measurement:
        return measure(bench.model, batches(size), bench.loaded.saes, bench.loaded.special_tokens, left)

    with in_use(bench.model, bench.adapter):
        measurement = in_portions([bench], measured)
    bench.pace.measuring_took(time.monotonic() - started, -(-len(chunks) // bench.way.micro_batch_size), len(left))
    return known.added_to(measurement, conditions, rows)


def _values(measurement: Measurement) -> dict[str, float | None]:
    return {key: plain(value) for key, (value, _) in measurement.metrics().items()}


def _evaluated(measurement: Measurement) -> dict[str, float | None]:
    """The metrics, and how sure the one is that everybody looks at: a part of the text says less than all of it."""
    _, error = measurement.metrics()["gap_closed"]
    return {**_values(measurement), "gap_closed_error": plain(error)}


def main(folder: str, token: HubToken = None, most_bytes: int | None = None) -> int:
    """Do the run in a process of its own; what is to be said is in its log by now, and goes to stderr where that is not the log."""
    run = Run(Path(folder))
    try:
        with asking_as(token), fetching_at_most(most_bytes):
            adapt(run)
    except (LabError, Stopped) as ending:
        if not run.log.exists() or not os.path.samestat(os.fstat(sys.stderr.fileno()), run.log.stat()):
            print(ending, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    bounds = [int(word.partition("=")[2]) for word in sys.argv[2:] if word.startswith("--most-bytes=")]
    code = main(sys.argv[1], token_from_stdin() if "--token-on-stdin" in sys.argv[2:] else None, next(iter(bounds), None))
    sys.stderr.flush()
    os._exit(code)  # everything is on the disk; taking torch apart would take seconds that a restart does not have
