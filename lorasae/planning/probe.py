"""A short measurement of one configuration on this machine, in its own process: `python -m lorasae.planning.probe ASKED.json ANSWER.json`.

The model, SAEs and adapter of the config are loaded as a run loads them; a few real training steps, by the step and on as many threads as
a run would take, and one evaluation are timed on random tokens. Nothing is kept but the numbers. `lorasae/planning/probing.py` starts it
and remembers what it said.
"""

import time
from typing import Any

import torch

from lorasae.config import RunConfig, run_config
from lorasae.core.adapter import adapter_parameters
from lorasae.core.conditions import ALL
from lorasae.core.evaluate import measure
from lorasae.core.step import Student, moved
from lorasae.costs.estimates import with_micro_batch
from lorasae.planning.errand import answer_errand
from lorasae.sources.loading import Loaded, load
from lorasae.training.memory import peak_memory_bytes
from lorasae.training.room import sequences_at_once
from lorasae.training.setting_up import attach_adapter
from lorasae.training.supervision import Signals
from lorasae.training.threads import LONG_S, are_prescribed, fastest
from lorasae.training.way import fast_gradients
from lorasae.training.workshop import Workshop

N_STEPS = 3  # timed, after one that warms up
LONGEST_STEP_S = 6.0  # a longer step is timed by a part of its micro-batches


def probe(config: RunConfig, asked_at: float) -> dict[str, Any]:
    """Seconds per training token, per evaluated token and condition, and from `asked_at` to the first step; peak memory in bytes."""
    loaded = load(config)
    model = attach_adapter(loaded.model, loaded, config.adapter)
    optimizer = torch.optim.AdamW(adapter_parameters(model), lr=config.train.learning_rate, fused=True)
    start_s = time.time() - asked_at  # imports included: they are a part of every run's start
    shop = Workshop(Signals(), torch.get_num_threads(), fast_gradients, loaded=loaded, model=model)
    config = with_micro_batch(config, sequences_at_once(config, loaded, fast=config.train.fast))
    gradients = shop.gradients("fast" if config.train.fast else "reference", config.train.kl_reduction, [Student()])

    def step_s(micro_batches: list[torch.Tensor]) -> float:
        _settle(loaded)
        began = time.monotonic()
        optimizer.zero_grad(set_to_none=True)
        (kl,) = gradients.accumulate_each(micro_batches)
        moved(optimizer, kl, learning_rate=config.train.learning_rate, gradient_clip=config.train.gradient_clip)
        _settle(loaded)
        return time.monotonic() - began

    micro_batches = [random_tokens(config, loaded) for _ in range(config.sequences_per_step // config.micro_batch_size)]
    step_s(micro_batches[:1])
    if loaded.device.type == "cpu" and not are_prescribed() and step_s(micro_batches[:1]) < LONG_S:
        fastest(shop.allowed_threads, lambda: step_s(micro_batches[:1]))
    per_micro_batch = step_s(micro_batches[:1])
    n_timed = min(len(micro_batches), max(1, int(LONGEST_STEP_S / max(per_micro_batch, 1e-6))))
    steps = sorted(step_s(micro_batches[:n_timed]) for _ in range(N_STEPS if per_micro_batch < LONGEST_STEP_S else 1))
    step_per_token = steps[len(steps) // 2] / (n_timed * micro_batches[0].numel())

    def evaluation_s() -> float:
        _settle(loaded)
        began = time.monotonic()
        measure(model, micro_batches[:1], loaded.saes, loaded.special_tokens, ALL)
        _settle(loaded)
        return time.monotonic() - began

    evaluations = sorted(evaluation_s() for _ in range(N_STEPS if per_micro_batch < LONGEST_STEP_S else 1))
    return {
        "start_s": start_s,
        "step_s_per_token": step_per_token,
        "evaluation_s_per_token": evaluations[len(evaluations) // 2] / (len(ALL) * micro_batches[0].numel()),
        "peak_bytes": peak_memory_bytes(loaded.device),
    }


def random_tokens(config: RunConfig, loaded: Loaded) -> torch.Tensor:
    """One micro-batch of tokens drawn from the whole vocabulary, BOS first where the model has one."""
    vocabulary = loaded.model.get_input_embeddings().weight.shape[0]  # type: ignore[union-attr]
    ids = torch.randint(0, int(vocabulary), (config.micro_batch_size, config.data.context_length), device=loaded.device)
    if loaded.tokenizer.bos_token_id is not None:
        ids[:, 0] = loaded.tokenizer.bos_token_id
    return ids


def _settle(loaded: Loaded) -> None:
    """Wait for the GPU to finish what it was given."""
    if loaded.device.type == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    answer_errand(lambda asked, asked_at: probe(run_config(asked), asked_at))
