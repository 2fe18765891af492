"""Build the pocket world from nothing: `python -m lorasae.demo.build`, up to two hours on two cores, minutes on a GPU.

Four stages, each of which can be run alone once those before it have left their results: `tokenizer`, `lm` (the language model),
`saes` (the Pocket Scope) and `index` (measurements, card and checksums). Half-done work is kept in a work folder and continued.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from transformers import Gemma2ForCausalLM, PreTrainedTokenizerFast

from lorasae.demo import language_model
from lorasae.demo.corpus import texts, token_chunks
from lorasae.demo.plan import HELD_OUT_SEED, TRAINING_SEED, BuildPlan
from lorasae.demo.tokenizer import train_tokenizer

DEFAULT_OUT = Path("assets/demo")
DEFAULT_WORK = Path(tempfile.gettempdir()) / "pocket-world"


def build_tokenizer(plan: BuildPlan, out: Path) -> None:
    """Learn the tokenizer and store it in the model's folder."""
    tokenizer = train_tokenizer(texts(TRAINING_SEED, plan.n_tokenizer_documents), plan.model.vocab, plan.model.max_positions)
    tokenizer.save_pretrained(out / "model")
    log(f"tokenizer of {len(tokenizer)} tokens")


def build_language_model(plan: BuildPlan, out: Path, work: Path) -> None:
    """Train the language model and store it, rounded to bfloat16; from then on the rounded model is the model."""
    model = language_model.new_model(plan.model, plan.seed).to(device())
    forward = torch.compile(model) if plan.compile else model
    n_steps = _n_steps(plan, model, forward, work)
    tokenizer = load_tokenizer(out)
    chunks = token_chunks(tokenizer, TRAINING_SEED, n_steps * plan.model.batch_size, plan.model.context_length)
    held_out = token_chunks(tokenizer, HELD_OUT_SEED, plan.n_logged_chunks, plan.model.context_length)
    log(f"language model of {model.num_parameters():,} parameters, {n_steps} steps, {chunks.numel():,} tokens")
    language_model.train(model, forward, plan.model, n_steps, chunks, held_out, work / "lm.pt", log)
    model.to(torch.bfloat16).save_pretrained(out / "model")


def load_tokenizer(out: Path) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast.from_pretrained(out / "model")


def load_model(out: Path) -> Gemma2ForCausalLM:
    """The stored pocket model in float32, on the GPU if there is one."""
    return Gemma2ForCausalLM.from_pretrained(out / "model", dtype=torch.float32).to(device()).eval()


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def log(line: str) -> None:
    print(time.strftime("%H:%M:%S"), line, flush=True)


def _n_steps(plan: BuildPlan, model: Gemma2ForCausalLM, forward: torch.nn.Module, work: Path) -> int:
    """Steps of the language model's training: as asked for, as begun in the work folder, or as many as the minutes allow."""
    noted = work / "lm_steps.txt"
    if plan.lm_steps is not None:
        n_steps = plan.lm_steps
    elif noted.exists():
        n_steps = int(noted.read_text())
    else:
        step_s = language_model.seconds_per_step(model, forward, plan.model)
        n_steps = language_model.steps_within(plan.lm_minutes, step_s, plan.model)
    noted.write_text(str(n_steps))
    return n_steps


STAGES = {
    "tokenizer": lambda plan, out, work: build_tokenizer(plan, out),
    "lm": build_language_model,
}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT)
    parser.add_argument("--work", type=Path, default=DEFAULT_WORK, help="folder for half-done work")
    parser.add_argument("--stages", default=",".join(STAGES))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lm-minutes", type=float, default=BuildPlan.lm_minutes)
    parser.add_argument("--lm-steps", type=int)
    parser.add_argument("--compile", action="store_true")
    a = parser.parse_args(arguments)
    plan = replace(BuildPlan(), seed=a.seed, lm_minutes=a.lm_minutes, lm_steps=a.lm_steps, compile=a.compile)
    a.work.mkdir(parents=True, exist_ok=True)
    for stage in a.stages.split(","):
        STAGES[stage](plan, a.out, a.work)


if __name__ == "__main__":
    main()
