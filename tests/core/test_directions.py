"""Logit effects and neighbours of decoder rows, against what adding the direction truly does."""

import pytest
import torch
from torch import nn

from lorasae.core.directions import logit_effects, nearest_decoders, through_norm
from lorasae.core.hook_points import HookPoint
from tests.core.toys import D_IN, FAMILIES, VOCAB, adapted_model, resid, sparse_sae, tiny_model


@pytest.mark.parametrize("family", FAMILIES)
def test_behind_the_last_layer_logits_move_as_told(family):
    """There the direct path is the only one; the norm's own scale is taken out by a stream of scale 1 that the direction keeps."""
    model = tiny_model(family)
    model.config.final_logit_softcapping = None
    inner = next(module for name in ("model", "transformer") if (module := getattr(model, name, None)) is not None)
    norm = inner.ln_f if family == "gpt2" else inner.norm
    with torch.no_grad():
        for parameter in norm.parameters():
            parameter.add_(0.5 * torch.randn_like(parameter))
        stream = torch.randn(D_IN, dtype=torch.float64)
        stream = ((stream - stream.mean()) / stream.std(correction=0)).float()
        direction = torch.randn(D_IN)
        direction -= direction.mean() + (direction @ stream) / D_IN * stream  # changes neither mean nor scale, to first order
        step = 1e-3
        moved = model.lm_head(norm(stream + step * direction)) - model.lm_head(norm(stream))
    effects = logit_effects(model, resid(3), direction)
    torch.testing.assert_close(effects, (moved - moved.mean()) / step, atol=2e-2, rtol=1e-2)


def test_the_adapter_has_no_part_in_it_and_heads_go_through_their_projection():
    direction = torch.randn(D_IN)
    original, adapted = tiny_model("llama"), adapted_model("llama", trained=True)
    assert torch.equal(logit_effects(original, resid(2), direction), logit_effects(adapted, resid(2), direction))
    projected = original.model.layers[2].self_attn.o_proj.weight @ direction
    torch.testing.assert_close(logit_effects(adapted, HookPoint(2, "attn_z"), direction), logit_effects(original, resid(2), projected))
    assert logit_effects(original, resid(2), direction).shape == (VOCAB,)


def test_a_layer_norm_centres_and_a_missing_norm_does_nothing():
    norm = nn.LayerNorm(D_IN)
    nn.init.normal_(norm.bias)
    assert torch.allclose(through_norm(norm, torch.ones(D_IN)), torch.zeros(D_IN), atol=1e-4)
    assert torch.equal(through_norm(None, torch.ones(D_IN)), torch.ones(D_IN))


def test_neighbours_are_the_most_parallel_rows_without_the_feature_itself():
    sae = sparse_sae()
    sae.W_dec[7] = 5 * sae.W_dec[3]
    sae.W_dec[9] = -sae.W_dec[3]
    (first, cosine), *others = nearest_decoders(sae, 3, 4)
    assert first == 7 and cosine == pytest.approx(1, abs=1e-5)
    assert len(others) == 3 and not {3, 9} & {feature for feature, _ in others}
    assert len(nearest_decoders(sae, 3, 100)) == sae.d_sae - 1
