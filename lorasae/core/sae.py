"""A frozen sparse autoencoder: encode, decode, reconstruct. Its weights are buffers, so nothing can ever train them.

    encode(x) = activation(normalised(x) [- b_dec] @ W_enc)      decode(f) = f @ W_dec + b_dec, un-normalised

Architectures differ only in `activation`. Batch TopK and Matryoshka SAEs are published as JumpReLU and need nothing of their own.
Weights keep sae-lens's names and shapes; `tests/core/test_sae.py` holds every architecture equal to sae-lens's own.
"""

from collections.abc import Callable, Mapping
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

Normalisation = Literal["none", "centred", "layer_norm", "constant_norm_rescale"]


class SparseAutoencoder(Protocol):
    """What the rest of the maths needs of an SAE; tests use toys of fifteen lines."""

    d_in: int
    d_sae: int

    def encode(self, x: Tensor) -> Tensor:
        """`(..., d_in)` -> feature activations `(..., d_sae)`."""
        ...

    def reconstruct(self, x: Tensor) -> Tensor:
        """`(..., d_in)` -> its reconstruction `(..., d_in)`."""
        ...


class ReLU(nn.Module):
    """max(0, pre + b)."""

    def __init__(self, b_enc: Tensor) -> None:
        super().__init__()
        self.b_enc = nn.Buffer(b_enc)

    def forward(self, projected: Tensor) -> Tensor:
        return (projected + self.b_enc).relu()


class JumpReLU(nn.Module):
    """pre where pre > threshold and pre > 0, else 0. The gradient goes through active features only, none to the threshold."""

    def __init__(self, b_enc: Tensor, threshold: Tensor) -> None:
        super().__init__()
        self.b_enc = nn.Buffer(b_enc)
        self.threshold = nn.Buffer(threshold)

    def forward(self, projected: Tensor) -> Tensor:
        pre = projected + self.b_enc
        return pre.relu() * (pre > self.threshold).to(pre.dtype)


class TopK(nn.Module):
    """The k largest pre-activations of each token, if positive. Which k is constant for the gradient."""

    def __init__(self, b_enc: Tensor, k: int) -> None:
        super().__init__()
        self.b_enc = nn.Buffer(b_enc)
        self.k = k

    def forward(self, projected: Tensor) -> Tensor:
        values, features = (projected + self.b_enc).topk(self.k, dim=-1, sorted=False)
        return torch.zeros_like(projected).scatter(-1, features, values.relu())


class Gated(nn.Module):
    """A gate decides which features are on, a magnitude path (the same weights, rescaled) how strongly."""

    def __init__(self, b_gate: Tensor, r_mag: Tensor, b_mag: Tensor) -> None:
        super().__init__()
        self.b_gate = nn.Buffer(b_gate)
        self.r_mag = nn.Buffer(r_mag)
        self.b_mag = nn.Buffer(b_mag)

    def forward(self, projected: Tensor) -> Tensor:
        gate = (projected + self.b_gate > 0).to(projected.dtype)
        return gate * (projected * self.r_mag.exp() + self.b_mag).relu()


class FrozenSAE(nn.Module):
    """An SAE of any supported architecture, in the dtype of its weights whatever the model's dtype is."""

    def __init__(
        self,
        W_enc: Tensor,
        W_dec: Tensor,
        b_dec: Tensor,
        activation: nn.Module,
        *,
        subtract_b_dec: bool = False,
        normalisation: Normalisation = "none",
    ) -> None:
        """
        Args:
            W_enc: `(d_in, d_sae)`.
            W_dec: `(d_sae, d_in)`.
            b_dec: `(d_in,)`.
            activation: Maps `x @ W_enc` to feature activations, `(..., d_sae)` to the same shape.
            subtract_b_dec: Whether b_dec is taken from the input before encoding.
            normalisation: Per-token rescaling of the input, undone on the output.
        """
        super().__init__()
        self.d_in, self.d_sae = W_enc.shape
        self.W_enc = nn.Buffer(W_enc)
        self.W_dec = nn.Buffer(W_dec)
        self.b_dec = nn.Buffer(b_dec)
        self.activation = activation
        self.subtract_b_dec = subtract_b_dec
        self.normalisation: Normalisation = normalisation
        self.eps = 1e-5 if normalisation == "layer_norm" else 0.0  # as in sae-lens: added on the way in, not taken off on the way out
        self.eval()

    def encode(self, x: Tensor) -> Tensor:
        """`(..., d_in)` in any dtype -> feature activations `(..., d_sae)`."""
        shift, scale = self._shift_and_scale(x.to(self.W_enc.dtype))
        return self.activation(self._encoder_input(x, shift, scale) @ self.W_enc)

    def decode(self, feature_acts: Tensor) -> Tensor:
        """`(..., d_sae)` -> `(..., d_in)`, before any normalisation of the input is undone."""
        return feature_acts @ self.W_dec + self.b_dec

    def reconstruct(self, x: Tensor) -> Tensor:
        """`(..., d_in)` in any dtype -> its reconstruction in the SAE's dtype; differentiable in x."""
        return self.normalised_around(x, lambda inner: self.decode(self.activation(inner @ self.W_enc)))

    def normalised_around(self, x: Tensor, coded: Callable[[Tensor], Tensor]) -> Tensor:
        """`coded`, from what the encoder reads to what the decoder writes, both `(..., d_in)`, with the normalisation of x around it."""
        shift, scale = self._shift_and_scale(x.to(self.W_enc.dtype))
        return coded(self._encoder_input(x, shift, scale)) * scale + shift

    def written_by(self, x: Tensor, feature: int) -> Tensor:
        """`(..., d_in)`: what one unit of a feature adds to the reconstruction of x; its decoder row, unless the input is rescaled."""
        _, scale = self._shift_and_scale(x.to(self.W_enc.dtype))
        return self.W_dec[feature] * scale

    def _encoder_input(self, x: Tensor, shift: Tensor | float, scale: Tensor | float) -> Tensor:
        x = (x.to(self.W_enc.dtype) - shift) / (scale + self.eps)
        return x - self.b_dec if self.subtract_b_dec else x

    def _shift_and_scale(self, x: Tensor) -> tuple[Tensor | float, Tensor | float]:
        """What is subtracted from and divided out of each token; each `(..., 1)` or a plain number."""
        if self.normalisation == "layer_norm":
            shift = x.mean(dim=-1, keepdim=True)
            return shift, (x - shift).std(dim=-1, keepdim=True)
        if self.normalisation == "constant_norm_rescale":
            return 0.0, x.norm(dim=-1, keepdim=True) / self.d_in**0.5
        if self.normalisation == "centred":  # trained on a model whose writing weights TransformerLens centred: GPT-2's older SAEs
            return x.mean(dim=-1, keepdim=True), 1.0
        return 0.0, 1.0


def sae_from_weights(architecture: str, weights: Mapping[str, Tensor], *, k: int | None = None, **options: bool | str) -> FrozenSAE:
    """Build the SAE of `architecture` from tensors under sae-lens's names.

    Args:
        architecture: standard, jumprelu, topk or gated.
        weights: `W_enc`, `W_dec`, `b_dec` and what the architecture adds (`b_enc`; `threshold`; `b_gate`, `r_mag`, `b_mag`).
        k: For topk.
        options: As in FrozenSAE.
    """
    activation: nn.Module
    if architecture == "standard":
        activation = ReLU(weights["b_enc"])
    elif architecture == "jumprelu":
        activation = JumpReLU(weights["b_enc"], weights["threshold"])
    elif architecture == "topk" and k is not None:
        activation = TopK(weights["b_enc"], k)
    elif architecture == "gated":
        activation = Gated(weights["b_gate"], weights["r_mag"], weights["b_mag"])
    else:
        raise ValueError(f"no SAE of architecture {architecture!r} with k={k}")
    return FrozenSAE(weights["W_enc"], weights["W_dec"], weights["b_dec"], activation, **options)  # type: ignore[arg-type]
