"""What is known of this machine's speed. No torch.

Finished runs showed it (lorasae/planning/finished_runs.py), or measurements by lorasae/planning/probe.py, kept on disk under what they
depend on.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from lorasae.config import RunConfig
from lorasae.costs.estimates import PlacedSAE, Speed, assumed_speed, finally_evaluated_tokens, forward_flops, placement, step_flops
from lorasae.costs.machine import Machine, this_machine
from lorasae.costs.model_sizes import ModelSizes, is_here, sizes_of
from lorasae.errors import LabError
from lorasae.planning.errand import Errands
from lorasae.planning.finished_runs import FinishedRun, FinishedRuns
from lorasae.sources.catalog import resolve, site_of
from lorasae.store.durable import write_json
from lorasae.store.run_folder import now

LIMIT_S = 90


@dataclass(frozen=True)
class Measured:
    """One measurement."""

    start_s: float
    step_s_per_token: float
    evaluation_s_per_token: float
    peak_bytes: float
    step_flops: float  # per second, by the arithmetic of lorasae/costs/estimates.py
    forward_flops: float
    measured: str  # when
    of: str  # which model, in a word
    run: str | None = None  # the name of the run that showed it; None where it was a short measurement
    run_owner: str | None = None


class Probing:
    """Measures, remembers, and answers with the best that is known."""

    def __init__(self, home: Path, errands: Errands) -> None:
        self._folder, self._errands = home / "cache" / "speed", errands
        self._finished = FinishedRuns(home)

    def speed(self, config: RunConfig) -> tuple[Speed, Measured | None]:
        """The speed to reckon with, and the measurement of just these settings if there is one."""
        exact = self.measured(config)
        if exact:
            return Speed(exact.step_flops, exact.forward_flops, exact.start_s, "measured"), exact
        other = self.latest()
        if other:
            return Speed(other.step_flops, other.forward_flops, other.start_s, "measured elsewhere"), None
        machine = this_machine()
        return assumed_speed(machine.n_cores, runs_on_gpu(config, machine)), None

    def measured(self, config: RunConfig) -> Measured | None:
        """How just these settings ran on this machine: in the newest finished run with them, else in a short measurement."""
        key = _key(config)
        alike = (run for run in self._finished.newest() if run.config.model.model == config.model.model and _key_or_none(run.config) == key)
        return next((found for run in alike if (found := _seen(run))), None) or _read(self._path(config))

    def latest(self) -> Measured | None:
        """The newest that this machine showed, with whatever settings."""
        paths = sorted(self._folder.glob(f"{_machine_key()}-*.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        probed = next((found for path in paths if (found := _read(path))), None)
        ran = next((found for run in self._finished.newest() if (found := _seen(run))), None)
        return max(filter(None, (probed, ran)), key=lambda found: datetime.fromisoformat(found.measured), default=None)

    def measure(self, config: RunConfig) -> Measured:
        """Measure now: some ten seconds in a process of its own.

        Raises:
            LabError: If the model or an SAE is not on this machine, its sizes are unknown, or the measurement fails or takes too long.
        """
        asked = "A measurement of these settings was asked for"
        sizes = sizes_of(config.model)
        if not is_here(config.model) or sizes is None:
            raise LabError(
                asked, f"{config.model.model} is not on this machine yet", "Start the run: it fetches the model and shows its own speed"
            )
        saes = placed_saes(config, sizes)
        placed = placement(config.adapter, sizes, saes)
        found = self._errands.run("lorasae.planning.probe", config.model_dump(mode="json"), asked, LIMIT_S)
        measured = Measured(
            **found,
            step_flops=step_flops(config, sizes, saes, placed) / found["step_s_per_token"],
            forward_flops=forward_flops(config, sizes, saes) / found["evaluation_s_per_token"],
            measured=now(),
            of=config.model.model,
        )
        self._folder.mkdir(parents=True, exist_ok=True)
        write_json(self._path(config), vars(measured))
        return measured

    def _path(self, config: RunConfig) -> Path:
        return self._folder / f"{_machine_key()}-{_key(config)}.json"


def _seen(run: FinishedRun) -> Measured | None:
    """What a finished run showed, as a measurement of its settings; None if its model or SAEs are no longer known."""
    config = run.config
    try:
        sizes = sizes_of(config.model)
        saes = placed_saes(config, sizes) if sizes else []
        placed = placement(config.adapter, sizes, saes) if sizes else None
    except LabError:
        return None
    if sizes is None or placed is None or run.tokens_per_s <= 0:
        return None
    machine = this_machine()
    assumed = assumed_speed(machine.n_cores, runs_on_gpu(config, machine))
    speed = run.tokens_per_s * step_flops(config, sizes, saes, placed)
    forward = forward_flops(config, sizes, saes)
    evaluated = finally_evaluated_tokens(config)
    s_per_token = run.final_measurement_s / evaluated or forward / (speed * assumed.forward_flops / assumed.step_flops)
    return Measured(
        start_s=max(run.loading_s, assumed.start_s),  # the log begins when Python and torch are there
        step_s_per_token=1 / run.tokens_per_s,
        evaluation_s_per_token=s_per_token,
        peak_bytes=run.peak_bytes,
        step_flops=speed,
        forward_flops=forward / s_per_token,
        measured=run.ended,
        of=config.model.model,
        run=run.name,
        run_owner=run.owner,
    )


def placed_saes(config: RunConfig, sizes: ModelSizes) -> list[PlacedSAE]:
    """The config's SAEs as the arithmetic sees them; a width or size that nobody states is taken for the usual eightfold.

    Raises:
        LabError: For an SAE that is not known.
    """
    placed = []
    for ref in config.saes:
        card = resolve(ref)
        d_in = card.d_in or (sizes.n_heads * sizes.d_head if site_of(card) == "attention heads" else sizes.d_model)
        placed.append(PlacedSAE(max(card.layer, 0), site_of(card), d_in, card.d_sae or 8 * d_in))
    return placed


def runs_on_gpu(config: RunConfig, machine: Machine) -> bool:
    """Whether the run would use the GPU."""
    return machine.gpu is not None and config.model.device != "cpu"


def _key(config: RunConfig) -> str:
    """Names what a step's time and memory depend on."""
    what = {
        "model": config.model.model_dump(mode="json"),
        "saes": [str(resolve(ref).ref) for ref in config.saes],
        "adapter": config.adapter.model_dump(mode="json", exclude={"alpha"}),
        "fast": config.train.fast,
        "context": config.data.context_length,
        "micro_batch": config.micro_batch_size,
        "micro_batches": config.sequences_per_step // config.micro_batch_size,
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:20]


def _key_or_none(config: RunConfig) -> str | None:
    """The same of a run's config, whose SAEs may be gone by now."""
    try:
        return _key(config)
    except LabError:
        return None


def _machine_key() -> str:
    return hashlib.sha256(this_machine().name.encode()).hexdigest()[:8]


def _read(path: Path) -> Measured | None:
    try:
        content: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Measured(**content)
    except (OSError, ValueError, TypeError):
        return None
