"""The conditions, against SAEs whose effect is known beforehand and against direct computation."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lorasae.core.adapter import adapter_off, train_adapter_only
from lorasae.core.conditions import ALL, BEFORE
from lorasae.core.evaluate import Measurement, measure
from lorasae.core.hook_points import HookPoint
from lorasae.core.plain_pass import PlainPass
from lorasae.core.sae import FrozenSAE
from lorasae.core.splice import Transform, spliced
from lorasae.core.statistics import SiteStatistics
from tests.core.toys import (
    BOS,
    EOS,
    FAMILIES,
    NO_SPECIAL,
    SPECIAL,
    IdentitySAE,
    ZeroSAE,
    adapted_model,
    resid,
    some_ids,
    sparse_sae,
    tiny_model,
)


def value(measurement: Measurement, key: str) -> float:
    return measurement.metrics()[key][0]


def logits_of(model: nn.Module, ids: Tensor, transforms: Mapping[HookPoint, Transform] | None = None) -> Tensor:
    with torch.no_grad(), spliced(model, transforms or {}, SPECIAL):
        return model(input_ids=ids, use_cache=False).logits


# --- SAEs whose effect is known


@pytest.mark.parametrize("family", FAMILIES)
def test_an_identity_sae_leaves_no_gap_and_recovers_all_loss(family: str) -> None:
    measured = measure(adapted_model(family), [some_ids(4)], {resid(1): IdentitySAE()}, SPECIAL)
    assert value(measured, "ce_gap_before") == value(measured, "ce_gap_after") == 0
    assert value(measured, "loss_recovered_original_sae") == value(measured, "loss_recovered_adapted_sae") == 1
    assert value(measured, "kl_original_sae") == 0
    assert measured.sites[resid(1)].fve == 1


def test_where_the_sae_costs_nothing_there_is_no_gap_to_close() -> None:
    """Not 0 and not 1 and no warning: there is no such number."""
    assert np.isnan(value(measure(adapted_model("gpt2"), [some_ids(4)], {resid(1): IdentitySAE()}, SPECIAL), "gap_closed"))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_zero_sae_recovers_no_loss(family: str) -> None:
    measured = measure(adapted_model(family), [some_ids(4)], {resid(1): ZeroSAE()}, SPECIAL)
    assert value(measured, "ce_original_sae") == value(measured, "ce_zero") != value(measured, "ce_original")
    assert value(measured, "loss_recovered_original_sae") == 0


def test_a_fresh_adapter_changes_no_condition() -> None:
    measured = measure(adapted_model("llama"), [some_ids(4)], {resid(1): sparse_sae()}, SPECIAL)
    assert value(measured, "kl_adapted") == 0
    assert value(measured, "ce_adapted") == value(measured, "ce_original")
    assert value(measured, "ce_adapted_sae") == value(measured, "ce_original_sae") != value(measured, "ce_original")
    assert value(measured, "gap_closed") == 0


# --- against direct computation


@pytest.mark.parametrize("family", FAMILIES)
def test_every_condition_equals_its_direct_computation(family: str) -> None:
    ids, sae = some_ids(5), sparse_sae()
    plain, adapted = tiny_model(family), adapted_model(family, (0, 3), trained=True)
    measured = measure(adapted, [ids], {resid(1): sae}, SPECIAL)
    expected = {
        "original": logits_of(plain, ids),
        "original_sae": logits_of(plain, ids, {resid(1): sae.reconstruct}),
        "adapted_sae": logits_of(adapted, ids, {resid(1): sae.reconstruct}),
        "adapted": logits_of(adapted, ids),
        "zero": logits_of(plain, ids, {resid(1): torch.zeros_like}),
    }
    assert measured.ce_sums.keys() == expected.keys()
    assert measured.kl_sums.keys() == expected.keys() - {"original", "zero"}

    scored = (ids != BOS) & (ids != EOS)
    teacher = expected["original"].double().log_softmax(dim=-1)
    for name, logits in expected.items():
        log_q = logits.double().log_softmax(dim=-1)
        ce = -log_q[:, :-1].gather(-1, ids[:, 1:, None])[..., 0]
        np.testing.assert_allclose(measured.ce_sums[name], (ce * scored[:, :-1]).sum(dim=1).numpy(), rtol=1e-5)
        assert value(measured, f"ce_{name}") == pytest.approx(ce[scored[:, :-1]].mean().item(), rel=1e-5)
        if name in measured.kl_sums:
            kl = (teacher.exp() * (teacher - log_q)).sum(dim=-1)
            np.testing.assert_allclose(measured.kl_sums[name], (kl * scored).sum(dim=1).numpy(), rtol=1e-4, atol=1e-5)
            assert value(measured, f"kl_{name}") == pytest.approx(kl[scored].mean().item(), rel=1e-4)
    np.testing.assert_array_equal(measured.n_positions, scored.sum(dim=1).numpy())
    np.testing.assert_array_equal(measured.n_predictions, scored[:, :-1].sum(dim=1).numpy())


def test_gaps_and_fractions_follow_from_the_losses() -> None:
    measured = measure(adapted_model("gpt2", trained=True), [some_ids(5)], {resid(1): sparse_sae()}, SPECIAL)
    ce = {name: value(measured, f"ce_{name}") for name in measured.ce_sums}
    before, after = ce["original_sae"] - ce["original"], ce["adapted_sae"] - ce["original"]
    assert value(measured, "ce_gap_before") == pytest.approx(before)
    assert value(measured, "ce_gap_after") == pytest.approx(after)
    assert value(measured, "gap_closed") == pytest.approx(1 - after / before)
    assert value(measured, "ce_change_adapted") == pytest.approx(ce["adapted"] - ce["original"])
    for name in ("original_sae", "adapted_sae"):
        assert value(measured, f"loss_recovered_{name}") == pytest.approx((ce["zero"] - ce[name]) / (ce["zero"] - ce["original"]))
    assert all(np.isfinite(error) and error >= 0 for _, error in measured.metrics().values())


def test_cross_entropy_without_special_tokens_is_transformers_own_loss() -> None:
    """The research code reports `model(ids, labels=ids).loss`."""
    model, ids = tiny_model("gpt2"), some_ids(5)
    measured = measure(model, [ids], {}, NO_SPECIAL, ("original",))
    with torch.no_grad():
        assert value(measured, "ce_original") == pytest.approx(model(input_ids=ids, labels=ids).loss.item(), rel=1e-5)


@pytest.mark.parametrize("sizes", [(1, 5), (2, 2, 2)])
def test_the_cut_into_batches_does_not_matter(sizes: tuple[int, ...]) -> None:
    """Sequences have unequal numbers of special tokens, so that a mean of batch means would differ."""
    model, ids, saes = adapted_model("llama", trained=True), some_ids(6), {resid(1): sparse_sae()}
    whole, parts = (measure(model, batches, saes, SPECIAL) for batches in ([ids], ids.split(sizes)))
    for key, (expected, error) in whole.metrics().items():
        assert parts.metrics()[key] == pytest.approx((expected, error), rel=1e-3, abs=1e-5), key
    assert parts.sites[resid(1)].fve == pytest.approx(whole.sites[resid(1)].fve, rel=1e-6)
    assert parts.sites[resid(1)].l0 == whole.sites[resid(1)].l0


def test_only_what_is_asked_for_is_measured() -> None:
    measured = measure(tiny_model("gpt2"), [some_ids()], {resid(1): sparse_sae()}, SPECIAL, BEFORE)
    assert set(measured.ce_sums) == set(BEFORE)
    assert not measured.adapted_sites
    assert "gap_closed" not in measured.metrics()


def test_the_change_by_the_adapter_needs_no_sae_condition() -> None:
    """It used to appear only beside `adapted_sae`, and there as nan when `adapted` had not been measured."""
    model, saes = adapted_model("gpt2", trained=True), {resid(1): sparse_sae()}
    assert "ce_change_adapted" in measure(model, [some_ids()], saes, SPECIAL, ("adapted",)).metrics()
    assert "ce_change_adapted" not in measure(model, [some_ids()], saes, SPECIAL, ("adapted_sae",)).metrics()


# --- special tokens


def test_predictions_at_special_tokens_count_nowhere() -> None:
    """The head is made to say something else there; nothing may change."""
    ids, saes = some_ids(4), {resid(1): sparse_sae()}
    model = adapted_model("gpt2", trained=True)
    expected = measure(model, [ids], saes, SPECIAL, ALL, PlainPass(model, SPECIAL))
    special = (ids == BOS) | (ids == EOS)
    calls = []

    def shout(_module: nn.Module, _args: tuple[Tensor], logits: Tensor) -> Tensor:
        calls.append(len(calls) + 1)  # another noise in each condition
        return logits + calls[-1] * 5 * special[..., None] * torch.linspace(-1, 1, logits.shape[-1])

    handle = model.get_base_model().lm_head.register_forward_hook(shout)
    shouted = measure(model, [ids], saes, SPECIAL)
    heard = measure(model, [ids], saes, NO_SPECIAL)
    handle.remove()
    assert len(calls) == 10
    assert shouted.metrics() == expected.metrics()
    assert value(heard, "kl_adapted_sae") != pytest.approx(value(expected, "kl_adapted_sae"), rel=0.1)


# --- sites


def test_sites_are_measured_on_the_original_models_stream() -> None:
    """Even with adapters below the SAE, and although another SAE sits lower: the publisher's numbers are taken on the plain model."""
    ids, low, high = some_ids(6), sparse_sae("topk"), sparse_sae("jumprelu", seed=5)
    measured = measure(adapted_model("gpt2", (0, 1, 2, 3), trained=True), ids.split(2), {resid(0): low, resid(2): high}, SPECIAL)
    with torch.no_grad():
        streams = tiny_model("gpt2")(input_ids=ids, output_hidden_states=True).hidden_states
    for layer, sae in ((0, low), (2, high)):
        x = streams[layer + 1][(ids != BOS) & (ids != EOS)]
        site, x64 = measured.sites[resid(layer)], x.double().numpy()
        error = np.square(x64 - sae.reconstruct(x).double().numpy()).sum()
        assert site.n_tokens == len(x)
        assert site.l0 == pytest.approx((sae.encode(x) > 0).sum(dim=1).double().mean().item())
        assert site.fve == pytest.approx(1 - error / np.square(x64 - x64.mean(axis=0)).sum(), rel=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("architecture", ["jumprelu", "topk"])
def test_an_adapter_after_the_sae_leaves_its_features_l0_and_fve_unchanged(family: str, architecture: str) -> None:
    """What the `after` placement promises, and why the inspector shows one column of features rather than two equal ones."""
    after, everywhere = (_sites(family, layers, sparse_sae(architecture)) for layers in ((2, 3), (0, 1, 2, 3)))
    original, adapted = after
    assert torch.equal(adapted.fired, original.fired)
    assert (adapted.l0, adapted.fve, adapted.dead_fraction) == (original.l0, original.fve, original.dead_fraction)

    original, adapted = everywhere
    assert not torch.equal(adapted.fired, original.fired)
    assert adapted.fve != pytest.approx(original.fve, abs=1e-3)


def _sites(family: str, layers: tuple[int, ...], sae: FrozenSAE) -> tuple[SiteStatistics, SiteStatistics]:
    measured = measure(adapted_model(family, layers, trained=True), [some_ids(4)], {resid(1): sae}, SPECIAL)
    return measured.sites[resid(1)], measured.adapted_sites[resid(1)]


# --- what measuring leaves behind


def test_measuring_leaves_modes_adapter_and_gradients_as_found() -> None:
    model = adapted_model("gpt2", dropout=0.1, trained=True)
    train_adapter_only(model)
    modes = [module.training for module in model.modules()]
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    measure(model, [some_ids()], {resid(1): sparse_sae()}, SPECIAL)
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_measuring_the_original_is_measuring_the_plain_model() -> None:
    ids = some_ids(4)
    adapted = adapted_model("gemma2", (0, 1, 2, 3), trained=True)
    measured = measure(adapted, [ids], {resid(1): sparse_sae()}, SPECIAL, ("original",))
    with adapter_off(adapted):
        same = logits_of(adapted, ids)
    assert torch.equal(same, logits_of(tiny_model("gemma2"), ids))
    ce = F.cross_entropy(same[:, :-1].flatten(0, 1), ids[:, 1:].flatten(), reduction="none").view(4, -1)
    scored = (ids != BOS) & (ids != EOS)
    np.testing.assert_allclose(measured.ce_sums["original"], (ce * scored[:, :-1]).sum(dim=1).double().numpy(), rtol=1e-6)
