"""Every architecture, read by us, equals sae-lens's own: features, reconstruction and gradient."""

import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lorasae.core.sae import FrozenSAE, sae_from_weights
from lorasae.sources.sae_weights import read_sae
from tests.toys import D_IN, D_SAE, sae_tensors, write_sae

CASES = [
    ("standard", {}),
    ("topk", {}),
    ("topk", {"rescale_acts_by_decoder_norm": True}),
    ("jumprelu", {}),
    ("gated", {}),
]
NORMALISATIONS = ["none", "layer_norm", "constant_norm_rescale", "expected_average_only_in"]


def stream() -> Tensor:
    """A stream with a mean and token norms far apart, as real ones have."""
    x = torch.randn(3, 7, D_IN) * torch.rand(3, 7, 1).mul(4).exp() + 2.0
    return x.requires_grad_()


def assert_close_to_rounding(ours: Tensor, theirs: Tensor) -> None:
    """To 1e-6 of the largest value."""
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6 * max(1.0, theirs.abs().max().item()))


def assert_equal_to_sae_lens(folder: Path) -> FrozenSAE:
    from sae_lens import SAE

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = SAE.load_from_disk(folder)
    ours, x = read_sae(folder), stream()
    y = x.detach().clone().requires_grad_()
    assert_close_to_rounding(ours.encode(x), theirs.encode(x))
    theirs.decode(theirs.encode(x))  # sae-lens keeps the norms of encode until decode
    reconstruction, expected = ours.reconstruct(x), theirs(y)
    assert_close_to_rounding(reconstruction, expected)
    direction = torch.randn_like(reconstruction)
    (reconstruction * direction).sum().backward()
    (expected * direction).sum().backward()
    assert x.grad is not None and y.grad is not None and y.grad.abs().max() > 0
    assert_close_to_rounding(x.grad, y.grad)
    return ours


@pytest.mark.parametrize("normalisation", NORMALISATIONS)
@pytest.mark.parametrize("subtract_b_dec", [False, True])
@pytest.mark.parametrize(("architecture", "settings"), CASES)
def test_features_reconstruction_and_gradient_equal_those_of_sae_lens(tmp_path, architecture, settings, subtract_b_dec, normalisation):
    folder = write_sae(tmp_path, architecture, apply_b_dec_to_input=subtract_b_dec, normalize_activations=normalisation, **settings)
    ours = assert_equal_to_sae_lens(folder)
    share_active = (ours.encode(stream()) > 0).float().mean()
    assert 0 < share_active < 1


@pytest.mark.parametrize("kind", ["BatchTopK", "MatryoshkaBatchTopK"])
@pytest.mark.parametrize("rescale", [False, True])
def test_batch_topk_and_matryoshka_saes_trained_by_sae_lens_are_read_as_jumprelu(tmp_path, kind, rescale):
    import sae_lens
    from sae_lens.config import SAETrainerConfig
    from sae_lens.training.sae_trainer import SAETrainer

    widths = {"matryoshka_widths": [16, D_SAE]} if kind.startswith("Matryoshka") else {}
    options = {"d_in": D_IN, "d_sae": D_SAE, "k": 6, "rescale_acts_by_decoder_norm": rescale, "topk_threshold_lr": 0.5, **widths}
    training = getattr(sae_lens, f"{kind}TrainingSAE")(getattr(sae_lens, f"{kind}TrainingSAEConfig")(**options))
    settings = SAETrainerConfig(total_training_samples=128, train_batch_size_samples=64, lr=1e-2, lr_end=1e-2)
    batches = (torch.randn(64, D_IN) + 2.0 for _ in range(4))
    SAETrainer(cfg=settings, sae=training, data_provider=batches).fit().save_inference_model(tmp_path)
    ours = assert_equal_to_sae_lens(tmp_path)
    assert type(ours.activation).__name__ == "JumpReLU" and (ours.activation.threshold > 0).all()


def test_the_config_of_older_sae_lens_versions_is_understood(tmp_path):
    import json

    folder = write_sae(tmp_path, "topk")
    old = {"d_in": D_IN, "d_sae": D_SAE, "dtype": "float32", "hook_point": "blocks.1.hook_resid_post", "model_name": "gpt2-small"}
    activation = {"activation_fn_str": "topk", "activation_fn_kwargs": {"k": 5}, "normalize_activations": "layer_norm"}
    (folder / "cfg.json").write_text(json.dumps({**old, **activation}))
    assert (assert_equal_to_sae_lens(folder).encode(stream()) > 0).sum(-1).max() == 5


def test_nothing_of_an_sae_can_be_trained(tmp_path):
    sae = read_sae(write_sae(tmp_path))
    assert not list(sae.parameters()) and not sae.training
    assert not any(buffer.requires_grad for buffer in sae.buffers())
    assert not sae.reconstruct(stream().detach()).requires_grad


def test_half_precision_weights_are_raised_to_float32(tmp_path):
    weights = {name: tensor.half() for name, tensor in sae_tensors("jumprelu").items()}
    sae = read_sae(write_sae(tmp_path, weights=weights, dtype="float16"))
    assert {buffer.dtype for buffer in sae.buffers()} == {torch.float32}
    assert torch.equal(sae.W_dec, weights["W_dec"].float())


def test_a_bfloat16_stream_is_encoded_in_float32():
    sae = sae_from_weights("jumprelu", sae_tensors("jumprelu"))
    x = stream().detach().bfloat16()
    assert torch.equal(sae.reconstruct(x), sae.reconstruct(x.float())) and sae.reconstruct(x).dtype == torch.float32


def test_leading_dimensions_do_not_matter():
    sae = sae_from_weights("topk", sae_tensors("topk"), k=8, normalisation="layer_norm")
    x = stream().detach()
    torch.testing.assert_close(sae.reconstruct(x).flatten(0, 1), sae.reconstruct(x.flatten(0, 1)))


def test_a_centred_sae_sees_the_stream_without_its_mean_and_gives_the_mean_back():
    plain, centred = (sae_from_weights("standard", sae_tensors("standard"), normalisation=name) for name in ("none", "centred"))
    x = stream().detach()
    mean = x.mean(-1, keepdim=True)
    torch.testing.assert_close(centred.encode(x), plain.encode(x - mean))
    torch.testing.assert_close(centred.reconstruct(x), plain.reconstruct(x - mean) + mean)


def test_an_sae_of_a_model_with_centred_weights_is_read_as_centred(tmp_path):
    metadata = {"model_from_pretrained_kwargs": {"center_writing_weights": True}}
    assert read_sae(write_sae(tmp_path, metadata=metadata)).normalisation == "centred"


def test_an_unknown_architecture_is_a_programming_error():
    with pytest.raises(ValueError, match="abstopk"):
        sae_from_weights("abstopk", sae_tensors("standard"))
