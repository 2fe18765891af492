"""The fast step against the reference: every gradient, in all families, placements, SAEs and precisions."""

import pytest
import torch
from torch import Tensor, nn

from lorasae.core.adapter import adapter_parameters, attach
from lorasae.core.fast.anatomy import NoAnatomy
from lorasae.core.fast.step import FastGradients
from lorasae.core.hook_points import HookPoint
from lorasae.core.randomness import Randomness
from lorasae.core.sae import FrozenSAE, sae_from_weights
from lorasae.core.special_tokens import SpecialTokens
from lorasae.core.step import ReferenceGradients, Student, optimizer_step
from tests.toys import ATTENTION_WIDTH, D_IN, FAMILIES, VOCAB, sae_tensors, tiny_model

BOS, EOS = 1, 2
SPECIAL = SpecialTokens(bypassed=(BOS, EOS), unscored=(BOS, EOS))
PLACEMENTS = {"after": (2, 3), "all": (0, 1, 2, 3), "below": (0,), "scattered": (1, 3)}


def some_ids(n: int = 4, pos: int = 24) -> Tensor:
    """BOS first, EOS in the middle of every second sequence, longer than the families' windows of 8."""
    ids = torch.randint(3, VOCAB, (n, pos), generator=torch.Generator().manual_seed(0))
    ids[:, 0] = BOS
    ids[::2, pos // 2] = EOS
    return ids


def sae(architecture: str = "jumprelu", dtype: torch.dtype = torch.float64, d_in: int = D_IN, seed: int = 5) -> FrozenSAE:
    weights = {name: tensor.to(dtype) for name, tensor in sae_tensors(architecture, d_in=d_in, seed=seed).items()}
    return sae_from_weights(architecture, weights, k=8 if architecture == "topk" else None)


def adapted(family: str, layers: tuple[int, ...], dtype: torch.dtype = torch.float64, dropout: float = 0.0) -> nn.Module:
    """A tiny model whose adapter is as after some steps."""
    model = attach(tiny_model(family).to(dtype), layers, ("attention", "mlp"), rank=3, alpha=6.0, dropout=dropout)
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for parameter in adapter_parameters(model):
            parameter.copy_(0.2 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
            if dtype == torch.float64:
                parameter.data = parameter.data.double()
    return model


def gradients(model: nn.Module, way: object, batches: list[Tensor]) -> tuple[float, list[Tensor]]:
    model.zero_grad()
    kl = way.accumulate(batches)  # type: ignore[attr-defined]
    return kl, [parameter.grad.clone() for parameter in adapter_parameters(model)]  # type: ignore[union-attr]


def both(model: nn.Module, saes: dict[HookPoint, FrozenSAE], ids: Tensor, special: SpecialTokens = SPECIAL, reduction: str = "mean"):
    """(KL, gradients) of the reference, and of the fast step."""
    transforms = {hook_point: each.reconstruct for hook_point, each in saes.items()}
    batches = list(ids.split(2))
    torch.manual_seed(9)
    plain = gradients(model, ReferenceGradients(model, transforms, special, reduction), batches)  # type: ignore[arg-type]
    after_plain = torch.get_rng_state()
    torch.manual_seed(9)
    fast = gradients(model, FastGradients(model, saes, special, reduction), batches)  # type: ignore[arg-type]
    assert torch.equal(torch.get_rng_state(), after_plain)
    return plain, fast


def worst(plain: tuple[float, list[Tensor]], fast: tuple[float, list[Tensor]]) -> float:
    """Largest relative difference of the KL and of any adapter matrix's gradient."""
    errors = [abs(fast[0] - plain[0]) / abs(plain[0])]
    errors += [((new - old).norm() / old.norm()).item() for old, new in zip(plain[1], fast[1], strict=True)]
    return max(errors)


SITES = {
    "resid_post": {HookPoint(1, "resid_post"): D_IN},
    "resid_pre": {HookPoint(2, "resid_pre"): D_IN},
    "attn_out": {HookPoint(1, "attn_out"): D_IN},
    "mlp_out": {HookPoint(1, "mlp_out"): D_IN},
    "last": {HookPoint(3, "resid_post"): D_IN},
    "several": {HookPoint(0, "resid_post"): D_IN, HookPoint(1, "mlp_out"): D_IN, HookPoint(2, "resid_post"): D_IN},
    "one_border": {HookPoint(1, "resid_post"): D_IN, HookPoint(2, "resid_pre"): D_IN},
}


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_gradient_equals_the_reference_in_fp64_in_every_family(family, placement, exact):
    model = exact(adapted(family, PLACEMENTS[placement]))
    assert worst(*both(model, {HookPoint(1, "resid_post"): sae()}, some_ids())) < 1e-10


@pytest.mark.parametrize("architecture", ["jumprelu", "topk", "standard", "gated"])
@pytest.mark.parametrize("site", SITES)
def test_every_gradient_equals_the_reference_at_every_place(site, architecture, exact):
    for family in ("gemma2", "gpt2"):
        saes = {hook_point: sae(architecture, d_in=d_in, seed=5 + hook_point.layer) for hook_point, d_in in SITES[site].items()}
        for layers in (PLACEMENTS["all"], PLACEMENTS["after"]):
            assert worst(*both(exact(adapted(family, layers)), saes, some_ids())) < 1e-10


@pytest.mark.parametrize("family", ["gemma2", "gemma3", "gpt2", "gpt_neox"])
def test_an_sae_on_what_the_heads_write_is_met_inside_the_attention(family, exact):
    d_in = ATTENTION_WIDTH if family.startswith("gemma") else D_IN
    model = exact(adapted(family, PLACEMENTS["all"]))
    assert worst(*both(model, {HookPoint(1, "attn_z"): sae(d_in=d_in)}, some_ids())) < 1e-10


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_policies_of_special_tokens_and_reductions_hold(reduction, exact):
    model = exact(adapted("llama", PLACEMENTS["after"]))
    for special in (SpecialTokens(), SPECIAL, SpecialTokens(bypassed=(BOS,)), SpecialTokens(unscored=(EOS,))):
        assert worst(*both(model, {HookPoint(1, "resid_post"): sae()}, some_ids(), special, reduction)) < 1e-10


def test_soft_caps_that_bend_hard_are_kept(exact):
    """Logits at nine tenths of the cap, scores far beyond it."""
    model = exact(adapted("gemma2", PLACEMENTS["all"]))
    with torch.no_grad():
        bare = model.get_base_model()
        bare.lm_head.weight *= 8
        for layer in bare.model.layers:
            layer.self_attn.q_proj.base_layer.weight *= 12
    ids = some_ids()
    with torch.no_grad():
        assert model(input_ids=ids).logits.abs().max() > 27
    assert worst(*both(model, {HookPoint(1, "resid_post"): sae()}, ids)) < 1e-10


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("family", FAMILIES)
def test_dropout_draws_the_numbers_that_the_reference_draws(family, dtype, exact):
    model = exact(adapted(family, PLACEMENTS["after"], dtype, dropout=0.3))
    assert worst(*both(model, {HookPoint(1, "resid_post"): sae(dtype=dtype)}, some_ids())) < (1e-10 if dtype == torch.float64 else 1e-5)


@pytest.mark.parametrize("placement", ["after", "all"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_gradient_equals_the_reference_in_fp32(family, placement):
    model = adapted(family, PLACEMENTS[placement], torch.float32)
    assert worst(*both(model, {HookPoint(1, "resid_post"): sae(dtype=torch.float32)}, some_ids())) < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_gradients_in_bf16_point_where_those_of_fp32_do(family):
    """The reference in fp32 on the same rounded weights, so that only the arithmetic differs."""
    model = adapted(family, PLACEMENTS["after"], torch.bfloat16)
    saes = {HookPoint(1, "resid_post"): sae(dtype=torch.float32)}
    assert all(parameter.dtype == torch.float32 for parameter in adapter_parameters(model))
    _, fast = gradients(model, FastGradients(model, saes, SPECIAL, "mean"), [some_ids()])
    transforms = {hook_point: each.reconstruct for hook_point, each in saes.items()}
    _, plain = gradients(model.float(), ReferenceGradients(model, transforms, SPECIAL, "mean"), [some_ids()])
    new, old = (torch.cat([each.flatten() for each in found]) for found in (fast, plain))
    assert torch.cosine_similarity(new, old, dim=0) > 0.999


def test_frozen_parts_made_before_give_the_same_bits():
    model, saes = adapted("gemma2", PLACEMENTS["after"], torch.float32), {HookPoint(1, "resid_post"): sae(dtype=torch.float32)}
    way, batches = FastGradients(model, saes, SPECIAL, "mean"), list(some_ids().split(2))
    at_once = gradients(model, way, batches)
    model.zero_grad()
    kl = way.accumulate(batches, [way.frozen(ids) for ids in batches])
    assert kl == at_once[0]
    assert all(torch.equal(parameter.grad, old) for parameter, old in zip(adapter_parameters(model), at_once[1], strict=True))


def test_nothing_frozen_gets_a_gradient_or_changes():
    model, saes = adapted("gemma2", PLACEMENTS["all"], torch.float32), {HookPoint(1, "resid_post"): sae(dtype=torch.float32)}
    before = {name: parameter.clone() for name, parameter in model.named_parameters() if not parameter.requires_grad}
    optimizer = torch.optim.AdamW(adapter_parameters(model))
    way = FastGradients(model, saes, SPECIAL, "mean")
    for _ in range(3):
        optimizer_step(way, optimizer, [some_ids()], learning_rate=1e-2, gradient_clip=1.0)
    for name, parameter in model.named_parameters():
        if name in before:
            assert parameter.grad is None and torch.equal(parameter, before[name])


def test_a_hundred_steps_end_where_the_reference_ends():
    """The same KL, to a hundredth of what training gained."""
    found = {}
    for name, way in (("plain", ReferenceGradients), ("fast", FastGradients)):
        model = adapted("gemma2", PLACEMENTS["after"], torch.float32)
        one = sae(dtype=torch.float32)
        inserted = {HookPoint(1, "resid_post"): one.reconstruct if name == "plain" else one}
        gradients_of = way(model, inserted, SPECIAL, "mean")  # type: ignore[arg-type]
        optimizer = torch.optim.AdamW(adapter_parameters(model))
        ids = some_ids(2, 12)
        found[name] = [optimizer_step(gradients_of, optimizer, [ids], learning_rate=3e-3, gradient_clip=1.0).kl for _ in range(100)]
    gained = found["plain"][0] - found["plain"][-1]
    assert gained > 0.05 * found["plain"][0]
    assert abs(found["fast"][-1] - found["plain"][-1]) < 0.01 * gained


def test_a_model_without_a_fast_step_says_why():
    model = adapted("llama", PLACEMENTS["after"], torch.float32)
    model.get_base_model().config.model_type = "unheard_of"
    with pytest.raises(NoAnatomy, match="unheard_of"):
        FastGradients(model, {HookPoint(1, "resid_post"): sae(dtype=torch.float32)}, SPECIAL, "mean")


def test_a_model_with_hooks_has_no_fast_step_because_they_would_not_be_called():
    model = adapted("llama", PLACEMENTS["after"], torch.float32)
    model.get_base_model().lm_head.register_forward_hook(lambda *_: None)
    with pytest.raises(NoAnatomy, match="hooks"):
        FastGradients(model, {HookPoint(1, "resid_post"): sae(dtype=torch.float32)}, SPECIAL, "mean")


@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_adapters_that_learn_together_learn_what_each_learns_alone(dropout):
    """Of other ranks and placements, from one frozen part; each with its own stream of random numbers."""
    saes = {HookPoint(1, "resid_post"): sae(dtype=torch.float32)}
    ways = {"low": ((2, 3), 2), "high": ((3,), 4), "all": ((0, 1, 2, 3), 3)}

    def model_with(names):
        model = tiny_model("gemma2")
        for name in names:
            layers, rank = ways[name]
            torch.manual_seed(rank)
            model = attach(model, layers, ("attention", "mlp"), rank=rank, alpha=2.0 * rank, dropout=dropout, name=name)
            with torch.no_grad():
                for parameter in adapter_parameters(model, name):
                    parameter.add_(0.1)
        return model, [Student(name, Randomness(7)) for name in names]

    model, students = model_with(ways)
    batches = list(some_ids().split(2))
    kls = FastGradients(model, saes, SPECIAL, "mean", students).accumulate_each(batches)
    for name, kl in zip(ways, kls, strict=True):
        alone, student = model_with([name])
        assert FastGradients(alone, saes, SPECIAL, "mean", student).accumulate_each(batches) == [pytest.approx(kl, rel=1e-6)]
        for together, by_itself in zip(adapter_parameters(model, name), adapter_parameters(alone, name), strict=True):
            assert (together.grad - by_itself.grad).norm() <= 1e-5 * by_itself.grad.norm()
