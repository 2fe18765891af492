"""What the phases of one run share, and how its state goes into a checkpoint and comes back."""

import math
import shutil
from dataclasses import dataclass, replace
from typing import Any

import torch
from peft import PeftModel

from lorasae.config import RunConfig
from lorasae.core.adapter import ALONE, adapter_weights, load_adapter_weights
from lorasae.core.evaluate import Measurement
from lorasae.core.hook_points import HookPoint, module_path, place
from lorasae.core.randomness import Randomness
from lorasae.core.step import Student
from lorasae.errors import LabError
from lorasae.sources.data import Corpus
from lorasae.sources.loading import Loaded
from lorasae.store.checkpoints import Checkpoint
from lorasae.store.device_turns import Turn
from lorasae.store.run_folder import Run
from lorasae.store.started_from import origin_of_start
from lorasae.training.heldout_part import part_of, size_of_part
from lorasae.training.pace import Pace
from lorasae.training.way import Way, record_way
from lorasae.training.workshop import Workshop


@dataclass
class Workbench:
    """What the phases of one run share."""

    run: Run
    config: RunConfig
    loaded: Loaded
    corpus: Corpus
    model: PeftModel  # which may hold the adapters of other runs too
    adapter: str  # the name of this run's
    randomness: Randomness  # of its start and its dropout
    optimizer: torch.optim.Optimizer
    way: Way
    pace: Pace
    shop: Workshop  # where other runs may be at work too
    turn: Turn  # at the device, which inspection may want too

    @property
    def student(self) -> Student:
        return Student(self.adapter, self.randomness)

    def go(self, way: Way) -> None:
        """Compute this way from now on, whenever the run goes on."""
        self.way = way
        record_way(self.run, way)
        n_heldout = len(self.corpus.heldout)
        self.pace.plan(self.config, n_heldout, size_of_part(n_heldout), way.micro_batch_size)

    def halve(self, at_once: int) -> None:
        """Compute half as many sequences at once from now on as the `at_once` that did not fit, and hold nothing for later."""
        self.shop.lookahead = None
        self.go(replace(self.way, micro_batch_size=max(1, at_once // 2), frozen="with the step"))

    @property
    def part(self) -> list[int]:
        """Which held-out sequences an evaluation during training uses."""
        return part_of(self.run, len(self.corpus.heldout))


def snapshot(bench: Workbench, step: int) -> Checkpoint:
    """The state after `step` optimizer steps."""
    optimizer = {
        f"{index}.{name}": value for index, entry in bench.optimizer.state_dict()["state"].items() for name, value in entry.items()
    }
    pace = bench.pace
    clocks = {"train_s": pace.train_s, "evaluation_s": pace.evaluation_s, "forward_s": pace.forward_s}
    state = {**clocks, "corpus": bench.corpus.fingerprint, "run_id": bench.run.run_id}
    return Checkpoint(step, adapter_weights(bench.model, bench.adapter), optimizer, bench.randomness.state, state)


def take_up(bench: Workbench, checkpoint: Checkpoint) -> None:
    """Put a checkpoint's state back.

    Raises:
        LabError: If it is another run's, or the text is no longer the text the run was trained on.
    """
    if checkpoint.state["run_id"] != bench.run.run_id:
        raise LabError(
            f"The run {bench.run.run_id} was to go on from step {checkpoint.step}",
            f"That checkpoint belongs to the run {checkpoint.state['run_id']}",
            "Take it out of the folder",
        )
    if checkpoint.state["corpus"] != bench.corpus.fingerprint:
        raise LabError(
            f"The run {bench.run.run_id} was to go on from step {checkpoint.step}",
            f"The text read from {bench.config.data.source} is not what it was when the run started",
            "Restore the text, or start a new run",
        )
    load_adapter_weights(bench.model, checkpoint.adapter, bench.adapter)
    entries: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in checkpoint.optimizer.items():
        index, _, key = name.partition(".")
        entries.setdefault(int(index), {})[key] = value
    bench.optimizer.load_state_dict({"state": entries, "param_groups": bench.optimizer.state_dict()["param_groups"]})
    bench.randomness.state = checkpoint.random
    pace, clocks = bench.pace, checkpoint.state
    pace.train_s, pace.evaluation_s, pace.forward_s = clocks["train_s"], clocks.get("evaluation_s", 0.0), clocks.get("forward_s")


def save(bench: Workbench, after: Measurement, step: int) -> dict[str, Any]:
    """The adapter in PEFT format and lorasae.json, each whole or not there."""
    run, config = bench.run, bench.config
    peft_config = bench.model.peft_config[bench.adapter]
    peft_config.base_model_name_or_path, peft_config.revision = config.model.model, bench.loaded.commits.model
    beside = run.folder / "adapter.tmp"
    shutil.rmtree(beside, ignore_errors=True)
    bench.model.save_pretrained(str(beside), selected_adapters=[bench.adapter], save_embedding_layers=False)  # "auto" would ask the Hub
    (beside / "README.md").unlink(missing_ok=True)  # PEFT's empty template
    shutil.rmtree(run.adapter, ignore_errors=True)
    (beside if bench.adapter == ALONE else beside / bench.adapter).replace(run.adapter)  # PEFT's own places for them
    shutil.rmtree(beside, ignore_errors=True)
    result = {
        "step": step,
        "n_steps": config.n_steps,
        "config": config.model_dump(mode="json"),
        "model_revision": bench.loaded.commits.model,
        "saes": [_sae_record(bench, hook_point, after) for hook_point in sorted(bench.loaded.saes)],
        "special_tokens": {"bypassed": bench.loaded.special_tokens.bypassed, "unscored": bench.loaded.special_tokens.unscored},
        "heldout": {"n_sequences": len(bench.corpus.heldout), "n_tokens": int(after.n_positions.sum()), "file": run.heldout.name},
        "corpus": bench.corpus.fingerprint,
        **({"start": origin} if (origin := origin_of_start(run)) else {}),
        "way": str(bench.way),
        "seconds": {"training": round(bench.pace.train_s, 3), "evaluating": round(bench.pace.evaluation_s, 3)},
        "results": {key: {"value": plain(value), "standard_error": plain(error)} for key, (value, error) in after.metrics().items()},
    }
    run.write_result(result)
    return run.result


def plain(value: float) -> float | None:
    """JSON has no nan: a metric that means nothing is null."""
    return value if math.isfinite(value) else None


def _sae_record(bench: Workbench, hook_point: HookPoint, after: Measurement) -> dict[str, Any]:
    card, site = bench.loaded.cards[hook_point], after.sites[hook_point]
    adapted = after.adapted_sites[hook_point]
    return {
        "release": card.ref.release,
        "sae_id": card.ref.sae_id,
        "revision": bench.loaded.commits.of(card.ref),
        "hook_point": str(hook_point),
        "module": module_path(bench.model, hook_point),
        "side": place(bench.model, hook_point)[1],
        "normalisation": bench.loaded.saes[hook_point].normalisation,
        "d_in": bench.loaded.saes[hook_point].d_in,
        "d_sae": bench.loaded.saes[hook_point].d_sae,
        "stated": {"l0": card.l0, "fve": card.fve},
        "original": {"l0": site.l0, "fve": site.fve, "dead_fraction": site.dead_fraction},
        "adapted_sae": {"l0": adapted.l0, "fve": adapted.fve, "dead_fraction": adapted.dead_fraction},
    }
