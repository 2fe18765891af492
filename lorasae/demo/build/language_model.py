"""The pocket language model: a small Gemma-2 trained from scratch by next-token prediction, in one sitting, resumable.

The learning-rate schedule ends at zero exactly when the budget does. A speed probe therefore turns minutes into a number of optimizer
steps before training starts; a resumed training follows the schedule that it began with.
"""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Gemma2Config, Gemma2ForCausalLM, PreTrainedTokenizerFast

from lorasae.core.losses import next_token_ce
from lorasae.demo.build.corpus import SPECIAL_TOKENS
from lorasae.demo.build.muon import Muon
from lorasae.demo.build.plan import BOS, EOS, PAD, UNK, ModelPlan

Log = Callable[[str], None]
Forward = Callable[..., Any]
"""The model itself or its compiled twin."""

_N_PROBE_STEPS = 6
_SECONDS_BETWEEN_CHECKPOINTS = 180.0
_N_LOGS = 50


def new_model(plan: ModelPlan, seed: int) -> Gemma2ForCausalLM:
    """A pocket model with random weights in float32. Its attention is eager, Gemma-2's default: on a CPU no other kind knows soft caps."""
    torch.manual_seed(seed)
    return Gemma2ForCausalLM(
        Gemma2Config(
            vocab_size=plan.vocab,
            hidden_size=plan.d_in,
            intermediate_size=plan.d_mlp,
            num_hidden_layers=plan.n_layers,
            num_attention_heads=plan.n_heads,
            num_key_value_heads=plan.n_key_value_heads,
            head_dim=plan.head_dim,
            query_pre_attn_scalar=plan.head_dim,
            max_position_embeddings=plan.max_positions,
            sliding_window=plan.sliding_window,
            attn_logit_softcapping=50.0,
            final_logit_softcapping=30.0,
            pad_token_id=PAD,
            eos_token_id=EOS,
            bos_token_id=BOS,
            tie_word_embeddings=True,
            dtype="float32",
        )
    )


def next_token_loss(forward: Forward, tokens: Tensor) -> Tensor:
    """Mean cross-entropy in nats over all next tokens, EOS included: the model must learn to end a document."""
    logits = forward(input_ids=tokens, use_cache=False).logits
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())


@torch.no_grad()
def scored_loss(model: Gemma2ForCausalLM, chunks: Tensor, batch_size: int = 32) -> float:
    """Cross-entropy in nats/token over the predictions that count: those made at tokens that are not special."""
    total, n_scored = 0.0, 0
    for tokens in chunks.split(batch_size):
        tokens = tokens.long().to(model.device)
        scored = SPECIAL_TOKENS.scored_positions(tokens)[:, :-1]
        total += next_token_ce(model(input_ids=tokens, use_cache=False).logits, tokens)[scored].sum().item()
        n_scored += int(scored.sum())
    return total / n_scored


def seconds_per_step(model: Gemma2ForCausalLM, forward: Forward, plan: ModelPlan) -> float:
    """Median time of an optimizer step on random tokens, after warming up; learning rates of zero leave the weights alone."""
    optimizers = _optimizers(model, replace(plan, matrix_learning_rate=0.0, learning_rate=0.0))
    tokens = torch.randint(UNK + 1, plan.vocab, (plan.batch_size, plan.context_length), device=model.device)
    times: list[float] = []
    for _ in range(_N_PROBE_STEPS):
        start = time.perf_counter()
        _step(model, forward, optimizers, tokens)
        times.append(time.perf_counter() - start)
    return median(times[2:])


def steps_within(minutes: float, step_s: float, plan: ModelPlan) -> int:
    """Optimizer steps that fit into the minutes, or that use up the plan's tokens if those are fewer."""
    most = plan.max_tokens // (plan.batch_size * plan.context_length)
    return max(1, min(most, int(minutes * 60 / step_s)))


def train(
    model: Gemma2ForCausalLM,
    forward: Forward,
    plan: ModelPlan,
    n_steps: int,
    chunks: Tensor,
    held_out: Tensor,
    checkpoint: Path,
    log: Log,
) -> float:
    """Train in place on `n_steps * batch_size` chunks, each seen once; continue from the checkpoint if there is one.

    Args:
        model: Fresh, on the device to train on.
        forward: The same model, perhaps compiled.
        plan: Shape and optimizer settings.
        n_steps: Optimizer steps of the whole training.
        chunks: Training tokens `(n_steps * batch_size, pos)`.
        held_out: Tokens `(n_chunks, pos)` for the logged loss.
        checkpoint: File that is written every few minutes.
        log: Receives a line every now and then.

    Returns:
        Seconds of training, over all sittings.
    """
    optimizers = _optimizers(model, plan)
    peaks = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    start, earlier_s = _resume(checkpoint, model, optimizers)
    began = saved = time.monotonic()
    for step in range(start, n_steps):
        factor = learning_rate_factor(step, n_steps, plan.warm_up_share)
        for optimizer, peak in zip(optimizers, peaks, strict=True):
            optimizer.param_groups[0]["lr"] = factor * peak
        tokens = chunks[step * plan.batch_size : (step + 1) * plan.batch_size].long().to(model.device)
        loss = _step(model, forward, optimizers, tokens)
        done, now = step + 1, time.monotonic()
        if done % max(1, n_steps // _N_LOGS) == 0 or done == n_steps:
            step_s = (now - began) / (done - start)
            log(
                f"lm step {done}/{n_steps}  loss {loss:.3f}  held-out CE {scored_loss(model, held_out):.4f}  "
                f"{plan.batch_size * plan.context_length / step_s:.0f} tokens/s  {(n_steps - done) * step_s / 60:.1f} min left"
            )
        if now - saved > _SECONDS_BETWEEN_CHECKPOINTS or done == n_steps:
            _save(checkpoint, done, earlier_s + now - began, model, optimizers)
            saved = now
    return earlier_s + time.monotonic() - began


@torch.no_grad()
def samples(model: Gemma2ForCausalLM, tokenizer: PreTrainedTokenizerFast, n: int, seed: int, temperature: float = 0.7) -> list[str]:
    """Documents the model writes from nothing: each starts after BOS and EOS, as documents do in training, and ends at EOS."""
    torch.manual_seed(seed)
    start = torch.tensor([[BOS, EOS]] * n, device=model.device)
    tokens = model.generate(  # type: ignore
        input_ids=start,
        attention_mask=torch.ones_like(start),
        do_sample=True,
        temperature=temperature,
        top_k=0,
        max_new_tokens=model.config.max_position_embeddings - 2,
    )
    return [text.strip() for text in tokenizer.batch_decode(tokens[:, 2:], skip_special_tokens=True)]


def _step(model: Gemma2ForCausalLM, forward: Forward, optimizers: list[torch.optim.Optimizer], tokens: Tensor) -> float:
    """One optimizer step with the gradient's norm clipped at 1; the loss before it, in nats/token."""
    loss = next_token_loss(forward, tokens)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
    model.zero_grad()
    return loss.item()


def _optimizers(model: Gemma2ForCausalLM, plan: ModelPlan) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks; AdamW, without weight decay, for the embedding and the norms."""
    matrices = [p for p in model.model.layers.parameters() if p.dim() == 2]
    inside = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in inside]
    return [
        Muon(matrices, lr=plan.matrix_learning_rate, weight_decay=plan.weight_decay),
        torch.optim.AdamW(others, lr=plan.learning_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def learning_rate_factor(step: int, n_steps: int, warm_up_share: float) -> float:
    """Share of the peak learning rate: a linear climb, then half a cosine down to zero."""
    n_warm_up = max(1, int(warm_up_share * n_steps))
    if step < n_warm_up:
        return (step + 1) / n_warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - n_warm_up) / max(1, n_steps - n_warm_up)))


def _save(checkpoint: Path, step: int, seconds: float, model: Gemma2ForCausalLM, optimizers: list[torch.optim.Optimizer]) -> None:
    """Write the whole state of training, atomically."""
    state = {
        "step": step,
        "seconds": seconds,
        "model": model.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
    }
    partial = checkpoint.with_suffix(".partial")
    torch.save(state, partial)
    partial.replace(checkpoint)


def _resume(checkpoint: Path, model: Gemma2ForCausalLM, optimizers: list[torch.optim.Optimizer]) -> tuple[int, float]:
    """Load the state of training if there is one; the step to go on from, and the seconds spent so far."""
    if not checkpoint.exists():
        return 0, 0.0
    state = torch.load(checkpoint, map_location=model.device)
    model.load_state_dict(state["model"])
    for optimizer, optimizer_state in zip(optimizers, state["optimizers"], strict=True):
        optimizer.load_state_dict(optimizer_state)
    return state["step"], state["seconds"]
