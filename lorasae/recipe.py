"""One training run, read top to bottom: `python -m lorasae.recipe RUN_DIR`, or `python -m lorasae adapt` from a terminal.

    1. loading      model, tokenizer and SAEs, checked against each other; the adapter attached
    2. reading      text, tokenised and packed; training and held-out sides share no document
    3. measuring    the conditions before training; measured L0 and variance explained against what the publisher states
    4. training     steps, with a short evaluation every so often and checkpoints to be taken up from
    5. evaluating   all conditions on the whole held-out text
    6. saving       the adapter in PEFT format and the result

Everything a run knows is in its folder. It is taken up from its newest whole checkpoint; on the same machine and versions the result is
bit-identical to that of a run that was never interrupted (CPU).
"""

import io
import math
import resource
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel

from lorasae.checkpoints import Checkpoint, newest_checkpoint, write_checkpoint
from lorasae.config import AdapterConfig, RunConfig
from lorasae.core.adapter import adapter_parameters, adapter_weights, attach, load_adapter_weights, placed_layers
from lorasae.core.evaluate import ALL, BEFORE, Measurement, measure
from lorasae.core.hook_points import HookPoint, decoder_blocks
from lorasae.core.splice import Transform
from lorasae.core.step import StepOutcome, learning_rate_at, reference_step
from lorasae.data import Chunks, Corpus, micro_batches, prepare, step_chunks
from lorasae.errors import LabError
from lorasae.loading import Loaded, check_measured, load
from lorasae.runs import Run, replace_file
from lorasae.supervision import Listener, Nobody, Report, Stopped, StopRequest, ending_told, stop_requests

HELDOUT_PART = 8  # evaluations during training use one eighth of the held-out chunks


@dataclass
class Workbench:
    """What the phases of one run share."""

    run: Run
    config: RunConfig
    loaded: Loaded
    corpus: Corpus
    model: PeftModel
    optimizer: torch.optim.Optimizer
    transforms: dict[HookPoint, Transform]


def adapt(run: Run, listener: Listener | None = None) -> dict[str, Any]:
    """Do the run, or what is left of it, and return its result.

    Raises:
        LabError: For anything the user can act on; status.json says the same.
        Stopped: After SIGTERM or SIGINT; everything done so far is kept.
    """
    if run.status.state == "succeeded":
        return run.result
    report = Report(run, listener or Nobody(), run.config.n_steps)
    with run.claimed(), stop_requests() as stop, ending_told(run, report):
        return _adapt(run, report, stop)


def _adapt(run: Run, report: Report, stop: StopRequest) -> dict[str, Any]:
    bench = set_up(run, report)
    checkpoint, damaged = newest_checkpoint(run.checkpoints)
    if damaged:
        report.phase("loading", f"{len(damaged)} damaged checkpoint(s) passed over")
    if checkpoint:
        take_up(bench, checkpoint)
        report.phase("loading", f"taken up at step {checkpoint.step}")
    first = checkpoint.step if checkpoint else 0
    run.forget_metrics_after(first if checkpoint else -1)
    if not checkpoint:
        report.phase("measuring", "what the SAE costs before training")
        before = measure_heldout(bench, BEFORE, len(bench.corpus.heldout), stop)
        for hook_point, statistics in before.sites.items() if not bench.config.trust_measured else ():
            check_measured(hook_point, bench.loaded.cards[hook_point], statistics)
        report.row({"step": 0, **_values(before)})
    train(bench, first, checkpoint.state["train_s"] if checkpoint else 0.0, report, stop)
    report.phase("evaluating", "all conditions on the held-out text")
    after = measure_heldout(bench, ALL, len(bench.corpus.heldout), stop)
    report.phase("saving", "adapter and result")
    return save(bench, after)


def set_up(run: Run, report: Report) -> Workbench:
    """Everything in memory and checked, the adapter fresh, the held-out text on disk."""
    config = run.config
    torch.manual_seed(config.seed)
    where = f"layers {list(config.adapter.layers)}" if config.adapter.layers else f"placement {config.adapter.placement}"
    adapter = f"adapter of rank {config.adapter.rank}, {where}"
    report.phase("loading", f"{config.model.model}; SAE {', '.join(map(str, config.saes))}; {adapter}")
    loaded = load(config)
    model = attach_adapter(loaded, config.adapter)
    report.phase("reading", f"text from {config.data.source}")
    corpus = prepare(config.data, loaded.tokenizer, config.n_steps * config.train.tokens_per_step)
    replace_file(run.heldout, _npy(corpus.heldout))
    optimizer = torch.optim.AdamW(
        adapter_parameters(model), lr=config.train.learning_rate, weight_decay=config.train.weight_decay, fused=True
    )
    transforms: dict[HookPoint, Transform] = {hook_point: sae.reconstruct for hook_point, sae in loaded.saes.items()}
    return Workbench(run, config, loaded, corpus, model, optimizer, transforms)


def _npy(chunks: Chunks) -> bytes:
    content = io.BytesIO()
    np.save(content, chunks, allow_pickle=False)
    return content.getvalue()


def attach_adapter(loaded: Loaded, config: AdapterConfig) -> PeftModel:
    """The adapter where the config places it."""
    n_layers = len(decoder_blocks(loaded.model))
    layers = placed_layers(config.placement, config.layers, list(loaded.saes), n_layers)
    return attach(loaded.model, layers, config.modules, config.rank, config.alpha, config.dropout)


def train(bench: Workbench, first: int, train_s: float, report: Report, stop: StopRequest) -> None:
    """Steps `first` … n_steps - 1. Training time is counted without evaluations and checkpoints."""
    config, n_steps = bench.config, bench.config.n_steps
    evaluated = {round(n_steps * i / (config.watch.evaluations + 1)) for i in range(1, config.watch.evaluations + 1)}
    saved_at = time.monotonic()
    report.phase("training", f"step {first} of {n_steps}")
    for step in range(first, n_steps):
        started = time.monotonic()
        learning_rate, outcome = take_step(bench, step)
        train_s += time.monotonic() - started
        if not outcome.finite:
            if not (bench.run.checkpoints / f"step-{step:08d}").exists():  # whose random state is that of before this step
                write_checkpoint(bench.run.checkpoints, snapshot(bench, step, train_s))
            raise LabError(
                f"Step {step} of the run {bench.run.run_id} was taken",
                f"Its loss or gradient is not a finite number (KL {outcome.kl}, learning rate {learning_rate:.2g})",
                f"The adapter of the last finite step is kept in {bench.run.checkpoints}; start again with a smaller train.learning_rate",
            )
        done = step + 1
        row = {
            "step": done,
            "kl_train": outcome.kl,
            "gradient_norm": outcome.gradient_norm,
            "learning_rate": learning_rate,
            "tokens_per_s": done * config.train.tokens_per_step / train_s,
            "train_s": train_s,
            "peak_memory_bytes": peak_memory_bytes(bench.loaded.device),
        }
        if done in evaluated:
            row |= _values(
                measure_heldout(bench, ("original", "original_sae", "adapted_sae"), -(-len(bench.corpus.heldout) // HELDOUT_PART))
            )
        report.row(row, eta_s=train_s / done * (n_steps - done))
        due = bool(config.watch.checkpoint_every_steps) and done % (config.watch.checkpoint_every_steps or 1) == 0
        if due or stop.requested or time.monotonic() - saved_at >= config.watch.checkpoint_every_s or done == n_steps:
            write_checkpoint(bench.run.checkpoints, snapshot(bench, done, train_s))
            saved_at = time.monotonic()
        if stop.requested:
            raise Stopped(f"Stopped after step {done} of {n_steps}; everything so far is kept. {going_on(bench.run)}")


def take_step(bench: Workbench, step: int) -> tuple[float, StepOutcome]:
    """One optimizer step and the learning rate it used."""
    config, train = bench.config, bench.config.train
    chunks = step_chunks(bench.corpus.train, config.seed, step, config.sequences_per_step)
    learning_rate = learning_rate_at(step, config.n_steps, train.learning_rate, train.schedule, train.warmup_fraction)
    outcome = reference_step(
        bench.model,
        bench.optimizer,
        list(micro_batches(chunks, config.micro_batch_size, bench.loaded.device)),
        bench.transforms,
        bench.loaded.special_tokens,
        learning_rate=learning_rate,
        gradient_clip=train.gradient_clip,
        reduction=train.kl_reduction,
    )
    return learning_rate, outcome


def measure_heldout(bench: Workbench, conditions: tuple[Any, ...], n_chunks: int, stop: StopRequest | None = None) -> Measurement:
    """Measure conditions on the first `n_chunks` held-out chunks; a stop is heeded between batches."""

    def batches() -> Iterator[torch.Tensor]:
        for batch in micro_batches(bench.corpus.heldout[:n_chunks], bench.config.micro_batch_size, bench.loaded.device):
            if stop and stop.requested:
                raise Stopped(f"Stopped while measuring; everything so far is kept. {going_on(bench.run)}")
            yield batch

    return measure(bench.model, batches(), bench.loaded.saes, bench.loaded.special_tokens, conditions)


def going_on(run: Run) -> str:
    """How to take the run up again."""
    return f"Go on with: python -m lorasae adapt --resume {run.folder}"


def snapshot(bench: Workbench, step: int, train_s: float) -> Checkpoint:
    """The state after `step` optimizer steps."""
    optimizer = {
        f"{index}.{name}": value for index, entry in bench.optimizer.state_dict()["state"].items() for name, value in entry.items()
    }
    random = {"cpu": torch.get_rng_state()}
    if bench.loaded.device.type == "cuda":
        random["cuda"] = torch.cuda.get_rng_state()
    state = {"train_s": train_s, "corpus": bench.corpus.fingerprint, "run_id": bench.run.run_id}
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


def save(bench: Workbench, after: Measurement) -> dict[str, Any]:
    """The adapter in PEFT format and lorasae.json, each whole or not there."""
    run, config = bench.run, bench.config
    peft_config = bench.model.peft_config["default"]
    peft_config.base_model_name_or_path, peft_config.revision = config.model.model, bench.loaded.revision
    beside = run.folder / "adapter.tmp"
    shutil.rmtree(beside, ignore_errors=True)
    bench.model.save_pretrained(str(beside), save_embedding_layers=False)  # "auto" would ask the Hub
    (beside / "README.md").unlink(missing_ok=True)  # PEFT's empty template
    shutil.rmtree(run.adapter, ignore_errors=True)
    beside.replace(run.adapter)
    result = {
        "config": config.model_dump(mode="json"),
        "model_revision": bench.loaded.revision,
        "saes": [_sae_record(bench, hook_point, after) for hook_point in sorted(bench.loaded.saes)],
        "special_tokens": {"bypassed": bench.loaded.special_tokens.bypassed, "unscored": bench.loaded.special_tokens.unscored},
        "heldout": {"n_sequences": len(bench.corpus.heldout), "n_tokens": int(after.n_positions.sum()), "file": run.heldout.name},
        "corpus": bench.corpus.fingerprint,
        "results": {key: {"value": _plain(value), "standard_error": _plain(error)} for key, (value, error) in after.metrics().items()},
    }
    run.write_result(result)
    return run.result


def _sae_record(bench: Workbench, hook_point: HookPoint, after: Measurement) -> dict[str, Any]:
    card, site = bench.loaded.cards[hook_point], after.sites[hook_point]
    adapted = after.adapted_sites[hook_point]
    return {
        "release": card.ref.release,
        "sae_id": card.ref.sae_id,
        "hook_point": str(hook_point),
        "d_in": bench.loaded.saes[hook_point].d_in,
        "d_sae": bench.loaded.saes[hook_point].d_sae,
        "stated": {"l0": card.l0, "fve": card.fve},
        "original": {"l0": site.l0, "fve": site.fve, "dead_fraction": site.dead_fraction},
        "adapted_sae": {"l0": adapted.l0, "fve": adapted.fve, "dead_fraction": adapted.dead_fraction},
    }


def _values(measurement: Measurement) -> dict[str, float | None]:
    return {key: _plain(value) for key, (value, _) in measurement.metrics().items()}


def _plain(value: float) -> float | None:
    """JSON has no nan: a metric that means nothing is null."""
    return value if math.isfinite(value) else None


def peak_memory_bytes(device: torch.device) -> int:
    """Largest memory so far: of the process on the CPU, of tensors on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    try:
        adapt(Run(Path(sys.argv[1])))
    except (LabError, Stopped) as ending:
        sys.exit(str(ending))
