"""Build the pocket world from nothing: `python -m lorasae.demo.build`, up to two hours on two cores, minutes on a GPU.

Four stages, each of which can be run alone once those before it have left their results: `tokenizer`, `lm` (the language model),
`saes` (the Pocket Scope) and `index` (publishing, card and checksums). Half-done work is kept in a work folder and continued.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from transformers import Gemma2ForCausalLM, PreTrainedTokenizerFast

from lorasae.demo.build import checksums, language_model, pocket_scope
from lorasae.demo.build.card import card
from lorasae.demo.build.corpus import texts, token_chunks
from lorasae.demo.build.index import is_noted, measured, note, publish
from lorasae.demo.build.plan import HELD_OUT_SEED, TRAINING_SEED, BuildPlan
from lorasae.demo.build.pocket_scope import SAESpec
from lorasae.demo.build.tokenizer import train_tokenizer
from lorasae.demo.text import KINDS

DEFAULT_OUT = Path("assets/demo")
DEFAULT_WORK = Path(tempfile.gettempdir()) / "pocket-world"


def build_tokenizer(plan: BuildPlan, out: Path, work: Path) -> None:
    """Learn the tokenizer and store it in the model's folder."""
    tokenizer = train_tokenizer(texts(TRAINING_SEED, plan.n_tokenizer_documents), plan.model.vocab, plan.model.max_positions)
    tokenizer.save_pretrained(out / "model")
    log(f"tokenizer of {len(tokenizer)} tokens")


def build_language_model(plan: BuildPlan, out: Path, work: Path) -> None:
    """Train the language model and store it, rounded to bfloat16; from then on the rounded model is the model."""
    model = language_model.new_model(plan.model, plan.seed).to(device())  # type: ignore
    forward = torch.compile(model) if plan.compile else model
    n_steps = _n_steps(plan, model, forward, work)
    tokenizer = load_tokenizer(out)
    chunks = token_chunks(tokenizer, TRAINING_SEED, n_steps * plan.model.batch_size, plan.model.context_length)
    held_out = token_chunks(tokenizer, HELD_OUT_SEED, plan.n_logged_chunks, plan.model.context_length)
    log(f"language model of {model.num_parameters():,} parameters, {n_steps} steps, {chunks.numel():,} tokens")
    checkpoint = work / f"lm_seed_{plan.seed}_steps_{n_steps}.pt"
    seconds = language_model.train(model, forward, plan.model, n_steps, chunks, held_out, checkpoint, log)
    model.bfloat16().save_pretrained(out / "model")
    options = f"--lm-steps {n_steps}{' --compile' if plan.compile else ''}"
    _note_training(work, options=options, n_steps=n_steps, seconds=seconds, n_parameters=model.num_parameters(), device=_device_name())


def build_saes(plan: BuildPlan, out: Path, work: Path) -> None:
    """Train and measure every SAE that the work folder does not hold yet; on a CPU several at once."""
    start = time.monotonic()
    folder = _scope_folder(out, work)
    todo = [spec for spec in pocket_scope.specs(plan.scope) if not is_noted(folder / str(spec))]
    if not todo:
        return
    if not pocket_scope.activations_path(folder, plan.scope.layers[-1]).exists():
        n_chunks = plan.scope.n_cached_tokens // (plan.model.context_length - 1) + 1
        chunks = token_chunks(load_tokenizer(out), TRAINING_SEED, n_chunks, plan.model.context_length)
        pocket_scope.cache_activations(load_model(out), chunks, plan.scope.layers, folder)
        log(f"activations of {n_chunks} chunks")
    n_processes = 1 if device() == "cuda" else plan.n_processes
    with ProcessPoolExecutor(n_processes, mp_context=get_context("spawn"), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for finished in as_completed([pool.submit(build_sae, plan, spec, out, folder) for spec in todo]):
            log(finished.result())
    _note_training(work, scope_seconds=time.monotonic() - start)


def build_sae(plan: BuildPlan, spec: SAESpec, out: Path, folder: Path) -> str:
    """Train one SAE on the folder's activations, store it there and measure what was stored; a line for the log."""
    start = time.monotonic()
    activations = np.load(pocket_scope.activations_path(folder, spec.layer), mmap_mode="r")
    sae = pocket_scope.train_sae(spec, plan.scope, activations, plan.model.context_length, plan.seed)
    pocket_scope.store(sae, folder / str(spec))
    trained = time.monotonic()
    n_chunks = plan.scope.n_held_out_tokens // (plan.model.context_length - 1) + 1
    held_out = token_chunks(load_tokenizer(out), HELD_OUT_SEED, n_chunks, plan.model.context_length)
    entry = measured(spec, folder / str(spec), load_model(out), held_out)
    note(entry, folder / str(spec))
    return (
        f"{spec}: L0 {entry.l0:.1f}  FVE {entry.fve:.3f}  CE gap {entry.ce_gap:.3f}  dead {entry.dead_fraction:.1%}  "
        f"({plan.scope.n_samples / (trained - start):.0f} samples/s, measured in {time.monotonic() - trained:.0f} s)"
    )


def build_index(plan: BuildPlan, out: Path, work: Path) -> None:
    """Publish the SAEs under their measured names; write index, card and checksums."""
    folder = _scope_folder(out, work)
    specs = pocket_scope.specs(plan.scope)
    default = next(spec for spec in specs if (spec.layer, spec.width, spec.target_l0) == plan.scope.default)
    index = publish([folder / str(spec) for spec in specs], folder / str(default), out)
    samples = language_model.samples(load_model(out), load_tokenizer(out), plan.n_card_samples, plan.seed)
    training = json.loads((work / "training.json").read_text())
    (out / "README.md").write_text(card(plan, training, index, samples, len(KINDS)))
    size = checksums.write(out)
    log(f"{len(specs)} SAEs published, {size / 1e6:.1f} MB of assets in {out}")


def load_tokenizer(out: Path) -> PreTrainedTokenizerFast:
    """The stored pocket tokenizer."""
    return PreTrainedTokenizerFast.from_pretrained(out / "model")


def load_model(out: Path) -> Gemma2ForCausalLM:
    """The stored pocket model in float32, on the GPU if there is one."""
    return Gemma2ForCausalLM.from_pretrained(out / "model", dtype=torch.float32).to(device()).eval()  # type: ignore


def device() -> str:
    """Where everything is trained: a GPU if there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def log(line: str) -> None:
    """Print a line with the time."""
    print(time.strftime("%H:%M:%S"), line, flush=True)


def _n_steps(plan: BuildPlan, model: Gemma2ForCausalLM, forward: language_model.Forward, work: Path) -> int:
    """Steps of the language model's training: as asked for, as begun in the work folder, or as many as the minutes allow."""
    begun = work / "lm_steps.txt"
    if plan.lm_steps is not None:
        n_steps = plan.lm_steps
    elif begun.exists():
        n_steps = int(begun.read_text())
    else:
        step_s = language_model.seconds_per_step(model, forward, plan.model)
        n_steps = language_model.steps_within(plan.lm_minutes, step_s, plan.model)
    begun.write_text(str(n_steps))
    return n_steps


def _scope_folder(out: Path, work: Path) -> Path:
    """Where the SAEs of the stored model are worked on; named after its weights, because they fit no other."""
    weights = checksums.fingerprint(out / "model" / "model.safetensors")
    folder = work / f"scope_{weights['sha256'][:8]}"
    folder.mkdir(exist_ok=True)
    return folder


def _note_training(work: Path, **facts: float | int | str) -> None:
    """Add facts for the card to those of the stages before."""
    path = work / "training.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps(known | facts))


def _device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"{torch.get_num_threads()} CPU threads"


Stage = Callable[[BuildPlan, Path, Path], None]
STAGES: dict[str, Stage] = {"tokenizer": build_tokenizer, "lm": build_language_model, "saes": build_saes, "index": build_index}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the stages asked for, or check the checksums; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lorasae.demo.build", description="Build the pocket world from nothing.")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="folder of the assets (default: %(default)s)")
    parser.add_argument("--work", type=Path, default=DEFAULT_WORK, help="folder of half-done work; empty it to start afresh")
    parser.add_argument("--stages", default=",".join(STAGES), help="which stages to run (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=BuildPlan.seed, help="of initial weights and order")
    parser.add_argument("--lm-minutes", type=float, default=BuildPlan.lm_minutes, help="time for the language model (default: %(default)s)")
    parser.add_argument("--lm-steps", type=int, help="its optimizer steps, instead of a time")
    parser.add_argument("--compile", action="store_true", help="torch.compile the language model: faster on a CPU, needs a C++ compiler")
    parser.add_argument("--check", action="store_true", help="only compare the assets with their checksums")
    asked = parser.parse_args(arguments)
    if asked.check:
        found = checksums.differences(asked.out)
        print("\n".join(found) or f"{asked.out}: every file is as built")
        return 1 if found else 0
    stages = asked.stages.split(",")
    if unknown := set(stages) - set(STAGES):
        parser.error(f"no stage is called {', '.join(sorted(unknown))}")
    plan = replace(BuildPlan(), seed=asked.seed, lm_minutes=asked.lm_minutes, lm_steps=asked.lm_steps, compile=asked.compile)
    build(plan, asked.out, asked.work, stages)
    return 0


def build(plan: BuildPlan, out: Path, work: Path, stages: Sequence[str] = tuple(STAGES)) -> None:
    """Run the stages in the order given."""
    work.mkdir(parents=True, exist_ok=True)
    for stage in stages:
        STAGES[stage](plan, out, work)


if __name__ == "__main__":
    sys.exit(main())
