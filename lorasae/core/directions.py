"""What a feature's decoder row says by itself, without any text: which tokens it raises, and which features point the same way."""

import torch
from torch import Tensor, nn

from lorasae.core.adapter import adapter_off
from lorasae.core.hook_points import HookPoint, decoder_blocks_path, place, unwrapped
from lorasae.core.sae import FrozenSAE

_FINAL_NORMS = ("norm", "ln_f", "final_layer_norm", "final_layernorm")


def logit_effects(model: nn.Module, hook_point: HookPoint, direction: Tensor) -> Tensor:
    """`(vocab,)`: what adding `direction` at the hook point does to the logits along the direct path, mean removed.

    The path is the residual connection alone: the gain of the final norm, with the token's own scale taken as 1, and the unembedding.
    The layers above, the norm's division and any soft cap are left out; the original model's weights are used.
    """
    with torch.no_grad(), adapter_off(model):
        bare = unwrapped(model)
        stream = direction
        if hook_point.site == "attn_z":  # heads side by side: what the stream gets is their output projection
            projection, _ = place(model, hook_point)
            stream = projection(direction.to(_dtype(projection))) - projection(torch.zeros_like(direction, dtype=_dtype(projection)))
        arriving = through_norm(_final_norm(bare), stream.float())
        unembedding = bare.get_output_embeddings()
        logits = unembedding.weight @ arriving.to(unembedding.weight.dtype)
        return (logits - logits.mean()).float()


def through_norm(norm: nn.Module | None, direction: Tensor) -> Tensor:
    """The direction times the norm's gain; centred first if the norm centres. Found by trying, so that it serves every family's norm.

    A vector of alternating signs has mean 0 and scale 1: what the norm makes of it and of its negative differs by twice the gain.
    """
    if norm is None:
        return direction
    signs = torch.ones_like(direction)
    signs[1::2] = -1
    dtype = _dtype(norm)
    up, down, moved = (norm(each.to(dtype)).float() for each in (signs, -signs, signs + 1))
    gain = (up - down) / 2 * signs
    centres = torch.allclose(up, moved, atol=1e-2)
    return (direction - direction.mean() if centres else direction) * gain


def _final_norm(bare: nn.Module) -> nn.Module | None:
    """The norm beside the list of blocks; None where a family has none."""
    parent = bare.get_submodule(decoder_blocks_path(bare).rpartition(".")[0])
    return next((module for name in _FINAL_NORMS if (module := getattr(parent, name, None)) is not None), None)


def _dtype(module: nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype


def nearest_decoders(sae: FrozenSAE, feature: int, n: int) -> list[tuple[int, float]]:
    """The features whose decoder rows point most nearly the same way, with their cosines; the feature itself left out."""
    W_dec = sae.W_dec
    norms = W_dec.norm(dim=-1).clamp(min=1e-12)
    cosines = (W_dec @ W_dec[feature]) / (norms * norms[feature])
    cosines[feature] = -2
    found = cosines.topk(min(n, sae.d_sae - 1))
    return [(int(index), float(cosine)) for index, cosine in zip(found.indices, found.values, strict=True)]
