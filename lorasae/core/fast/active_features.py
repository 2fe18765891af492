"""Which features are active on which token, and how strongly: all that decoding and its gradient need of `(tokens, d_sae)`.

`Encoder` computes every pre-activation in the SAE's precision, a chunk of tokens at a time. `ScreenedEncoder` computes them in bf16, keeps
whatever could be active if bf16 erred as far as it can, and decides those alone in the SAE's precision, so that its active set is the same.
How far bf16 can err is known per token and feature: with x', w' the rounded vectors,

    |x w - x' w'|  =  |(x - x') w + x' (w - w')|  <=  ||x - x'|| ||w|| + ||x'|| ||w - w'||

and the norms on the right are computed, not estimated; what fp32 sums add is bounded by d_in * 2^-23 ||x'|| ||w'||.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lorasae.core.fast.products import mixed_product, product, sums_in_fp32

PIECE = 2**14  # candidates decided at a time: their gathered encoder rows are PIECE x d_in


@dataclass(frozen=True)
class ActiveFeatures:
    """Features and values token after token, as `torch.nn.functional.embedding_bag` reads them."""

    features: Tensor  # (active,) int32
    offsets: Tensor  # (tokens,) int32: where each token's begin
    values: Tensor  # (active,)


class Activation(Protocol):
    """Decides from pre-activations which features are active."""

    def active(self, pre: Tensor) -> Tensor:
        """`(rows, d_sae)` -> positions of the active in the flattened pre-activations, row after row."""
        ...

    def possibly_active(self, pre: Tensor, margin: "Margin") -> Tensor:
        """The same, of all that can be active if every pre-activation may err by its margin. `pre` is used up."""
        ...


@dataclass(frozen=True)
class Margin:
    """How far each of `(rows, d_sae)` can err, as a product: a tensor of its own would be as large as the pre-activations."""

    per_token: Tensor  # (rows, 3)
    per_feature: Tensor  # (3, d_sae)

    def below(self, pre: Tensor) -> Tensor:
        """Lower bounds."""
        return torch.addmm(pre, self.per_token, self.per_feature, alpha=-1)

    def above_(self, pre: Tensor) -> Tensor:
        """Upper bounds, in place of `pre`."""
        return pre.addmm_(self.per_token, self.per_feature)


@dataclass(frozen=True)
class Threshold:
    """Active above the feature's floor: ReLU with a floor of zero, JumpReLU with its threshold."""

    floor: Tensor  # (d_sae,), >= 0

    def active(self, pre: Tensor) -> Tensor:
        """As in Activation."""
        return true_positions(pre > self.floor)

    def possibly_active(self, pre: Tensor, margin: Margin) -> Tensor:
        """As in Activation."""
        return true_positions(margin.above_(pre) > self.floor)


@dataclass(frozen=True)
class Largest:
    """TopK: active among the k largest of the token, if positive."""

    k: int

    def active(self, pre: Tensor) -> Tensor:
        """As in Activation."""
        values, features = pre.topk(self.k, dim=1, sorted=False)
        positions = features + torch.arange(len(pre), device=pre.device)[:, None] * pre.shape[1]
        return positions[values > 0]

    def possibly_active(self, pre: Tensor, margin: Margin) -> Tensor:
        """As in Activation: whoever may reach the k-th largest lower bound, which k features are sure to reach."""
        sure = margin.below(pre).topk(self.k, dim=1, sorted=False).values.amin(dim=1, keepdim=True)
        return true_positions(margin.above_(pre) >= sure.clamp(min=0))


def true_positions(mask: Tensor) -> Tensor:
    """Where a boolean tensor is true, flattened; numpy finds them three times faster on a processor."""
    if mask.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return mask.flatten().nonzero().squeeze(1)


class Encoder:
    """`x @ W_enc + b_enc` of every feature, and the activation's choice among them."""

    def __init__(self, W_enc: Tensor, b_enc: Tensor, activation: Activation) -> None:
        self.W_enc, self.b_enc, self.activation = W_enc, b_enc, activation

    def active(self, x: Tensor, rows: int) -> ActiveFeatures:
        """Active features of `(tokens, d_in)`, of which `rows` at a time meet all features."""
        d_sae, chunks = self.W_enc.shape[1], x.split(rows)
        pre = x.new_empty(len(chunks[0]), d_sae)
        features, counts, values = [], [], []
        for chunk in chunks:
            positions, of_chunk = self._of_chunk(chunk, pre[: len(chunk)])
            features.append((positions % d_sae).int())
            counts.append(torch.bincount(positions // d_sae, minlength=len(chunk)))
            values.append(of_chunk)
        per_token = torch.cat(counts)
        return ActiveFeatures(torch.cat(features), (per_token.cumsum(0) - per_token).int(), torch.cat(values))

    @cached_property
    def by_feature(self) -> Tensor:
        """`(d_sae, d_in)`: each feature's encoder weights side by side. A copy, made when first needed, unless they are stored so."""
        return self.W_enc.T.contiguous()

    def _of_chunk(self, x: Tensor, pre: Tensor) -> tuple[Tensor, Tensor]:
        """Positions in `(rows, d_sae)` and values; `pre` is room for the pre-activations."""
        product(pre, x, self.W_enc)
        pre.add_(self.b_enc)  # as the plain SAE adds it: a sum begun with the bias rounds differently at the threshold
        positions = self.activation.active(pre)
        return positions, pre.flatten()[positions]


class ScreenedEncoder(Encoder):
    """The same active set by a screen in bf16; worth its second copy of the weights where the product in bf16 is many times faster."""

    def __init__(self, W_enc: Tensor, b_enc: Tensor, activation: Activation) -> None:
        super().__init__(W_enc, b_enc, activation)
        self.rounded = W_enc.bfloat16()
        rounded = self.rounded.to(W_enc.dtype)
        summation = len(W_enc) * 2.0**-23 * rounded.norm(dim=0)
        # fp32 sums and additions, these norms, and the margins' own product (on a GPU perhaps in TF32) are rounded: hence 2^-21 and 2^-9
        self.margins = (1 + 2**-9) * torch.stack(
            [W_enc.norm(dim=0), (W_enc - rounded).norm(dim=0) + summation + 2**-21 * rounded.norm(dim=0), 2**-21 * b_enc.abs()]
        )

    def _of_chunk(self, x: Tensor, pre: Tensor) -> tuple[Tensor, Tensor]:
        rounded = x.bfloat16()
        widened = rounded.to(x.dtype)
        self._product(rounded, pre)
        per_token = torch.stack([(x - widened).norm(dim=1), widened.norm(dim=1), x.new_ones(len(x))], dim=1)
        candidates = self.activation.possibly_active(pre.add_(self.b_enc), Margin(per_token, self.margins))
        pre.fill_(-torch.inf).view(-1)[candidates] = self._decided(x, candidates)
        positions = self.activation.active(pre)
        return positions, pre.flatten()[positions]

    def _product(self, rounded: Tensor, out: Tensor) -> None:
        if sums_in_fp32(rounded):
            mixed_product(out, rounded, self.rounded)
        else:  # without such hardware there is nothing to gain, only to test: bf16 values, summed in the SAE's precision
            product(out, rounded.to(out.dtype), self.rounded.to(out.dtype))

    def _decided(self, x: Tensor, candidates: Tensor) -> Tensor:
        """`(candidates,)`: their pre-activations in the SAE's precision."""
        pieces = [x.new_empty(0)]
        for piece in candidates.split(PIECE):
            token, feature = piece // len(self.by_feature), piece % len(self.by_feature)
            pieces.append((x[token] * self.by_feature[feature]).sum(dim=1) + self.b_enc[feature])
        return torch.cat(pieces)
