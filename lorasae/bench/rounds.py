"""Interleaved rounds in one process: every way takes its turn in every round, on the same tokens, each round from another starting place.

Whatever slows the machine down for a while then slows every way down, and the ratio of two turns of one round means something.
"""

import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lorasae.bench.peak import settle
from lorasae.bench.peak_memory import PeakMemory
from lorasae.bench.subject import Subject
from lorasae.bench.ways import Step, Way, started

Say = Callable[[str], None]
_TURN_S = 3.0  # that the slowest way should take, where the number of steps is not given
_MOST_STEPS = 32


@dataclass(frozen=True)
class Turn:
    """What one way did in one round."""

    way: str
    round: int
    wall_s: float
    cpu_s: float  # of all threads of this process
    n_steps: int  # of every adapter
    n_tokens: int  # of every adapter, summed over the adapters
    peak_bytes: int | None  # None: it cannot be told here
    kl: float  # of the last step, nats per position: ways that do the same agree


def rounds(subject: Subject, ways: Sequence[Way], n_rounds: int, n_steps: int | None, say: Say) -> list[Turn]:
    """Every way `n_rounds` times. One turn of each before them, of a single step, is for the machine to warm up and not kept.

    Args:
        subject: What is trained.
        ways: In the order of the table; each round starts with the next one.
        n_rounds: Rounds that count.
        n_steps: Optimizer steps of a turn; None: so many that the slowest way takes a few seconds.
        say: Told what is being done and how long the rest will take.
    """
    first: dict[str, tuple[float, float]] = {}  # way -> seconds of its step, and of its whole turn
    for way in ways:
        say(f"warming up: {way.label}")
        began = time.perf_counter()
        turn = take_turn(way, subject, 0, 1)
        first[way.key] = turn.wall_s, time.perf_counter() - began
    steps = n_steps or min(_MOST_STEPS, max(1, int(_TURN_S / max(seconds for seconds, _ in first.values()))))
    left_s = n_rounds * sum(whole + seconds * (steps - 1) for seconds, whole in first.values())
    turns, began, expected_s = [], time.perf_counter(), left_s
    for number in range(n_rounds):
        start = number % len(ways)
        for way in (*ways[start:], *ways[:start]):
            say(f"round {number + 1} of {n_rounds}: {way.label}, {steps} step{'s'[: steps > 1]}; about {max(0.0, left_s):.0f} s left")
            turns.append(take_turn(way, subject, number, steps))
            left_s = expected_s * (1 - len(turns) / (n_rounds * len(ways)))
            left_s *= (time.perf_counter() - began) / max(1e-9, expected_s - left_s)  # at the pace so far
    return turns


def take_turn(way: Way, subject: Subject, number: int, n_steps: int) -> Turn:
    """One way on the tokens of one round.

    Attaching the adapter and a first step, which may compile, are not timed; nor is what an earlier pass would have kept.
    """
    sequences, context = subject.config.sequences_per_step, subject.config.data.context_length
    text = [subject.step_tokens(number * n_steps + i, sequences) for i in range(n_steps)]
    wall = cpu = 0.0
    n_tokens, kl = 0, float("nan")
    gc.collect()
    memory = PeakMemory(subject.device)
    for ranks in way.passes(subject.config.adapter.rank):
        with started(way, subject, ranks, text) as step:
            step(text[0])
            passed = _timed(step, text, subject.device)
        wall, cpu, kl = wall + passed[0], cpu + passed[1], passed[2]
        n_tokens += n_steps * sequences * context * len(ranks)
    return Turn(way.key, number, wall, cpu, n_steps, n_tokens, memory.bytes(), kl)


def _timed(step: Step, text: Sequence[Tensor], device: torch.device) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds, and the KL of the last step."""
    kl = float("nan")
    settle(device)
    wall, cpu = time.perf_counter(), time.process_time()
    for ids in text:
        kl = step(ids)
    settle(device)
    return time.perf_counter() - wall, time.process_time() - cpu, kl
