"""What the phases of one run share, how it is set up, and how its state goes into a checkpoint and comes back."""

import io
import math
import resource
import shutil
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from huggingface_hub import HfApi
from peft import PeftModel
from safetensors import SafetensorError
from safetensors.torch import load_file

from lorasae.config import AdapterConfig, RunConfig
from lorasae.core.adapter import adapter_parameters, adapter_weights, attach, load_adapter_weights, placed_layers
from lorasae.core.evaluate import Measurement
from lorasae.core.hook_points import HookPoint, decoder_blocks, module_path, place
from lorasae.core.splice import Transform
from lorasae.core.step import Gradients, ReferenceGradients
from lorasae.errors import LabError
from lorasae.sources.data import Chunks, Corpus, prepare, refuse_without_text
from lorasae.sources.fetching import Progress
from lorasae.sources.hub_access import token_in_use
from lorasae.sources.loading import Loaded, load
from lorasae.sources.still_to_fetch import still_to_fetch
from lorasae.store.checkpoints import Checkpoint
from lorasae.store.commit_record import record_commits, recorded_commits
from lorasae.store.device_turns import Turn
from lorasae.store.durable import replace_file
from lorasae.store.run_folder import Run
from lorasae.store.source_record import record_source
from lorasae.store.started_from import bring_start, origin_of_start, weights_of_start
from lorasae.training.heldout_part import part_of, size_of_part
from lorasae.training.pace import Pace
from lorasae.training.supervision import Report, StopRequest


@dataclass
class Workbench:
    """What the phases of one run share."""

    run: Run
    config: RunConfig
    loaded: Loaded
    corpus: Corpus
    model: PeftModel
    optimizer: torch.optim.Optimizer
    gradients: Gradients
    pace: Pace
    turn: Turn  # at the device, which inspection may want too

    @property
    def part(self) -> Chunks:
        """Held-out chunks that an evaluation during training uses."""
        return self.corpus.heldout[part_of(self.run, len(self.corpus.heldout))]


def set_up(run: Run, report: Report, stop: StopRequest, turn: Turn) -> Workbench:
    """Everything in memory and checked, the adapter fresh or as the run begins with it, the held-out text on disk."""
    config = run.config
    torch.manual_seed(config.seed)
    where = f"layers {list(config.adapter.layers)}" if config.adapter.layers else f"placement {config.adapter.placement}"
    adapter = f"adapter of rank {config.adapter.rank}, {where}"
    if missing := still_to_fetch(config):
        report.phase("downloading", f"{', '.join(missing)}, once; later runs find it on this machine")
        refuse_without_text(config.data)
    else:
        report.phase("loading", f"{config.model.model}; SAE {', '.join(map(str, config.saes))}; {adapter}")
    start = bring_start(run, HfApi(token=token_in_use()))
    loaded = load(config, recorded_commits(run), _arriving(report, stop), start)
    record_commits(run, loaded.commits)
    model = attach_adapter(loaded, config.adapter)
    if start is not None:
        begin_with(model, run)
    report.phase("reading", f"text from {config.data.source}")
    record_source(run, config)
    corpus = prepare(config.data, loaded.tokenizer, config.n_steps * config.train.tokens_per_step)
    replace_file(run.heldout, _npy(corpus.heldout))
    optimizer = torch.optim.AdamW(
        adapter_parameters(model), lr=config.train.learning_rate, weight_decay=config.train.weight_decay, fused=True
    )
    transforms: dict[HookPoint, Transform] = {hook_point: sae.reconstruct for hook_point, sae in loaded.saes.items()}
    gradients = ReferenceGradients(model, transforms, loaded.special_tokens, config.train.kl_reduction)
    bench = Workbench(run, config, loaded, corpus, model, optimizer, gradients, Pace(), turn)
    bench.pace.plan(config, len(corpus.heldout), size_of_part(len(corpus.heldout)))
    return bench


def _arriving(report: Report, stop: StopRequest) -> Progress:
    """Tells how far a download is, with the time left at its pace; a stop is heeded in the middle of it, and what has come is kept."""
    began: dict[str, tuple[float, int]] = {}  # repository -> when its first byte of now came, and how many were here before

    def arrived(repository: str, here: int, n_bytes: int) -> None:
        stop.heed(f"Stopped while fetching {repository}; what has come is kept", trained=False)
        started, before = began.setdefault(repository, (time.monotonic(), here))
        fetched = here - before
        left_s = (time.monotonic() - started) / fetched * (n_bytes - here) if fetched else None
        report.arriving(f"{repository}: {here / 1e6:,.0f} of {n_bytes / 1e6:,.0f} MB", here / n_bytes if n_bytes else 1.0, left_s)

    return arrived


def attach_adapter(loaded: Loaded, config: AdapterConfig) -> PeftModel:
    """The adapter where the config places it."""
    n_layers = len(decoder_blocks(loaded.model))
    layers = placed_layers(config.placement, config.layers, list(loaded.saes), n_layers)
    return attach(loaded.model, layers, config.modules, config.rank, config.alpha, config.dropout)


def begin_with(model: PeftModel, run: Run) -> None:
    """Put the weights that the run begins with into its adapter.

    Raises:
        LabError: If they are damaged or do not fit.
    """
    try:
        load_adapter_weights(model, load_file(weights_of_start(run)))
    except (SafetensorError, ValueError, RuntimeError) as error:
        asked = f"The run {run.run_id} was to begin with the adapter {run.config.adapter.start}"
        raise LabError(asked, f"Its weights do not fit: {str(error).splitlines()[0][:200]}", "Choose another") from error


def snapshot(bench: Workbench, step: int, train_s: float) -> Checkpoint:
    """The state after `step` optimizer steps."""
    optimizer = {
        f"{index}.{name}": value for index, entry in bench.optimizer.state_dict()["state"].items() for name, value in entry.items()
    }
    random = {"cpu": torch.get_rng_state()}
    if bench.loaded.device.type == "cuda":
        random["cuda"] = torch.cuda.get_rng_state()
    state = {"train_s": train_s, "forward_s": bench.pace.forward_s, "corpus": bench.corpus.fingerprint, "run_id": bench.run.run_id}
    return Checkpoint(step, adapter_weights(bench.model), optimizer, random, state)


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
    load_adapter_weights(bench.model, checkpoint.adapter)
    entries: dict[int, dict[str, torch.Tensor]] = {}
    for name, value in checkpoint.optimizer.items():
        index, _, key = name.partition(".")
        entries.setdefault(int(index), {})[key] = value
    bench.optimizer.load_state_dict({"state": entries, "param_groups": bench.optimizer.state_dict()["param_groups"]})
    torch.set_rng_state(checkpoint.random["cpu"])
    if "cuda" in checkpoint.random and bench.loaded.device.type == "cuda":
        torch.cuda.set_rng_state(checkpoint.random["cuda"])
    bench.pace.forward_s = checkpoint.state.get("forward_s")


def save(bench: Workbench, after: Measurement, step: int) -> dict[str, Any]:
    """The adapter in PEFT format and lorasae.json, each whole or not there."""
    run, config = bench.run, bench.config
    peft_config = bench.model.peft_config["default"]
    peft_config.base_model_name_or_path, peft_config.revision = config.model.model, bench.loaded.commits.model
    beside = run.folder / "adapter.tmp"
    shutil.rmtree(beside, ignore_errors=True)
    bench.model.save_pretrained(str(beside), save_embedding_layers=False)  # "auto" would ask the Hub
    (beside / "README.md").unlink(missing_ok=True)  # PEFT's empty template
    shutil.rmtree(run.adapter, ignore_errors=True)
    beside.replace(run.adapter)
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
        "results": {key: {"value": plain(value), "standard_error": plain(error)} for key, (value, error) in after.metrics().items()},
    }
    run.write_result(result)
    return run.result


def plain(value: float) -> float | None:
    """JSON has no nan: a metric that means nothing is null."""
    return value if math.isfinite(value) else None


def peak_memory_bytes(device: torch.device) -> int:
    """Largest memory so far: of the process on the CPU, of tensors on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


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


def _npy(chunks: Chunks) -> bytes:
    content = io.BytesIO()
    np.save(content, chunks, allow_pickle=False)
    return content.getvalue()
