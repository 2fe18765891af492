"""Runs that live in one process: each goes its own way until it needs the gradient of a step; who needs the same one gets it together.

A life is a generator (`lorasae.training.recipe.life_of`). It asks for gradients and is sent them; what it asks, nobody else has to know.
"""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from lorasae.core.fast.step import FastGradients
from lorasae.sources.data import micro_batches, step_chunks
from lorasae.training.portions import in_portions
from lorasae.training.way import Way
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
            for index, answer in _answers(_next_together(waiting)).items():
                go_on(index, partial(lives[index].throw if isinstance(answer, Exception) else lives[index].send, answer))
    except BaseException as ending:  # the process is told to end at once: each run shall say so
        for index in waiting:
            with suppress(BaseException):
                lives[index].throw(ending)
        raise
    return [outcomes[index] for index in range(len(lives))]


def _next_together(waiting: dict[int, Wanted]) -> dict[int, Wanted]:
    """Those that wait for the earliest step, and go the same way to it."""
    first = min(waiting.values(), key=lambda wanted: wanted.step)
    return {index: each for index, each in waiting.items() if each.step == first.step and _goes_with(each.bench.way, first.bench.way)}


def _goes_with(one: Way, other: Way) -> bool:
    return (one.step, one.frozen) == (other.step, other.frozen)


def _answers(wanted: dict[int, Wanted]) -> dict[int, Computed | Exception]:
    """The gradients, or for each the error that they ended with."""
    benches = [each.bench for each in wanted.values()]
    (step,) = {each.step for each in wanted.values()}
    try:
        computed = in_portions(benches, partial(_computed, benches, step))
    except Exception as error:  # noqa: BLE001  # it is thrown where the gradient was asked for
        return dict.fromkeys(wanted, error)
    return dict(zip(wanted, computed, strict=True))


def _computed(benches: Sequence[Workbench], step: int, at_once: int) -> list[Computed]:
    """The gradients of one step for the adapters of these runs, which have the same text and the same loss."""
    began = time.monotonic()
    first = benches[0]
    chunks = step_chunks(first.corpus.train, first.config.order_seed, step, first.config.sequences_per_step)
    for bench in benches:
        bench.optimizer.zero_grad(set_to_none=True)
    gradients = first.shop.gradients(first.way.step, first.config.train.kl_reduction, [bench.student for bench in benches])
    with _put_back_after_an_error(benches):
        portions = list(micro_batches(chunks, at_once, first.loaded.device))
        if isinstance(gradients, FastGradients) and first.shop.lookahead and first.way.frozen != "with the step":
            kls = gradients.accumulate_each(portions, first.shop.lookahead.of(gradients, step, at_once, first.way.frozen))
        else:
            kls = gradients.accumulate_each(portions)
    seconds = (time.monotonic() - began) / len(benches)
    return [Computed(kl, seconds) for kl in kls]


@contextmanager
def _put_back_after_an_error(benches: Sequence[Workbench]) -> Iterator[None]:
    """After an error each run's random numbers are where they were: the same step can be tried again."""
    before = [bench.randomness.state for bench in benches]
    try:
        yield
    except BaseException:
        for bench, state in zip(benches, before, strict=True):
            bench.randomness.state = state
        raise
