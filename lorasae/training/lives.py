"""Runs that live in one process: each goes its own way until it needs the gradient of a step; who needs the same one gets it together.

A life is a generator (`lorasae.training.recipe.life_of`). It asks for gradients and is sent them; what it asks, nobody else has to know.
"""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from lorasae.core.adapter import in_use
from lorasae.sources.data import micro_batches, step_chunks
from lorasae.training.portions import in_portions
from lorasae.training.workbench import Workbench


@dataclass(frozen=True)
class Wanted:
    """The gradient of this step, for this run's adapter."""

    bench: Workbench
    step: int


@dataclass(frozen=True)
class Computed:
    """It stands in the adapter's parameters now."""

    kl: float  # nats per scored token, as the step measured it
    seconds: float  # of computing, this run's share


Life = Generator[Wanted, Computed, dict[str, Any]]
Outcome = dict[str, Any] | Exception  # the result of a run, or why there is none


def lived(lives: Sequence[Life]) -> list[Outcome]:
    """All lives to their ends, and what came of each; one that fails takes no other with it."""
    outcomes: dict[int, Outcome] = {}
    waiting: dict[int, Wanted] = {}

    def go_on(index: int, move: Callable[[], Wanted]) -> None:
        waiting.pop(index, None)
        try:
            waiting[index] = move()
        except StopIteration as end:
            outcomes[index] = end.value
        except Exception as error:  # noqa: BLE001  # of this run alone; whoever asked for the runs is told
            outcomes[index] = error

    try:
        for index, life in enumerate(lives):
            go_on(index, life.__next__)
        while waiting:
            step = min(wanted.step for wanted in waiting.values())
            together = [index for index, wanted in waiting.items() if wanted.step == step]
            for index, answer in _answers({index: waiting[index] for index in together}).items():
                go_on(index, partial(lives[index].throw if isinstance(answer, Exception) else lives[index].send, answer))
    except BaseException as ending:  # the process is told to end at once: each run shall say so
        for index in waiting:
            with suppress(BaseException):
                lives[index].throw(ending)
        raise
    return [outcomes[index] for index in range(len(lives))]


def _answers(wanted: dict[int, Wanted]) -> dict[int, Computed | Exception]:
    """The gradients, each computed or the error that it ended with."""
    answers: dict[int, Computed | Exception] = {}
    for index, each in wanted.items():
        try:
            answers[index] = in_portions([each.bench], partial(_computed, each))
        except Exception as error:  # noqa: BLE001  # it is thrown where the gradient was asked for
            answers[index] = error
    return answers


def _computed(wanted: Wanted, at_once: int) -> Computed:
    bench, config = wanted.bench, wanted.bench.config
    began = time.monotonic()
    chunks = step_chunks(bench.corpus.train, config.seed, wanted.step, config.sequences_per_step)
    bench.optimizer.zero_grad(set_to_none=True)
    with in_use(bench.model, bench.adapter), bench.randomness.in_use():
        kl = bench.gradients.accumulate(list(micro_batches(chunks, at_once, bench.loaded.device)))
    return Computed(kl, time.monotonic() - began)
