"""The ways of training that are held against each other. Each begins with the same fresh adapter and sees the same tokens."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from lorasae.bench.authors_loop import authors_loop
from lorasae.bench.flops import Parts, Scene, causal_keys, shared, two_forwards
from lorasae.bench.subject import Subject, bytes_here, bytes_needed
from lorasae.config import Dtype, RunConfig, overlay, run_config
from lorasae.core.adapter import ALONE, adapter_parameters, attach, placed_layers
from lorasae.core.fast.anatomy import NoAnatomy, anatomy
from lorasae.core.fast.attention import QUERY_BLOCK
from lorasae.core.fast.maps import MERGED_BYTES
from lorasae.core.fast.step import FastGradients, Student
from lorasae.core.hook_points import HookPoint
from lorasae.core.randomness import Randomness
from lorasae.core.splice import Transform
from lorasae.core.step import ReferenceGradients, moved, optimizer_step
from lorasae.errors import LabError, nearest

Step = Callable[[Tensor], float]  # token ids (sequences, context) -> their KL, nats per position
Loop = Literal["authors", "reference", "fast"]
Ranks = tuple[int, ...]  # of the adapters that are trained together
N_SWEPT = 5


@dataclass(frozen=True)
class Way:
    """One way of training, and what it is held against."""

    key: str
    label: str
    loop: Loop
    against: str = "authors"  # key of the way that its speed is divided by
    dtype: Dtype | None = None  # of the weights, where the way fixes it
    placement: Literal["after", "all"] | None = None
    flushes_cache: bool = False
    sweep: Literal["no", "in turn", "together"] = "no"  # one rank, or five
    again: bool = False  # the text was gone through before, and what is frozen was kept

    def config_for(self, asked: RunConfig) -> RunConfig:
        """The settings this way is measured under: those asked for, but for what it fixes itself."""
        fixed = {"model": {"dtype": self.dtype} if self.dtype else {}, "adapter": {"placement": self.placement} if self.placement else {}}
        return run_config(overlay(asked.model_dump(mode="json"), fixed))

    def passes(self, rank: int) -> tuple[Ranks, ...]:
        """The adapters of each of the way's passes over the tokens."""
        if self.sweep == "no":
            return ((rank,),)
        ranks = swept_ranks(rank)
        return (ranks,) if self.sweep == "together" else tuple((each,) for each in ranks)


WAYS = {
    way.key: way
    for way in (
        Way("authors", "authors' loop", "authors"),
        Way("authors-flush", "authors' loop, cache flushed every step", "authors", flushes_cache=True),
        Way("authors-fp32-all", "authors' loop, fp32, all layers", "authors", dtype="float32", placement="all", flushes_cache=True),
        Way("authors-bf16-after", "authors' loop, bf16, after the SAE", "authors", dtype="bfloat16", placement="after", flushes_cache=True),
        Way("authors-sweep", "authors' loop, five ranks in turn", "authors", against="authors-sweep", sweep="in turn"),
        Way("reference", "our reference step", "reference"),
        Way("fast", "fast step", "fast"),
        Way("fast-again", "fast step, text gone through again", "fast", again=True),
        Way("fast-sweep", "fast step, five ranks together", "fast", against="authors-sweep", sweep="together"),
    )
}


def chosen_ways(names: list[str]) -> list[Way]:
    """The named ways, each with the one it is held against, in the table's order.

    Raises:
        LabError: For an unknown name.
    """
    for name in names:
        if name not in WAYS:
            raise LabError(f"The way {name!r} was asked for", f"There are: {', '.join(WAYS)}", f"Nearest: {nearest(name, list(WAYS))}")
    wanted = {*names, *(WAYS[name].against for name in names)}
    return [way for key, way in WAYS.items() if key in wanted]


def default_ways(subject: Subject, quick: bool) -> list[Way]:
    """All that mean something here: a cache is flushed on a GPU only, and the quick benchmark keeps to one precision and placement."""
    own = subject.config.model.dtype, subject.config.adapter.placement
    dull = set() if subject.device.type == "cuda" else {"authors-flush"}
    dull |= {way.key for way in WAYS.values() if quick and (way.dtype or own[0], way.placement or own[1]) != own}
    return [way for way in WAYS.values() if way.key not in dull]


def fitting(ways: list[Way], subject: Subject) -> tuple[list[Way], list[str]]:
    """The ways that there are for this model and for which memory suffices, and a sentence about each of the others."""
    kept, notes, there_is = [], [], bytes_here(subject.device)
    no_fast_step = _why_not_fast(subject)
    if no_fast_step and any(way.loop == "fast" for way in ways):
        notes.append(f"Left out: the fast step, because {no_fast_step}.")
    for way in ways:
        if way.loop == "fast" and no_fast_step:
            continue
        needed = bytes_needed(way.config_for(subject.config), subject.sizes, subject.placed_saes, subject.device)
        if needed <= there_is:
            kept.append(way)
        else:
            notes.append(f"Left out: {way.label}. It needs about {needed / 1e9:,.1f} GB; there are {there_is / 1e9:,.1f} GB.")
    if subject.device.type == "cpu" and any(way.flushes_cache for way in kept):
        notes.append("Without a GPU there is no cache to flush: that part of the authors' loop is passed over.")
    return kept, notes


def _why_not_fast(subject: Subject) -> str:
    try:
        anatomy(subject.model)
    except NoAnatomy as reason:
        return str(reason)
    return ""


def swept_ranks(rank: int) -> Ranks:
    """The ranks of a sweep: `rank`, halved four times, lowest first."""
    return tuple(max(rank >> i, 1) for i in reversed(range(N_SWEPT)))


def flops_per_token(way: Way, subject: Subject) -> float:
    """Floating-point operations of one token and adapter."""
    passes = way.passes(subject.config.adapter.rank)
    return sum(sum(operations(way, subject, ranks).values()) for ranks in passes) / sum(map(len, passes))


def operations(way: Way, subject: Subject, ranks: Ranks) -> Parts:
    """Floating-point operations of one pass over one token, by part."""
    config = way.config_for(subject.config)
    context, layers = config.data.context_length, _layers(config, subject)
    scene = Scene(subject.sizes, tuple(subject.placed_saes), layers, ranks, context)
    if way.loop != "fast":
        return two_forwards(scene)
    keys = [causal_keys(context, QUERY_BLOCK, block.attention.window) for block in anatomy(subject.model).blocks]
    adapted_bytes = 4 * len(layers) * subject.sizes.layer_parameters
    merges = config.model.dtype == "float32" and not config.adapter.dropout and adapted_bytes <= MERGED_BYTES
    return shared(scene, keys, config.train.tokens_per_step if merges else None, kept=way.again)


def _layers(config: RunConfig, subject: Subject) -> tuple[int, ...]:
    return placed_layers(config.adapter.placement, (), list(subject.saes), subject.sizes.n_layers)


@contextmanager
def started(way: Way, subject: Subject, ranks: Ranks, text: Sequence[Tensor] = ()) -> Iterator[Step]:
    """One pass of the way on the subject's model, which is bare again when the block ends.

    Args:
        way: How it is trained.
        subject: What is trained.
        ranks: Of the adapters that are trained together.
        text: The tokens of every step to come; needed by a way that went through them before.

    Yields:
        What takes one optimizer step.
    """
    config = way.config_for(subject.config)
    begin = _LOOPS[way.loop]
    with (
        subject.held_as(getattr(torch, config.model.dtype), "eager" if way.loop == "authors" else None),
        begin(way, config, subject, ranks, text) as step,
    ):
        yield step


@contextmanager
def _adapted(config: RunConfig, subject: Subject, ranks: Ranks) -> Iterator[torch.nn.Module]:
    """Fresh adapters on the model, each as it would begin alone in any way, and gone with the block."""
    adapter, layers, model = config.adapter, _layers(config, subject), subject.model
    for name, rank in zip(_names(ranks), ranks, strict=True):
        torch.manual_seed(config.seed)
        model = attach(model, layers, adapter.modules, rank, adapter.alpha, adapter.dropout, name)
    try:
        yield model
    finally:
        model.unload()  # type: ignore[operator]


def _names(ranks: Ranks) -> list[str]:
    return [ALONE, *(f"further_{number}" for number in range(1, len(ranks)))]


def _transforms(subject: Subject) -> dict[HookPoint, Transform]:
    return {hook_point: sae.reconstruct for hook_point, sae in subject.saes.items()}


@contextmanager
def _authors(way: Way, config: RunConfig, subject: Subject, ranks: Ranks, _text: Sequence[Tensor]) -> Iterator[Step]:
    saes, learning_rate = _transforms(subject), config.train.learning_rate
    with (
        _adapted(config, subject, ranks) as model,
        authors_loop(model, saes, subject.special_tokens, learning_rate, flushes_cache=way.flushes_cache) as loop,
    ):
        yield lambda ids: loop.step(ids) / ids.shape[1]


@contextmanager
def _reference(_way: Way, config: RunConfig, subject: Subject, ranks: Ranks, _text: Sequence[Tensor]) -> Iterator[Step]:
    train = config.train
    with _adapted(config, subject, ranks) as model:
        optimizer = torch.optim.AdamW(adapter_parameters(model), lr=train.learning_rate, weight_decay=train.weight_decay, fused=True)
        gradients = ReferenceGradients(model, _transforms(subject), subject.special_tokens, train.kl_reduction)
        yield (
            lambda ids: optimizer_step(gradients, optimizer, [ids], learning_rate=train.learning_rate, gradient_clip=train.gradient_clip).kl
        )


@contextmanager
def _fast(way: Way, config: RunConfig, subject: Subject, ranks: Ranks, text: Sequence[Tensor]) -> Iterator[Step]:
    train = config.train
    with _adapted(config, subject, ranks) as model:
        students = [Student(name, Randomness(config.seed, subject.device)) for name in _names(ranks)]
        gradients = FastGradients(model, subject.saes, subject.special_tokens, train.kl_reduction, students)
        optimizers = [
            torch.optim.AdamW(adapter_parameters(model, name), lr=train.learning_rate, weight_decay=train.weight_decay, fused=True)
            for name in _names(ranks)
        ]
        kept = {ids: gradients.frozen(ids) for ids in text if way.again}

        def step(ids: Tensor) -> float:
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=True)
            kls = gradients.accumulate_each([ids], [kept[ids]] if way.again else None)
            for optimizer, kl in zip(optimizers, kls, strict=True):
                moved(optimizer, kl, learning_rate=train.learning_rate, gradient_clip=train.gradient_clip)
            return kls[-1]

        yield step


_LOOPS: dict[Loop, Callable[..., AbstractContextManager[Step]]] = {"authors": _authors, "reference": _reference, "fast": _fast}
