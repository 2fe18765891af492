"""The research code's training loop, as it is: what speed is held against.

    teacher         the whole model, adapter off, no SAE, softmax over the whole vocabulary
    student         the whole model again, SAE dense in its stream, log-softmax
    loss            kl_div(..., reduction="batchmean"): a sum over positions, a mean over sequences; in the model's own precision
    step            backward, gradient norm clipped at 1, AdamW with PyTorch's defaults
    every step      loss.item(), and torch.cuda.empty_cache()

Attention is eager, the adapter is PEFT's with its casts to fp32, a batch is one sequence, hooks are set once. Where their loop is known to
be wrong (dropout that switches itself off, a block's output indexed as a tuple) it is not followed: that would change what is computed.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from lorasae.core.adapter import adapter_off, adapter_parameters, train_adapter_only
from lorasae.core.hook_points import HookPoint, place, stream_of, with_stream
from lorasae.core.special_tokens import SpecialTokens
from lorasae.core.splice import Transform

CLIP = 1.0


class AuthorsLoop:
    """One adapter, trained as the research code does it. Made by `authors_loop`."""

    def __init__(self, model: torch.nn.Module, special_tokens: SpecialTokens, learning_rate: float, flushes_cache: bool) -> None:
        train_adapter_only(model)  # once: nothing in this loop leaves the mode
        self._model, self._special_tokens, self._flushes_cache = model, special_tokens, flushes_cache
        self._parameters = adapter_parameters(model)
        self._optimizer = torch.optim.AdamW(self._parameters, lr=learning_rate)
        self._through_sae: Tensor | None = None  # which positions the SAE replaces in the pass under way; None: it is off

    def step(self, ids: Tensor) -> float:
        """One optimizer step on `(batch, pos)` token ids; returns their loss, nats per sequence."""
        self._optimizer.zero_grad()
        loss = self.backward(ids)
        torch.nn.utils.clip_grad_norm_(self._parameters, CLIP)
        self._optimizer.step()
        if self._flushes_cache and ids.device.type == "cuda":
            torch.cuda.empty_cache()
        return loss.item()

    def backward(self, ids: Tensor) -> Tensor:
        """The loss; its gradient is added to the adapter."""
        with torch.no_grad(), adapter_off(self._model):
            teacher = F.softmax(self._model(input_ids=ids, use_cache=False).logits, dim=-1)
        self._through_sae = self._special_tokens.spliced_positions(ids)[..., None]
        student = F.log_softmax(self._model(input_ids=ids, use_cache=False).logits, dim=-1)
        self._through_sae = None
        loss = F.kl_div(student, teacher, reduction="batchmean")
        loss.backward()
        return loss.detach()

    def hook(self, transform: Transform) -> Any:
        """What puts an SAE into the output of a block while the student answers."""

        def replaced(_module: torch.nn.Module, _args: Any, outputs: Any) -> Any:
            if self._through_sae is None:
                return None
            stream = stream_of(outputs)
            return with_stream(outputs, torch.where(self._through_sae, transform(stream).to(stream.dtype), stream))

        return replaced


@contextmanager
def authors_loop(
    model: torch.nn.Module,
    transforms: Mapping[HookPoint, Transform],
    special_tokens: SpecialTokens,
    learning_rate: float,
    *,
    flushes_cache: bool = True,
) -> Iterator[AuthorsLoop]:
    """The loop on a model with its adapter attached; its hooks are gone when the block ends.

    Args:
        model: Attention must be eager, as theirs is.
        transforms: Dense reconstructions of SAEs behind a block (`resid_post`): the only place their code knows.
        special_tokens: Positions that bypass the SAE. Every position is scored.
        learning_rate: Constant.
        flushes_cache: Whether `torch.cuda.empty_cache()` is called every step; without a GPU there is no cache to flush.
    """
    loop = AuthorsLoop(model, special_tokens, learning_rate, flushes_cache)
    with ExitStack() as hooks:
        for hook_point, transform in transforms.items():
            module, side = place(model, hook_point)
            if side != "output":
                raise ValueError(f"the authors' loop has no hook for {hook_point}")
            hooks.callback(module.register_forward_hook(loop.hook(transform)).remove)
        yield loop
