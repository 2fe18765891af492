"""A frozen SAE that decodes, and passes its gradient, through the active features alone: some dozens of the thousands.

Encoding still meets every feature, a chunk of tokens at a time; of `(tokens, d_sae)` only the active entries are kept. From there on

    x_hat = sum over active features of value * W_dec[feature]          d value = d x_hat . W_dec[feature]
    d x   = sum over active features of d value * W_enc[:, feature]

which is `embedding_bag` three times. Which features are active is constant for the gradient, as in the plain SAE.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lorasae.core.fast.active_features import Activation, Encoder, Largest, ScreenedEncoder, Threshold
from lorasae.core.fast.chunks import encoded_rows_per_chunk
from lorasae.core.fast.products import sums_in_fp32
from lorasae.core.sae import FrozenSAE, JumpReLU, ReLU, TopK

SCREENED_FROM = 65_536  # features; below, one fp32 product costs a GPU less than a bf16 one and a second look


class FastSAE:
    """`sae.reconstruct`, equal to rounding. Built once the SAE is on its device; architectures it has no fast way for go the plain way."""

    def __init__(self, sae: FrozenSAE) -> None:
        self.sae = sae
        self.d_in, self.d_sae = sae.d_in, sae.d_sae
        self._encoder = _encoder(sae)

    def encode(self, x: Tensor) -> Tensor:
        """`(..., d_in)` -> feature activations `(..., d_sae)`, the plain way: whoever asks wants them all."""
        return self.sae.encode(x)

    def reconstruct(self, x: Tensor) -> Tensor:
        """`(..., d_in)` in any dtype -> its reconstruction in the SAE's dtype; differentiable in x."""
        if self._encoder is None:
            return self.sae.reconstruct(x)
        return self.sae.normalised_around(x, self._coded)

    def _coded(self, inner: Tensor) -> Tensor:
        """What the decoder writes for what the encoder reads."""
        tokens = inner.reshape(-1, self.d_in)
        values, features, offsets = _Encoded.apply(tokens, self._encoder, encoded_rows_per_chunk(self.d_sae, tokens.is_cuda))
        written = F.embedding_bag(features, self.sae.W_dec, offsets, mode="sum", per_sample_weights=values)
        not_finite = tokens.detach().sum(dim=-1, keepdim=True) * 0  # NaN is above no threshold, but must not pass for silence
        return (written + (self.sae.b_dec + not_finite)).view(inner.shape)


class _Encoded(torch.autograd.Function):
    """Values of the active features, which features these are, and where each token's begin."""

    @staticmethod
    def forward(ctx: Any, tokens: Tensor, encoder: Encoder, rows: int) -> tuple[Tensor, Tensor, Tensor]:
        active = encoder.active(tokens, rows)
        ctx.encoder = encoder
        ctx.save_for_backward(active.features, active.offsets)
        ctx.mark_non_differentiable(active.features, active.offsets)
        return active.values, active.features, active.offsets

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_values: Tensor, _features: None, _offsets: None) -> tuple[Tensor, None, None]:
        features, offsets = ctx.saved_tensors
        return F.embedding_bag(features, ctx.encoder.by_feature, offsets, mode="sum", per_sample_weights=d_values), None, None


def _encoder(sae: FrozenSAE) -> Encoder | None:
    activation = _activation(sae.activation)
    if activation is None:
        return None
    b_enc = sae.activation.get_buffer("b_enc")
    screened = sums_in_fp32(sae.W_enc) and sae.W_enc.dtype == torch.float32 and sae.d_sae >= SCREENED_FROM
    return (ScreenedEncoder if screened else Encoder)(sae.W_enc, b_enc, activation)


def _activation(activation: nn.Module) -> Activation | None:
    if isinstance(activation, ReLU):
        return Threshold(torch.zeros_like(activation.b_enc))
    if isinstance(activation, JumpReLU):
        return Threshold(activation.threshold.clamp(min=0))
    if isinstance(activation, TopK):
        return Largest(activation.k)
    return None
