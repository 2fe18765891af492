"""The whole method on every family: the KL falls, the base model and the SAE stay as they are bit for bit."""

import pytest
import torch

from lorasae.core.adapter import adapter_off, adapter_parameters, attach, layers_after
from lorasae.core.hook_points import HookPoint
from lorasae.core.sae import sae_from_weights
from lorasae.core.special_tokens import SpecialTokens
from lorasae.core.splice import spliced
from lorasae.core.step import ReferenceGradients, optimizer_step
from tests.toys import D_IN, FAMILIES, N_LAYERS, VOCAB, tiny_model

SPECIAL = SpecialTokens(bypassed=(1, 2), unscored=(1, 2))


def lossy_sae(threshold):
    """Features are the stream's axes and their negatives; what lies below the threshold is lost."""
    eye = torch.eye(D_IN)
    weights = {"W_enc": torch.cat([eye, -eye], dim=1), "W_dec": torch.cat([eye, -eye]), "b_dec": torch.zeros(D_IN)}
    return sae_from_weights("jumprelu", {**weights, "b_enc": torch.zeros(2 * D_IN), "threshold": torch.full((2 * D_IN,), threshold)})


@pytest.mark.parametrize("placement", ["after", "all"])
@pytest.mark.parametrize("family", FAMILIES)
def test_fifteen_steps_bring_the_adapted_model_nearer_to_the_original(family, placement):
    hook_point = HookPoint(1, "resid_post")
    layers = layers_after([hook_point], N_LAYERS) if placement == "after" else tuple(range(N_LAYERS))
    model = attach(tiny_model(family), layers, ("attention", "mlp"), rank=4, alpha=8.0, dropout=0.0)
    ids = torch.randint(3, VOCAB, (4, 24), generator=torch.Generator().manual_seed(0))
    ids[:, 0] = 1
    seen = []
    with torch.no_grad(), adapter_off(model), spliced(model, {hook_point: lambda x: (seen.append(x), x)[1]}, SPECIAL):
        original = model(input_ids=ids).logits
    sae = lossy_sae(0.7 * seen[0].std().item())
    frozen = {name: parameter.clone() for name, parameter in model.named_parameters() if not parameter.requires_grad}
    sae_before = {name: tensor.clone() for name, tensor in sae.state_dict().items()}
    optimizer = torch.optim.AdamW(adapter_parameters(model), weight_decay=0.0)
    gradients = ReferenceGradients(model, {hook_point: sae.reconstruct}, SPECIAL, "mean")
    outcomes = [optimizer_step(gradients, optimizer, [ids[:2], ids[2:]], learning_rate=1e-2, gradient_clip=1.0) for _ in range(15)]
    assert outcomes[0].kl > 1e-4 and outcomes[-1].kl < 0.95 * outcomes[0].kl and all(outcome.finite for outcome in outcomes)
    assert all(torch.equal(parameter, frozen[name]) for name, parameter in model.named_parameters() if name in frozen)
    assert all(torch.equal(tensor, sae_before[name]) for name, tensor in sae.state_dict().items())
    with torch.no_grad(), adapter_off(model):
        assert torch.equal(model(input_ids=ids).logits, original)
