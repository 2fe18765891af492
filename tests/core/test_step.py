"""The reference step: its gradient against finite differences, its arithmetic against the authors', and what it must leave alone."""

import copy
import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import pytest
import torch
from peft import PeftModel
from torch import Tensor, nn
from torch.nn import functional as F

from lorasae.core.adapter import adapter_parameters, train_adapter_only
from lorasae.core.evaluate import measure
from lorasae.core.hook_points import HookPoint
from lorasae.core.losses import Reduction
from lorasae.core.sae import FrozenSAE
from lorasae.core.special_tokens import SpecialTokens
from lorasae.core.splice import Transform, spliced
from lorasae.core.step import ReferenceGradients, StepOutcome, learning_rate_at, optimizer_step
from tests.core.toys import BOS, EOS, FAMILIES, NO_SPECIAL, SPECIAL, IdentitySAE, adapted_model, resid, some_ids, sparse_sae, tiny_model

SAEs = Mapping[HookPoint, FrozenSAE]
LossAndActive = Callable[[], tuple[float, list[Tensor]]]
PAPER = SpecialTokens(bypassed=(BOS, EOS))  # specials pass by the SAE, every position is scored


def reconstructions(saes: SAEs) -> dict[HookPoint, Transform]:
    return {hook_point: sae.reconstruct for hook_point, sae in saes.items()}


def gradients(model: nn.Module) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in adapter_parameters(model)]  # type: ignore[union-attr]


def gradients_of(
    model: nn.Module, batches: Sequence[Tensor], saes: SAEs, special: SpecialTokens, reduction: Reduction
) -> tuple[float, list[Tensor]]:
    model.zero_grad()
    train_adapter_only(model)
    kl = ReferenceGradients(model, reconstructions(saes), special, reduction).accumulate(batches)
    return kl, gradients(model)


def adamw(model: nn.Module, learning_rate: float = 1e-2, weight_decay: float = 0.01) -> torch.optim.AdamW:
    return torch.optim.AdamW(adapter_parameters(model), lr=learning_rate, weight_decay=weight_decay)


def step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    ids: Tensor,
    transforms: Mapping[HookPoint, Transform],
    *,
    learning_rate: float = 1e-2,
    gradient_clip: float | None = 1.0,
    special: SpecialTokens = SPECIAL,
    reduction: Reduction = "mean",
) -> StepOutcome:
    gradients = ReferenceGradients(model, transforms, special, reduction)
    return optimizer_step(gradients, optimizer, [ids], learning_rate=learning_rate, gradient_clip=gradient_clip)


# --- the gradient, against finite differences in float64


def loss_by_hand(model: PeftModel, teacher: Tensor, ids: Tensor, saes: SAEs, reduction: Reduction) -> tuple[float, list[Tensor]]:
    """The step's loss written out once more with other functions, and which features were active on the way."""
    active = []

    def note(sae: FrozenSAE) -> Transform:
        def transform(x: Tensor) -> Tensor:
            active.append(sae.encode(x) > 0)
            return sae.reconstruct(x)

        return transform

    with torch.no_grad(), spliced(model, {hook_point: note(sae) for hook_point, sae in saes.items()}, SPECIAL):
        student = model(input_ids=ids, use_cache=False).logits
    scored = (ids != BOS) & (ids != EOS)
    total = F.kl_div(student.log_softmax(dim=-1)[scored], teacher.log_softmax(dim=-1)[scored], reduction="sum", log_target=True)
    return total.item() / (int(scored.sum()) if reduction == "mean" else len(ids)), active


def derivative(parameter: nn.Parameter, index: tuple[int, ...], loss: LossAndActive, width: float = 1e-4) -> float:
    """Five-point central difference, exact up to width^4; no activation set may change between the points."""
    centre, active = parameter.data[index].item(), loss()[1]
    values = {}
    for shift in (-2, -1, 1, 2):
        parameter.data[index] = centre + shift * width
        values[shift], active_there = loss()
        assert all(torch.equal(here, there) for here, there in zip(active, active_there, strict=True)), "a threshold was crossed"
    parameter.data[index] = centre
    return (8 * (values[1] - values[-1]) - (values[2] - values[-2])) / (12 * width)


def largest_error(model: PeftModel, ids: Tensor, saes: SAEs, reduction: Reduction, n: int = 10) -> float:
    """Largest relative error of the step's gradient over randomly drawn weights of randomly drawn adapter matrices."""
    with torch.no_grad():
        teacher = tiny_model("gpt2", torch.float64)(input_ids=ids).logits
    _, found = gradients_of(model, [ids], saes, SPECIAL, reduction)
    parameters = adapter_parameters(model)
    worst, draw = 0.0, torch.Generator().manual_seed(6)
    for number in torch.randperm(len(parameters), generator=draw)[:n].tolist():
        parameter, gradient = parameters[number], found[number]
        index = tuple(int(torch.randint(size, (), generator=draw)) for size in parameter.shape)
        expected = derivative(parameter, index, lambda: loss_by_hand(model, teacher, ids, saes, reduction))
        assert abs(expected) > 1e-5
        worst = max(worst, abs(gradient[index].item() - expected) / abs(expected))
    return worst


ONE_JUMPRELU = {resid(1): sparse_sae("jumprelu", dtype=torch.float64)}
ONE_TOPK = {resid(1): sparse_sae("topk", dtype=torch.float64)}
TWO_SAES = {resid(0): sparse_sae("jumprelu", dtype=torch.float64), resid(2): sparse_sae("topk", seed=5, dtype=torch.float64)}


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(
    ("saes", "layers"),
    [(ONE_JUMPRELU, (2, 3)), (ONE_JUMPRELU, (0, 1, 2, 3)), (ONE_TOPK, (0, 1, 2, 3)), (TWO_SAES, (1, 2, 3)), (TWO_SAES, (0, 1, 2, 3))],
    ids=["jumprelu-after", "jumprelu-all", "topk-all", "two-after", "two-all"],
)
def test_the_gradient_equals_finite_differences(saes: SAEs, layers: tuple[int, ...], reduction: Reduction) -> None:
    """Through the SAEs where adapters lie below them; which features are active is constant in between thresholds, as the gradient says."""
    model = adapted_model("gpt2", layers, dtype=torch.float64, trained=True)
    assert largest_error(model, some_ids(2, 8), saes, reduction) < 1e-6


def test_an_adapter_between_two_saes_learns_through_the_upper_one() -> None:
    """With no special tokens everything of layer 1 that reaches the logits has passed the SAE behind layer 2."""
    model = adapted_model("gpt2", (1,), dtype=torch.float64, trained=True)
    _, through_the_sae = gradients_of(model, [some_ids()], TWO_SAES, NO_SPECIAL, "mean")
    assert all(gradient.abs().sum() > 0 for gradient in through_the_sae)

    cut = {**reconstructions(TWO_SAES), resid(2): lambda x: TWO_SAES[resid(2)].reconstruct(x.detach())}
    model.zero_grad()
    ReferenceGradients(model, cut, NO_SPECIAL, "mean").accumulate([some_ids()])
    assert all(gradient.abs().sum() == 0 for gradient in gradients(model))
    assert largest_error(model, some_ids(2, 8), TWO_SAES, "mean", n=6) < 1e-6


def test_the_step_reports_the_kl_that_measure_reports() -> None:
    model, ids, saes = adapted_model("llama", trained=True), some_ids(4), {resid(1): sparse_sae()}
    for reduction in ("mean", "sum"):
        kl, _ = gradients_of(model, ids.split(2), saes, SPECIAL, reduction)
        assert kl == pytest.approx(measure(model, [ids], saes, SPECIAL).metrics()["kl_adapted_sae"][0], rel=1e-5)


# --- micro-batches and special tokens


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("sizes", [(2, 2), (1, 3)])
def test_micro_batches_add_up_to_one_batch(sizes: tuple[int, ...], dtype: torch.dtype, tolerance: float, reduction: Reduction) -> None:
    """A mean per micro-batch would weigh tokens by the number of special tokens beside them; the masks here are unequal."""
    model, saes = adapted_model("gpt2", dtype=dtype, trained=True), {resid(1): sparse_sae(dtype=dtype)}
    ids = some_ids(4)
    ids[0, 3:6] = EOS
    kl_whole, whole = gradients_of(model, [ids], saes, SPECIAL, reduction)
    kl_parts, parts = gradients_of(model, ids.split(sizes), saes, SPECIAL, reduction)
    assert len({int(SPECIAL.scored_positions(part).sum()) / len(part) for part in ids.split(sizes)}) == 2
    assert kl_parts == pytest.approx(kl_whole, rel=tolerance)
    scale = max(gradient.abs().max() for gradient in whole)
    for expected, found in zip(whole, parts, strict=True):
        assert (found - expected).abs().max() <= tolerance * scale


@pytest.mark.parametrize(("reduction", "divisor"), [("mean", 4 * 12 - 4 - 2), ("sum", 4)])
def test_the_two_reductions_differ_by_a_factor_alone(reduction: Reduction, divisor: int) -> None:
    model, saes, ids = adapted_model("gpt2", dtype=torch.float64, trained=True), {resid(1): sparse_sae(dtype=torch.float64)}, some_ids(4)
    _, found = gradients_of(model, [ids], saes, SPECIAL, reduction)
    _, mean = gradients_of(model, [ids], saes, SPECIAL, "mean")
    for expected, gradient in zip(mean, found, strict=True):
        torch.testing.assert_close(gradient, expected * 42 / divisor, rtol=1e-10, atol=1e-14)


def test_what_the_student_says_at_special_tokens_teaches_nothing() -> None:
    model, saes, ids = adapted_model("gpt2", dtype=torch.float64, trained=True), {resid(1): sparse_sae(dtype=torch.float64)}, some_ids(4)
    expected_kl, expected = gradients_of(model, [ids], saes, SPECIAL, "mean")
    special, calls = (ids == BOS) | (ids == EOS), []

    def shout(_module: nn.Module, _args: tuple[Tensor], logits: Tensor) -> Tensor:
        calls.append(len(calls) + 1)
        return logits + calls[-1] * 5 * special[..., None] * torch.linspace(-1, 1, logits.shape[-1], dtype=logits.dtype)

    handle = model.get_base_model().lm_head.register_forward_hook(shout)
    kl, found = gradients_of(model, [ids], saes, SPECIAL, "mean")
    handle.remove()
    assert len(calls) == 2
    assert kl == expected_kl
    assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def test_a_batch_in_which_nothing_is_scored_teaches_nothing() -> None:
    model = adapted_model("gpt2", trained=True)
    kl, found = gradients_of(model, [torch.full((2, 4), EOS)], {resid(1): sparse_sae()}, SPECIAL, "mean")
    assert kl == 0
    assert all(gradient.abs().max() == 0 for gradient in found)


# --- teacher and student


def logits_during(model: PeftModel, run: Callable[[], object]) -> list[Tensor]:
    """What the bare model answers in each forward pass while `run` runs."""
    said: list[Tensor] = []
    handle = model.get_base_model().register_forward_hook(lambda _module, _args, output: said.append(output.logits.detach().clone()))
    run()
    handle.remove()
    return said


@pytest.mark.parametrize("family", FAMILIES)
def test_the_teacher_has_no_adapter_no_sae_and_no_dropout(family: str) -> None:
    """Bit-equal to the plain model, with B != 0, dropout in the adapter, and GPT-2's own dropouts."""
    ids = some_ids()
    model = adapted_model(family, (0, 1, 2, 3), dropout=0.5, trained=True)
    model.train()
    with torch.no_grad():
        plain = tiny_model(family)(input_ids=ids).logits
    teacher, student = logits_during(model, lambda: step(model, adamw(model), ids, reconstructions({resid(1): sparse_sae()})))
    assert torch.equal(teacher, plain)
    assert not torch.equal(student, plain)


def test_an_untouched_student_has_nothing_to_learn() -> None:
    """Identity SAE and fresh adapter: KL 0 and gradient 0, which a teacher or student with dropout of its own would not give."""
    model = adapted_model("gpt2")
    model.train()
    outcome = step(model, adamw(model), some_ids(), {resid(1): IdentitySAE().reconstruct})
    assert outcome.kl == 0
    assert outcome.gradient_norm < 1e-6


def test_the_adapters_dropout_acts_in_every_step_also_after_an_evaluation() -> None:
    """The authors' dropout is off from the first evaluation on."""
    model, ids, saes = adapted_model("gpt2", dropout=0.5, trained=True), some_ids(), {resid(1): sparse_sae()}
    optimizer = adamw(model)
    without_dropout = measure(model, [ids], saes, SPECIAL).metrics()["kl_adapted_sae"][0]
    for _ in range(2):
        kls = [step(model, optimizer, ids, reconstructions(saes), learning_rate=0.0).kl for _ in range(3)]
        assert len(set(kls)) == 3
        assert without_dropout == measure(model, [ids], saes, SPECIAL).metrics()["kl_adapted_sae"][0]


# --- the authors' update


def authors_loss(model: PeftModel, teacher_model: nn.Module, ids: Tensor, saes: SAEs) -> Tensor:
    """As in the research code, on one sequence."""
    with torch.no_grad():
        teacher = teacher_model(input_ids=ids).logits
    with spliced(model, reconstructions(saes), PAPER):
        student = model(input_ids=ids, use_cache=False).logits
    return F.kl_div(F.log_softmax(student, dim=-1), F.softmax(teacher, dim=-1), reduction="batchmean")


def test_sum_and_clip_give_the_authors_loss_and_clipped_gradient() -> None:
    """`batchmean` on one sequence is a sum over its positions: the norm is far above 1, and the clip makes it a direction of length 1."""
    saes, ids = {resid(1): sparse_sae(dtype=torch.float64)}, some_ids(1)
    ours, theirs = (adapted_model("gpt2", dtype=torch.float64, trained=True) for _ in range(2))
    plain = tiny_model("gpt2", torch.float64)
    loss = authors_loss(theirs, plain, ids, saes)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(adapter_parameters(theirs), 1.0)

    outcome = step(ours, adamw(ours), ids, reconstructions(saes), special=PAPER, reduction="sum", learning_rate=0.0)
    assert outcome.kl * ids.shape[1] == pytest.approx(loss.item(), rel=1e-12)
    assert outcome.gradient_norm == pytest.approx(norm.item(), rel=1e-12)
    assert norm > 1
    found = torch.cat([gradient.flatten() for gradient in gradients(ours)])
    assert found.norm().item() == pytest.approx(1, abs=1e-5)
    torch.testing.assert_close(found, torch.cat([gradient.flatten() for gradient in gradients(theirs)]), rtol=1e-10, atol=1e-14)
    _, unclipped = gradients_of(ours, [ids], saes, PAPER, "sum")
    torch.testing.assert_close(found, torch.cat([gradient.flatten() for gradient in unclipped]) / norm, rtol=1e-5, atol=1e-12)


def test_three_steps_move_the_adapter_as_three_steps_of_the_authors() -> None:
    saes = {resid(1): sparse_sae(dtype=torch.float64)}
    ours, theirs = (adapted_model("gpt2", dtype=torch.float64, trained=True) for _ in range(2))
    plain = tiny_model("gpt2", torch.float64)
    our_optimizer, their_optimizer = adamw(ours, 5e-5), adamw(theirs, 5e-5)
    for seed in range(3):
        ids = some_ids(1, seed=seed)
        step(ours, our_optimizer, ids, reconstructions(saes), special=PAPER, reduction="sum", learning_rate=5e-5)
        their_optimizer.zero_grad()
        authors_loss(theirs, plain, ids, saes).backward()
        nn.utils.clip_grad_norm_(adapter_parameters(theirs), 1.0)
        their_optimizer.step()
    start = adapter_parameters(adapted_model("gpt2", dtype=torch.float64, trained=True))
    for one, other, before in zip(adapter_parameters(ours), adapter_parameters(theirs), start, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)
        assert not torch.equal(one, before)


def test_without_a_clip_the_gradient_keeps_its_length() -> None:
    model, saes, ids = adapted_model("gpt2", trained=True), {resid(1): sparse_sae()}, some_ids(1)
    outcome = step(model, adamw(model), ids, reconstructions(saes), gradient_clip=None, reduction="sum", learning_rate=0.0)
    norm = torch.cat([gradient.flatten() for gradient in gradients(model)]).norm().item()
    assert norm == pytest.approx(outcome.gradient_norm, rel=1e-5)
    assert norm > 1


def test_a_gradient_shorter_than_the_clip_is_left_as_it_is() -> None:
    model, saes, ids = adapted_model("gpt2", trained=True), {resid(1): sparse_sae()}, some_ids(1)
    outcome = step(model, adamw(model), ids, reconstructions(saes), gradient_clip=1e6, learning_rate=0.0)
    _, expected = gradients_of(model, [ids], saes, SPECIAL, "mean")
    step(model, adamw(model), ids, reconstructions(saes), gradient_clip=1e6, learning_rate=0.0)
    assert 0 < outcome.gradient_norm < 1e6
    assert all(torch.equal(one, other) for one, other in zip(gradients(model), expected, strict=True))


# --- what twenty steps change, and what they must not


@pytest.mark.parametrize("family", FAMILIES)
def test_twenty_steps_move_the_adapter_and_nothing_else(family: str) -> None:
    """Embeddings tied to the head (GPT-2, Gemma) are the likeliest to slip into training. All layers: gradients pass through the SAE."""
    model, saes = adapted_model(family, (0, 1, 2, 3), dropout=0.1), {resid(1): sparse_sae()}
    sae_before = copy.deepcopy(saes[resid(1)].state_dict())
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer, first, last = adamw(model), [], []
    for number in range(20):
        outcome = step(model, optimizer, some_ids(4, seed=number % 2), reconstructions(saes))
        assert outcome.finite
        (first if number < 4 else last if number >= 16 else []).append(outcome.kl)
    assert sum(last) < 0.9 * sum(first)

    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, before[name]) == ("lora_" not in name), name
    assert all(parameter.grad is None for name, parameter in model.named_parameters() if "lora_" not in name)
    assert all(torch.equal(tensor, sae_before[name]) for name, tensor in saes[resid(1)].state_dict().items())
    assert not list(saes[resid(1)].parameters())
    assert all(not buffer.requires_grad and buffer.grad is None for buffer in saes[resid(1)].buffers())


def _state(model: nn.Module, optimizer: torch.optim.Optimizer) -> list[Tensor]:
    moments = [value for state in optimizer.state_dict()["state"].values() for value in state.values()]
    return [tensor.detach().clone() for tensor in [*adapter_parameters(model), *moments]]


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_loss_that_is_not_finite_leaves_adapter_and_optimizer_bit_equal(bad: float) -> None:
    model, ids = adapted_model("llama", (0, 1, 2, 3), trained=True), some_ids()
    optimizer = adamw(model)
    step(model, optimizer, ids, reconstructions({resid(1): sparse_sae()}))
    before = _state(model, optimizer)
    outcome = step(model, optimizer, ids, {resid(1): lambda x: x * bad})
    assert not outcome.finite
    assert all(torch.equal(now, then) for now, then in zip(_state(model, optimizer), before, strict=True))

    assert step(model, optimizer, ids, reconstructions({resid(1): sparse_sae()})).finite
    assert not any(torch.equal(now, then) for now, then in zip(_state(model, optimizer), before, strict=True))


@pytest.mark.parametrize("gradient_clip", [None, 1.0])
def test_a_gradient_that_is_not_finite_leaves_the_adapter_bit_equal_though_the_loss_is_finite(gradient_clip: float | None) -> None:
    model, ids = adapted_model("llama", trained=True), some_ids()
    optimizer = adamw(model)
    handle = adapter_parameters(model)[0].register_hook(lambda gradient: gradient * math.inf)
    before = _state(model, optimizer)
    outcome = step(model, optimizer, ids, reconstructions({resid(1): sparse_sae()}), gradient_clip=gradient_clip)
    handle.remove()
    assert math.isfinite(outcome.kl)
    assert not outcome.finite
    assert all(torch.equal(now, then) for now, then in zip(_state(model, optimizer), before, strict=True))


def test_gradients_of_an_earlier_step_do_not_linger() -> None:
    model, ids, saes = adapted_model("gpt2", trained=True), some_ids(), {resid(1): sparse_sae()}
    first = step(model, adamw(model), ids, reconstructions(saes), learning_rate=0.0, gradient_clip=None)
    second = step(model, adamw(model), ids, reconstructions(saes), learning_rate=0.0, gradient_clip=None)
    assert first == second


# --- the learning rate


@pytest.mark.parametrize("schedule", ["cosine", "linear", "constant"])
def test_the_learning_rate_warms_up_linearly_to_its_peak(schedule: str) -> None:
    rates = [learning_rate_at(step, 100, 2.0, schedule, 0.1) for step in range(100)]  # type: ignore[arg-type]
    assert rates[:10] == pytest.approx([0.2 * n for n in range(1, 11)])
    assert max(rates) == 2.0
    assert min(rates) > 0


@pytest.mark.parametrize("schedule", ["cosine", "linear"])
def test_cosine_and_linear_fall_steadily_and_end_near_zero(schedule: str) -> None:
    rates = [learning_rate_at(step, 200, 1.0, schedule, 0.05) for step in range(200)]  # type: ignore[arg-type]
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[10:]))
    assert rates[-1] < 0.01
    assert rates[105] == pytest.approx(0.5)


def test_constant_stays() -> None:
    assert {learning_rate_at(step, 50, 5e-5, "constant", 0.0) for step in range(50)} == {5e-5}


def test_a_run_of_one_step_is_at_its_peak() -> None:
    for warmup in (0.0, 0.05, 1.0):
        assert learning_rate_at(0, 1, 1e-3, "cosine", warmup) == 1e-3


def test_the_step_uses_the_learning_rate_it_is_given() -> None:
    """Whatever the optimizer was built with: the schedule is a function of the step, so that a resumed run needs no scheduler state."""
    models = [adapted_model("gpt2", trained=True) for _ in range(2)]
    for model, built_with in zip(models, (1.0, 1e-3), strict=True):
        step(model, adamw(model, built_with), some_ids(), reconstructions({resid(1): sparse_sae()}), learning_rate=1e-3)
    assert all(torch.equal(one, other) for one, other in zip(*map(adapter_parameters, models), strict=True))
