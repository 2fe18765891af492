"""transformers' models reckon norms and softmax in fp32 whatever they are given; for comparisons in fp64 they must not."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F


@pytest.fixture
def exact(monkeypatch):
    """A function that makes a model of transformers keep fp64 throughout."""
    softmax = F.softmax
    monkeypatch.setattr(F, "softmax", lambda x, dim, dtype=None, **_: softmax(x, dim, dtype=None if x.dtype == torch.float64 else dtype))

    def exactly(model: nn.Module) -> nn.Module:
        for module in model.modules():
            if type(module).__name__.endswith("RMSNorm"):
                monkeypatch.setattr(type(module), "forward", _plain_rms_norm)
        return model

    return exactly


def _plain_rms_norm(self: nn.Module, x: Tensor) -> Tensor:
    eps = getattr(self, "eps", None) or self.variance_epsilon
    gain = self.weight + 1 if type(self).__name__.startswith("Gemma") else self.weight
    return x * torch.rsqrt(x.square().mean(dim=-1, keepdim=True) + eps) * gain
