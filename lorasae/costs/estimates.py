"""What a run will take, before it starts: steps, memory and time, as arithmetic over the sizes of model, SAEs and adapter. No torch.

Multiplications are counted as the step does them that the settings want: the original model answers, the adapted model with its SAEs
answers, and the gradient flows back to the lowest adapted layer. The fast step (lorasae/core/fast/step.py) goes through the layers that
both have in common once, decodes through active features alone, and never holds the logits of a micro-batch; that a model has no fast step
is not known here. Evaluations are forward passes (lorasae/core/evaluate.py). How many of them a machine does in a second is either measured
there (lorasae/planning/probe.py) or assumed.
"""

from dataclasses import dataclass
from typing import Literal

from lorasae.config import EVALUATED_SHARE, AdapterConfig, RunConfig
from lorasae.core.fast.chunks import chunk_bytes
from lorasae.errors import LabError, nearest
from lorasae.sources.published_models import ModelSizes, Projection

Verdict = Literal["fits", "tight", "does not fit"]
TIGHT_FROM = 0.75  # of the memory there is
BEFORE_CONDITIONS, DURING_CONDITIONS, AFTER_CONDITIONS = (
    3,
    2,
    3,
)  # what no adapter changes is measured once; forward passes over the text of each evaluation

_BYTES = {"float32": 4, "bfloat16": 2}
_LIBRARIES = {"cpu": 560e6, "cuda": 600e6}  # Python, PyTorch and transformers in memory; on a GPU its context and kernels
_ADAPTER_BYTES = 16  # weight, gradient and AdamW's two moments of a trained number, all fp32
_HEAP = 1.3  # what a processor's heap holds for a byte of activations, measured; a GPU's allocator wastes little
_FAST_HEAD_COPIES = 3  # arrays of the size of the stream behind the last layer: teacher, student, gradient
_LOGIT_COPIES = 7  # arrays of the size of the logits alive in the KL and its gradient, fp32


@dataclass(frozen=True)
class PlacedSAE:
    """What the arithmetic needs of an SAE: where it sits and how large it is."""

    layer: int
    site: str
    d_in: int
    d_sae: int

    @property
    def first_layer_after(self) -> int:
        return self.layer if self.site == "before the layer" else self.layer + 1

    @property
    def n_parameters(self) -> int:
        return 2 * self.d_in * self.d_sae + 2 * self.d_sae + self.d_in


@dataclass(frozen=True)
class Speed:
    """How fast a machine works, and where that is known from."""

    step_flops: float  # per second, in training steps
    forward_flops: float  # per second, in evaluations
    start_s: float  # importing, loading, checking and reading the text, before the first evaluation
    known_from: Literal["assumed", "measured elsewhere", "measured"]  # elsewhere: on this machine, with other settings


@dataclass(frozen=True)
class Memory:
    """The peak of a run, in bytes, by what holds it."""

    libraries: float
    weights: float
    saes: float
    adapter: float  # with its gradient and optimizer state
    activations: float
    logits: float

    @property
    def total(self) -> float:
        return self.libraries + self.weights + self.saes + self.adapter + self.activations + self.logits


@dataclass(frozen=True)
class Duration:
    """The seconds of a run, by phase."""

    start_s: float
    training_s: float
    evaluating_s: float

    @property
    def total_s(self) -> float:
        return self.start_s + self.training_s + self.evaluating_s


@dataclass(frozen=True)
class Placement:
    """Where the adapter sits and how large it is."""

    layers: tuple[int, ...]
    projections: tuple[Projection, ...]
    n_trained: int


def placement(adapter: AdapterConfig, sizes: ModelSizes, saes: list[PlacedSAE]) -> Placement:
    """The layers and linear maps an adapter gets, as the run itself will decide it.

    Raises:
        LabError: If no layer is left for it, a layer does not exist, no linear map is meant, or the rank is larger than one of them.
    """
    layers = _layers(adapter, sizes, saes)
    chosen = _projections(adapter, sizes)
    smaller = min(min(projection.n_in, projection.n_out) for projection in chosen)
    if adapter.rank > smaller:
        asked = f"An adapter of rank {adapter.rank} was asked for"
        raise LabError(asked, f"The smallest side of its linear maps is {smaller}", f"Choose a rank of at most {smaller}")
    per_layer = sum(adapter.rank * (projection.n_in + projection.n_out) for projection in chosen)
    return Placement(layers, chosen, per_layer * len(layers))


def _layers(adapter: AdapterConfig, sizes: ModelSizes, saes: list[PlacedSAE]) -> tuple[int, ...]:
    if adapter.layers:
        beyond = [layer for layer in adapter.layers if not 0 <= layer < sizes.n_layers]
        if beyond:
            found = f"The model has {sizes.n_layers} layers, 0 to {sizes.n_layers - 1}"
            raise LabError(f"An adapter on layer {beyond[0]} was asked for", found, "Choose among these layers")
        return tuple(sorted(set(adapter.layers)))
    first = 0 if adapter.placement == "all" or not saes else min(sae.first_layer_after for sae in saes)
    layers = tuple(range(first, sizes.n_layers))
    if not layers:
        found = f"The SAE sits behind the last of the model's {sizes.n_layers} layers"
        raise LabError("An adapter after the SAE was asked for", found, "Choose placement: all, or an SAE at a lower layer")
    return layers


def _projections(adapter: AdapterConfig, sizes: ModelSizes) -> tuple[Projection, ...]:
    chosen: dict[str, Projection] = {}
    for wanted in adapter.modules:
        matches = [each for each in sizes.projections if wanted in (each.group, each.path, each.name)]
        if not matches:
            known = ["attention", "mlp", *sorted({each.name for each in sizes.projections})]
            found = "No linear map of this model has that name"
            raise LabError(f"An adapter on {wanted!r} was asked for", found, f"Nearest: {nearest(wanted, known, 4)}")
        chosen |= {each.path: each for each in matches}
    return tuple(chosen.values())


# Multiplications and additions


def forward_flops(config: RunConfig, sizes: ModelSizes, with_saes: list[PlacedSAE]) -> float:
    """Of one token through the model once, with these SAEs in its stream."""
    attention = 4 * config.data.context_length * sizes.n_heads * sizes.d_head * sizes.n_layers
    head = 2 * sizes.vocab * sizes.d_model
    return 2 * sizes.n_layers * sizes.layer_parameters + attention + head + sum(4 * sae.d_in * sae.d_sae for sae in with_saes)


def step_flops(config: RunConfig, sizes: ModelSizes, saes: list[PlacedSAE], placed: Placement) -> float:
    """Of one training token: teacher forward, student forward, and the gradient back to the lowest adapted layer."""
    lowest = min(placed.layers)
    n_back = sizes.n_layers - lowest
    attention_back = 8 * config.data.context_length * sizes.n_heads * sizes.d_head * n_back
    backward = 2 * n_back * sizes.layer_parameters + 2 * sizes.vocab * sizes.d_model + attention_back
    through_saes = sum(4 * sae.d_in * sae.d_sae for sae in saes if sae.first_layer_after > lowest)
    adapter = 6 * placed.n_trained
    counted = forward_flops(config, sizes, []) + forward_flops(config, sizes, saes) + backward + through_saes + adapter
    return counted - _spared_flops(config, sizes, saes, lowest) if config.train.fast else counted


def _spared_flops(config: RunConfig, sizes: ModelSizes, saes: list[PlacedSAE], lowest: int) -> float:
    """What the fast step does not do of the reference step's work: the shared layers a second time, products with features at zero."""
    shared = min([lowest, *(sae.first_layer_after for sae in saes)])
    layer = 2 * sizes.layer_parameters + 4 * config.data.context_length * sizes.n_heads * sizes.d_head
    sparse = sum((2 + 4 * (sae.first_layer_after > lowest)) * sae.d_in * sae.d_sae for sae in saes)
    return shared * layer + sparse


def evaluation_flops(config: RunConfig, sizes: ModelSizes, saes: list[PlacedSAE]) -> float:
    """Of all evaluations of the run together."""
    return evaluated_tokens(config) * forward_flops(config, sizes, saes)


def evaluated_tokens(config: RunConfig) -> float:
    """Tokens that pass through the model in evaluations, counted once per condition."""
    length = config.data.context_length
    n_chunks = _heldout_chunks(config)
    whole, part = n_chunks * length, -(-n_chunks // EVALUATED_SHARE) * length
    return whole * (BEFORE_CONDITIONS + AFTER_CONDITIONS) + config.watch.evaluations * part * DURING_CONDITIONS


def finally_evaluated_tokens(config: RunConfig) -> int:
    """The same of the measurement at the end alone."""
    return _heldout_chunks(config) * config.data.context_length * AFTER_CONDITIONS


def _heldout_chunks(config: RunConfig) -> int:
    return max(1, config.data.heldout_tokens // config.data.context_length)


def duration(config: RunConfig, sizes: ModelSizes, saes: list[PlacedSAE], placed: Placement, speed: Speed) -> Duration:
    """Seconds by phase at a speed."""
    trained = config.n_steps * config.train.tokens_per_step * step_flops(config, sizes, saes, placed)
    return Duration(speed.start_s, trained / speed.step_flops, evaluation_flops(config, sizes, saes) / speed.forward_flops)


# Memory


def memory(config: RunConfig, sizes: ModelSizes, saes: list[PlacedSAE], placed: Placement, on_gpu: bool) -> Memory:
    """The peak of a training step, by what holds it."""
    size = _BYTES[config.model.dtype]
    n_tokens = config.micro_batch_size * config.data.context_length
    heads, n_back = sizes.n_heads * sizes.d_head, sizes.n_layers - min(placed.layers)
    if config.train.fast:
        scores = 0 if on_gpu else sizes.n_heads * config.data.context_length * size  # weights and their slopes, half of them masked away
        per_layer = size * (8 * sizes.d_model + 3 * heads + 3 * sizes.d_mlp) + scores
        if config.adapter.dropout:  # what enters each map with an adapter, dropped out, and the noise in fp32
            per_layer += (size + 4) * sum(projection.n_in for projection in placed.projections)
        logits = chunk_bytes(sizes.vocab, on_gpu) + n_tokens * sizes.d_model * 4 * _FAST_HEAD_COPIES
    else:
        scores = sizes.n_heads * config.data.context_length * (3 * size + 4)  # of attention as it is written out: eager, softmax in fp32
        per_layer = size * (14 * sizes.d_model + 4 * heads + 4 * sizes.d_mlp) + scores
        logits = n_tokens * sizes.vocab * 4 * _LOGIT_COPIES
    features = (
        max((sae.d_sae for sae in saes), default=0) * 4 * (3 if any(sae.first_layer_after > min(placed.layers) for sae in saes) else 2)
    )
    return Memory(
        libraries=_LIBRARIES["cuda" if on_gpu else "cpu"],
        weights=sizes.n_parameters * size,
        saes=sum(sae.n_parameters for sae in saes) * 4,  # SAEs are kept in fp32
        adapter=placed.n_trained * _ADAPTER_BYTES,
        activations=n_tokens * (per_layer * n_back + features) * (1 if on_gpu else _HEAP),
        logits=logits,
    )


def micro_batch_that_fits(
    config: RunConfig,
    sizes: ModelSizes,
    saes: list[PlacedSAE],
    placed: Placement,
    there_is: float,
    on_gpu: bool,
    n_runs: int = 1,
) -> int:
    """Sequences at once: as many as the settings say, or the largest part of a step that fits into `there_is` bytes; 1 if none does.

    Args:
        config: The settings.
        sizes: Of the model.
        saes: Placed in it.
        placed: Where the adapter sits.
        there_is: Bytes that may be used in all, by `n_runs` that are trained together.
        on_gpu: Whether the memory is a GPU's.
        n_runs: Each has an adapter and activations of its own.
    """

    def fits(size: int) -> bool:
        needed = memory(with_micro_batch(config, size), sizes, saes, placed, on_gpu)
        return needed.total + (n_runs - 1) * (needed.adapter + needed.activations) <= there_is

    sizes_to_try = (size for size in range(config.micro_batch_size, 0, -1) if config.sequences_per_step % size == 0)
    return next(filter(fits, sizes_to_try), 1)


def with_micro_batch(config: RunConfig, size: int) -> RunConfig:
    """The same run, with so many sequences at once."""
    return config.model_copy(update={"train": config.train.model_copy(update={"micro_batch_size": size})})


def verdict(needed: float, there_is: float) -> Verdict:
    """Whether it fits: with a quarter to spare, only just, or not."""
    return "fits" if needed <= TIGHT_FROM * there_is else "tight" if needed <= there_is else "does not fit"


def change_that_fits(config: RunConfig, sizes: ModelSizes, saes: list[PlacedSAE], there_is: float, on_gpu: bool) -> str | None:
    """The change of settings that makes the run fit where one sequence at a time does not, in words; None if there is none."""
    if config.model.dtype != "float32":
        return None
    halved = with_micro_batch(config.model_copy(update={"model": config.model.model_copy(update={"dtype": "bfloat16"})}), 1)
    fits = memory(halved, sizes, saes, placement(config.adapter, sizes, saes), on_gpu).total <= there_is
    return "Set model.dtype to bfloat16" if fits else None


def assumed_speed(n_cores: int, on_gpu: bool) -> Speed:
    """For a machine nothing was measured on yet: a core of a present-day server, or a third of a data-centre GPU."""
    if on_gpu:
        return Speed(6e13, 8e13, 25.0, "assumed")
    return Speed(24e9 * max(1, n_cores), 36e9 * max(1, n_cores), 12.0, "assumed")
