"""What the browser shows before a run starts: steps, memory and time, with what is reckoned and what was measured kept apart."""

from typing import Any

from lorasae.config import RunConfig
from lorasae.costs.estimates import (
    TIGHT_FROM,
    Memory,
    PlacedSAE,
    change_that_fits,
    duration,
    memory,
    micro_batch_that_fits,
    placement,
    step_flops,
    verdict,
    with_micro_batch,
)
from lorasae.costs.machine import this_machine
from lorasae.costs.model_sizes import is_here, sizes_of
from lorasae.errors import LabError
from lorasae.planning.probing import Measured, Probing, placed_saes, runs_on_gpu
from lorasae.planning.to_download import download_forecast
from lorasae.sources.catalog import narrower, resolve
from lorasae.sources.published_models import ModelSizes

_PARTS = {
    "libraries": "Python and PyTorch",
    "weights": "model weights",
    "saes": "SAE",
    "adapter": "adapter and its optimizer",
    "activations": "activations kept for the gradient",
    "logits": "next-token predictions",
}


def forecast(config: RunConfig, probing: Probing, visitor: str = "") -> dict[str, Any]:
    """Everything about a run that can be known before it starts, as JSON; `visitor` is told the names of his own runs only.

    Raises:
        LabError: If the adapter cannot be placed, or an SAE is not known.
    """
    steps = {
        "n_steps": config.n_steps,
        "tokens": config.n_steps * config.train.tokens_per_step,
        "tokens_per_step": config.train.tokens_per_step,
        "sequences_per_step": config.sequences_per_step,
        "micro_batch_size": config.micro_batch_size,
        "n_evaluations": config.watch.evaluations,
        "download": download_forecast(config),
    }
    sizes = sizes_of(config.model)
    if sizes is None:
        return {
            **steps,
            "unknown": f"How large {config.model.model} is, is not known here: its config.json is on the Hub. The run reads it first.",
        }
    saes = placed_saes(config, sizes)
    placed = placement(config.adapter, sizes, saes)
    machine = this_machine()
    on_gpu = runs_on_gpu(config, machine)
    there_is = machine.gpu_bytes if on_gpu else machine.ram_bytes
    speed, exact = probing.speed(config)
    fitting = micro_batch_that_fits(config, sizes, saes, placed, TIGHT_FROM * there_is, on_gpu)
    config = with_micro_batch(config, fitting)
    parts = memory(config, sizes, saes, placed, on_gpu)
    needed = exact.peak_bytes if exact else parts.total
    fits = verdict(needed, there_is)
    takes = duration(config, sizes, saes, placed, speed)
    other = None if exact else probing.latest()
    source = exact or other
    return {
        **steps,
        "micro_batch_that_fits": fitting,
        "unknown": None,
        "n_layers": sizes.n_layers,
        "n_parameters": sizes.n_parameters,
        "layers": placed.layers,
        "n_trained": placed.n_trained,
        "memory": {
            "parts": [{"label": _PARTS[name], "bytes": getattr(parts, name)} for name in Memory.__dataclass_fields__],
            "reckoned_bytes": parts.total,
            "measured_bytes": exact.peak_bytes if exact else None,
            "there_is_bytes": there_is,
            "where": machine.gpu if on_gpu else "memory of this machine",
            "verdict": fits,
            "change": smaller_run(config, sizes, saes, there_is, on_gpu) if fits == "does not fit" else None,
        },
        "time": {**vars(takes), "total_s": takes.total_s},
        "tokens_per_s": speed.step_flops / step_flops(config, sizes, saes, placed),
        "known_from": speed.known_from,
        "measured": source.measured if source else None,
        "measured_in": _run_named(source, visitor),
        "measured_of": other.of if other else None,
        "machine": machine.name,
    }


def smaller_run(config: RunConfig, sizes: ModelSizes, saes: list[PlacedSAE], there_is: float, on_gpu: bool) -> str | None:
    """The smallest change that makes it fit: of settings, or else a narrower SAE at the same place, the widest that fits."""
    change = change_that_fits(config, sizes, saes, there_is, on_gpu)
    if change or len(config.saes) != 1:
        return change
    for other in narrower(resolve(config.saes[0]), config.model.model):
        changed = config.model_copy(update={"saes": (other.ref,)})
        placed = placed_saes(changed, sizes)
        choice = f"Choose the SAE of {other.d_sae:,} features: {other.ref}"
        if memory(changed, sizes, placed, placement(changed.adapter, sizes, placed), on_gpu).total <= there_is:
            return choice
        if further := change_that_fits(changed, sizes, placed, there_is, on_gpu):
            return f"{choice}. And {further[0].lower()}{further[1:]}"
    return None


def _run_named(source: Measured | None, visitor: str) -> dict[str, Any] | None:
    """The finished run that a speed is known from, if it is one: its name, if it is the visitor's."""
    if source is None or source.run is None:
        return None
    own = source.run_owner == visitor
    return {"own": own, "name": source.run if own else None}


def why_not_measured(config: RunConfig, fits: str, training: bool) -> str | None:
    """Why these settings cannot be measured now, in a sentence; None if they can."""
    if training:
        return "A run is training on this machine: a measurement now would disturb it, and be wrong. It can be made when the run is done."
    if fits == "does not fit":
        return "It does not fit into memory, so there is nothing to measure."
    if not is_here(config.model):
        return f"{config.model.model} is not on this machine yet, so its speed cannot be measured before the run has fetched it."
    return None


def measured_forecast(config: RunConfig, probing: Probing) -> dict[str, Any]:
    """Measure now, then reckon with it.

    Raises:
        LabError: If it cannot be measured.
    """
    before = forecast(config, probing)
    if before["unknown"]:
        raise LabError("A measurement of these settings was asked for", before["unknown"], "Start the run")
    probing.measure(config)
    return forecast(config, probing)
