"""The Pocket Scope: JumpReLU SAEs on the pocket model's residual stream, trained by sae-lens's own trainer on activations kept on disk.

Each SAE is one `SAESpec`. Its sparsity is aimed at with Gemma Scope 2's quadratic penalty around a target L0, so that three targets give
three clearly different L0s at every layer and width. Weights are stored in float16, which halves them and which sae-lens widens again.
"""

import os
from collections.abc import Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np
import torch
from numpy.typing import NDArray
from sae_lens import JumpReLUTrainingSAE, JumpReLUTrainingSAEConfig, SAETrainer
from sae_lens.config import SAETrainerConfig
from sae_lens.saes.sae import SAEMetadata
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import Gemma2ForCausalLM

from lorasae.core.hook_points import HookPoint
from lorasae.core.splice import Transform, spliced
from lorasae.demo.build.corpus import SPECIAL_TOKENS
from lorasae.demo.build.plan import ScopePlan

Activations = NDArray[np.float32]


@dataclass(frozen=True)
class SAESpec:
    """One SAE of the scope: where it sits, how wide it is and how many features it should use per token."""

    layer: int
    width: str
    d_sae: int
    target_l0: int

    @property
    def hook_point(self) -> HookPoint:
        return HookPoint(self.layer, "resid_post")

    def __str__(self) -> str:
        return f"layer_{self.layer}_width_{self.width}_target_{self.target_l0}"


def specs(plan: ScopePlan) -> list[SAESpec]:
    """Every SAE of the plan, in training order: layer by layer, wide ones first because they take longest."""
    return [
        SAESpec(layer, width, d_sae, target_l0)
        for layer in plan.layers
        for width, d_sae in sorted(plan.widths, key=lambda row: -row[1])
        for target_l0 in plan.target_l0s
    ]


def activations_path(folder: Path, layer: int) -> Path:
    """File of a layer's activations."""
    return folder / f"activations_layer_{layer}.npy"


@torch.no_grad()
def cache_activations(model: Gemma2ForCausalLM, chunks: Tensor, layers: tuple[int, ...], folder: Path, batch_size: int = 32) -> None:
    """Write the stream after each layer, special tokens left out, as a float32 array `(tokens, d_in)` per layer.

    Args:
        model: In float32.
        chunks: `(n_chunks, pos)` token ids.
        layers: Decoder blocks whose output is wanted.
        folder: Where the files go.
        batch_size: Chunks per forward pass.
    """
    n_tokens = int(SPECIAL_TOKENS.spliced_positions(chunks).sum())
    shape = (n_tokens, model.config.hidden_size)
    partial = {layer: activations_path(folder, layer).with_suffix(".partial") for layer in layers}
    arrays = {layer: np.lib.format.open_memmap(path, "w+", np.float32, shape) for layer, path in partial.items()}
    filled = dict.fromkeys(layers, 0)

    def keep(layer: int) -> Transform:
        def write(stream: Tensor) -> Tensor:
            start = filled[layer]
            filled[layer] = start + len(stream)
            arrays[layer][start : filled[layer]] = stream.cpu().numpy()
            return stream

        return write

    with spliced(model, {HookPoint(layer, "resid_post"): keep(layer) for layer in layers}, SPECIAL_TOKENS):
        for tokens in chunks.split(batch_size):
            model.model(input_ids=tokens.long().to(model.device), use_cache=False)
    for layer, path in partial.items():
        arrays[layer].flush()
        path.rename(activations_path(folder, layer))


def train_sae(spec: SAESpec, plan: ScopePlan, activations: Activations, context_length: int, seed: int) -> JumpReLUTrainingSAE:
    """Train one SAE on activations `(tokens, d_in)`; decoder rows come out with norm 1, so that activations are lengths in the stream."""
    torch.manual_seed(seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    n_steps = plan.n_samples // plan.batch_size
    sae = JumpReLUTrainingSAE(
        JumpReLUTrainingSAEConfig(
            d_in=activations.shape[1],
            d_sae=spec.d_sae,
            device=device,
            apply_b_dec_to_input=False,
            normalize_activations="expected_average_only_in",
            jumprelu_sparsity_loss_mode="quadratic",
            target_l0=spec.target_l0,
            l0_coefficient=plan.l0_coefficient,
            l0_warm_up_steps=int(plan.l0_warm_up_share * n_steps),
            jumprelu_bandwidth=plan.bandwidth,
            jumprelu_init_threshold=initial_threshold(spec),
            decoder_init_norm=1.0,
            pre_act_loss_coefficient=plan.dead_feature_coefficient,
            metadata=SAEMetadata(
                model_name="pocket",
                hook_name=str(spec.hook_point),
                hf_hook_name=f"model.layers.{spec.layer}.output",
                prepend_bos=True,
                context_size=context_length,
                exclude_special_tokens=True,
                dataset_path="lorasae.demo.text",
            ),
        )
    )
    config = SAETrainerConfig(
        total_training_samples=n_steps * plan.batch_size,
        train_batch_size_samples=plan.batch_size,
        device=device,
        lr=plan.learning_rate,
        lr_end=plan.learning_rate / 10,
        lr_warm_up_steps=n_steps // 50,
        lr_decay_steps=n_steps // 4,
        dead_feature_window=plan.dead_feature_window,
        n_batches_for_norm_estimate=50,
    )
    with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):  # the trainer draws a progress bar
        SAETrainer(cfg=config, sae=sae, data_provider=shuffled_batches(activations, plan.batch_size, seed)).fit()
    sae.fold_W_dec_norm()
    return sae


def initial_threshold(spec: SAESpec) -> float:
    """The threshold at which unit-normal pre-activations, roughly what the first random encoder gives, have the target L0.

    Adam moves a threshold by no more than the learning rate per step, so that one far away would not arrive in a short training.
    """
    return NormalDist().inv_cdf(1 - spec.target_l0 / spec.d_sae)


def shuffled_batches(activations: Activations, batch_size: int, seed: int) -> Iterator[Tensor]:
    """Endless batches `(batch, d_in)`: every activation once in random order, then again in another."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        order = torch.randperm(len(activations), generator=generator).numpy()
        for start in range(0, len(order) - batch_size + 1, batch_size):
            yield torch.from_numpy(activations[order[start : start + batch_size]])


def store(sae: JumpReLUTrainingSAE, folder: Path) -> None:
    """Write `cfg.json` and `sae_weights.safetensors` as sae-lens does, but the tensors in float16."""
    sae.cfg.device = "cpu"
    weights_path, _ = sae.cpu().save_inference_model(folder)
    save_file({name: tensor.half() for name, tensor in load_file(weights_path).items()}, weights_path)
