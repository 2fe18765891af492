"""End to end: how long until a share of the gap is closed on held-out text, our recipe against the research code's loop and recipe.

Both see the same model, SAE, text and context; each trains as it is meant to. What counts is training time: evaluations are taken out.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise

import torch

from lorasae.bench.authors_loop import authors_loop
from lorasae.bench.rounds import Say
from lorasae.config import RunConfig, overlay, run_config
from lorasae.core.adapter import adapter_parameters, attach, placed_layers
from lorasae.core.evaluate import measure
from lorasae.core.fast.step import FastGradients
from lorasae.core.hook_points import HookPoint, decoder_blocks
from lorasae.core.splice import Transform
from lorasae.core.step import learning_rate_at, optimizer_step
from lorasae.sources.data import Corpus, micro_batches, prepare, step_chunks
from lorasae.sources.language_model import load_tokenizer
from lorasae.sources.loading import Loaded, load

SHARES = (0.25, 0.5, 0.75, 0.9)  # of the final improvement
_FIRST_EVALUATION, _GROWTH = 4096, 1.35  # tokens; each evaluation comes that much later than the one before
_AUTHORS_TOKENS = 15_360_000  # as many as they trained on; the budget ends it long before
_TEXT_PER_CPU_S = 2500  # tokens of text prepared per CPU-second of the budget: more than the research code's loop gets through
_WINDOW = 8  # sequences per forward pass of an evaluation


@dataclass(frozen=True)
class Point:
    """Where a recipe stands after so much training."""

    tokens: int
    cpu_s: float
    wall_s: float
    gap_closed: float


@dataclass(frozen=True)
class Run:
    """One recipe's way through one seed."""

    recipe: str
    seed: int
    points: tuple[Point, ...]  # the first at nothing

    @property
    def best(self) -> float:
        return max(point.gap_closed for point in self.points)

    def reached(self, gap_closed: float) -> Point | None:
        """Where it first closed so much, between two evaluations on the straight line between them; None if it did not."""
        for before, after in pairwise(self.points):
            if after.gap_closed >= gap_closed:
                t = (gap_closed - before.gap_closed) / ((after.gap_closed - before.gap_closed) or 1)
                return Point(
                    round(before.tokens + t * (after.tokens - before.tokens)),
                    before.cpu_s + t * (after.cpu_s - before.cpu_s),
                    before.wall_s + t * (after.wall_s - before.wall_s),
                    gap_closed,
                )
        return None


def race(model: str, context: int, seeds: Sequence[int], budget_s: float, say: Say, heldout_tokens: int = 12_288) -> list[Run]:
    """Both recipes once per seed, ours first: what it reaches sets the goals of the other.

    Args:
        model: A name as in RunConfig, with its default SAE.
        context: Tokens per sequence, of both recipes.
        seeds: Of adapter, order of the text and dropout.
        budget_s: CPU-seconds of training after which a recipe is stopped.
        say: Told how far each is.
        heldout_tokens: On which both are measured.
    """
    runs: list[Run] = []
    common = {"model": {"model": model}, "data": {"source": "pocket", "context_length": context, "heldout_tokens": heldout_tokens}}
    ours = run_config(common)
    say(f"reading the text that both recipes see, {max(ours.train.tokens, int(_TEXT_PER_CPU_S * budget_s)):,} tokens")
    corpus = prepare(ours.data, load_tokenizer(ours.model), max(ours.train.tokens, int(_TEXT_PER_CPU_S * budget_s)))
    theirs = run_config(overlay(common, {"train": _one_sequence(context)}), "paper")
    for seed in seeds:
        won = _run("ours", _seeded(ours, seed), corpus, None, budget_s, say)
        runs += [won, _run("authors", _seeded(theirs, seed), corpus, SHARES[-1] * won.best, budget_s, say)]
    return runs


def _seeded(config: RunConfig, seed: int) -> RunConfig:
    return config.model_copy(update={"seed": seed})


def _one_sequence(context: int) -> dict[str, int]:
    return {"tokens_per_step": context, "micro_batch_size": 1, "tokens": _AUTHORS_TOKENS}


def _run(recipe: str, config: RunConfig, corpus: Corpus, goal: float | None, budget_s: float, say: Say) -> Run:
    loaded = load(config)
    with _TRAINING[recipe](config, loaded) as (model, take_step):
        gap_closed = _GapClosed(model, loaded, corpus)
        points = [Point(0, 0.0, 0.0, 0.0)]
        cpu = wall = 0.0
        evaluate_at = float(_FIRST_EVALUATION)
        for step in range(config.n_steps):
            chunks = step_chunks(corpus.train, config.seed, step, config.sequences_per_step)
            cpu_before, wall_before = time.process_time(), time.perf_counter()
            take_step(step, chunks.to(loaded.device))
            cpu, wall = cpu + time.process_time() - cpu_before, wall + time.perf_counter() - wall_before
            tokens = (step + 1) * config.train.tokens_per_step
            if tokens >= evaluate_at or step == config.n_steps - 1 or cpu >= budget_s:
                points.append(Point(tokens, cpu, wall, gap_closed()))
                evaluate_at = tokens * _GROWTH
                say(f"seed {config.seed}, {recipe}: {points[-1].gap_closed:.1%} closed after {tokens:,} tokens, {cpu:,.1f} CPU-s")
                if cpu >= budget_s or (goal is not None and points[-1].gap_closed >= goal):
                    break
    return Run(recipe, config.seed, tuple(points))


class _GapClosed:
    """Of the adapter as it is, on the held-out text; the conditions without it are measured once."""

    def __init__(self, model: torch.nn.Module, loaded: Loaded, corpus: Corpus) -> None:
        self._model, self._loaded, self._corpus = model, loaded, corpus
        self._floor, self._damage = (self._ce("original_sae")[name] for name in ("ce_original", "ce_original_sae"))

    def __call__(self) -> float:
        return 1 - (self._ce("adapted_sae")["ce_adapted_sae"] - self._floor) / (self._damage - self._floor)

    def _ce(self, condition: str) -> dict[str, float]:
        batches = micro_batches(self._corpus.heldout, _WINDOW, self._loaded.device)
        measured = measure(self._model, batches, self._loaded.saes, self._loaded.special_tokens, (condition,))  # type: ignore[arg-type]
        return {name: value for name, (value, _) in measured.metrics().items()}


TakeStep = Callable[[int, torch.Tensor], object]  # number of the step, (sequences, context)


@contextmanager
def _ours(config: RunConfig, loaded: Loaded) -> Iterator[tuple[torch.nn.Module, TakeStep]]:
    train, model = config.train, _attached(config, loaded)
    optimizer = torch.optim.AdamW(adapter_parameters(model), lr=train.learning_rate, weight_decay=train.weight_decay, fused=True)
    gradients = FastGradients(model, loaded.saes, loaded.special_tokens, train.kl_reduction)

    def take_step(step: int, ids: torch.Tensor) -> None:
        optimizer_step(
            gradients,
            optimizer,
            list(ids.split(config.micro_batch_size)),
            learning_rate=learning_rate_at(step, config.n_steps, train.learning_rate, train.schedule, train.warmup_fraction),
            gradient_clip=train.gradient_clip,
        )

    yield model, take_step


@contextmanager
def _authors(config: RunConfig, loaded: Loaded) -> Iterator[tuple[torch.nn.Module, TakeStep]]:
    loaded.model.set_attn_implementation("eager")
    model = _attached(config, loaded)
    with authors_loop(model, _transforms(loaded), loaded.special_tokens, config.train.learning_rate) as loop:
        yield model, lambda _step, ids: loop.step(ids)


_TRAINING = {"ours": _ours, "authors": _authors}


def _attached(config: RunConfig, loaded: Loaded) -> torch.nn.Module:
    torch.manual_seed(config.seed)
    adapter = config.adapter
    layers = placed_layers(adapter.placement, adapter.layers, list(loaded.saes), len(decoder_blocks(loaded.model)))
    return attach(loaded.model, layers, adapter.modules, adapter.rank, adapter.alpha, adapter.dropout)


def _transforms(loaded: Loaded) -> dict[HookPoint, Transform]:
    return {hook_point: sae.reconstruct for hook_point, sae in loaded.saes.items()}
