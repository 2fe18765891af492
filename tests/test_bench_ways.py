"""The ways of the benchmark: they do the same, they leave nothing behind, and what they are reckoned to compute is what they compute."""

import math

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from lorasae.bench.authors_loop import authors_loop
from lorasae.bench.flops import Scene, two_forwards
from lorasae.bench.peak import measured_peak
from lorasae.bench.rounds import rounds, take_turn
from lorasae.bench.shapes import architecture_of, random_model, random_sae
from lorasae.bench.subject import Asked, Subject, placed_sae, refuse_too_large, subject
from lorasae.bench.ways import WAYS, chosen_ways, fitting, flops_per_token, started, swept_ranks
from lorasae.config import run_config
from lorasae.core.adapter import adapter_parameters, attach
from lorasae.core.hook_points import HookPoint
from lorasae.core.special_tokens import SpecialTokens
from lorasae.core.splice import spliced
from lorasae.core.step import ReferenceGradients
from lorasae.costs.model_sizes import sizes_from
from lorasae.errors import LabError
from lorasae.sources.published_models import ModelSizes
from tests.toys import tiny_model

HOOK_POINT, CONTEXT = HookPoint(1, "resid_post"), 24
SPECIALS = SpecialTokens(bypassed=(1, 2))


def product_flops(_total, left, right, **_):
    return 2 * math.prod(left) * right[-1]


IN_PLACE = dict.fromkeys((torch.ops.aten.addmm_, torch.ops.aten.baddbmm_), product_flops)  # which PyTorch's counter passes over


def tokens(n: int = 4) -> torch.Tensor:
    ids = torch.randint(3, 128, (n, CONTEXT), generator=torch.Generator().manual_seed(3))
    ids[:, 0] = 1
    ids[:, 9] = 2
    return ids


def tiny_subject(family: str = "gemma2", placement: str = "after", **train) -> Subject:
    model = tiny_model(family)
    model.set_attn_implementation("eager")
    model.requires_grad_(False)
    ids = tokens()
    sae = random_sae(model, HOOK_POINT, 64, 8, ids, SPECIALS)
    values = {
        "adapter": {"rank": 4, "placement": placement, "dropout": 0.0},
        "data": {"context_length": CONTEXT},
        "train": {"tokens_per_step": CONTEXT, "learning_rate": 1e-2},
    }
    return Subject("tiny", model, sizes_from(model.config.to_dict()), {HOOK_POINT: sae}, 8, SPECIALS, ids, run_config(values, "paper"))


@pytest.mark.parametrize("placement", ["after", "all"])
def test_the_authors_gradient_is_that_of_the_reference_step_summed_over_positions(placement):
    tiny = tiny_subject(placement=placement)
    layers = (2, 3) if placement == "after" else (0, 1, 2, 3)
    model = attach(tiny.model, layers, ("attention", "mlp"), 4, 32.0, 0.0)
    for parameter in adapter_parameters(model):  # B = 0 would leave A without a gradient
        parameter.data.normal_(0, 0.1)
    transforms = {HOOK_POINT: tiny.saes[HOOK_POINT].reconstruct}
    ids = tiny.step_tokens(0, 2)

    kl = ReferenceGradients(model, transforms, SPECIALS, "sum").accumulate([ids])
    wanted = [torch.clone(parameter.grad) for parameter in adapter_parameters(model)]
    model.zero_grad()
    with authors_loop(model, transforms, SPECIALS, 1e-2) as loop:
        loss = loop.backward(ids)
    assert loss.item() / CONTEXT == pytest.approx(kl, rel=1e-5)
    for parameter, gradient in zip(adapter_parameters(model), wanted, strict=True):
        assert gradient.abs().max() > 0
        torch.testing.assert_close(parameter.grad, gradient, rtol=1e-4, atol=1e-5 * gradient.abs().max().item())


def test_several_steps_of_each_way_see_the_same_losses():
    tiny = tiny_subject()
    ended = {}
    for key, ranks in (("authors", (4,)), ("reference", (4,)), ("fast", (4,)), ("fast-again", (4,)), ("fast-sweep", (1, 2, 4))):
        text = [tiny.step_tokens(i, 1) for i in range(5)]
        with started(WAYS[key], tiny, ranks, text) as step:
            ended[key] = [step(ids) for ids in text]
    for key in ("reference", "fast", "fast-again", "fast-sweep"):
        assert ended["authors"] == pytest.approx(ended[key], rel=1e-3), key
    assert ended["authors"][4] != ended["authors"][0]


@pytest.mark.parametrize("key", WAYS)
def test_a_way_leaves_the_model_as_it_found_it(key):
    tiny = tiny_subject()
    before = {name: tensor.clone() for name, tensor in tiny.model.state_dict().items()}
    buffers = {name: tensor.clone() for name, tensor in tiny.model.named_buffers()}
    take_turn(WAYS[key], tiny, 0, 1)
    after = tiny.model.state_dict()
    assert list(after) == list(before) and not any(module._forward_hooks for module in tiny.model.modules())
    assert buffers and all(torch.equal(tensor, buffers[name]) for name, tensor in tiny.model.named_buffers())
    for name, tensor in before.items():  # bf16 ways round what was not stored in bf16
        torch.testing.assert_close(after[name], tensor if WAYS[key].dtype != "bfloat16" else tensor.bfloat16().float(), rtol=0, atol=0)


@pytest.mark.parametrize("family", ["gemma2", "llama", "gpt2", "gpt_neox", "qwen3"])
@pytest.mark.parametrize("placement", ["after", "all"])
def test_reckoned_operations_are_those_that_pytorch_counts(family, placement):
    tiny = tiny_subject(family, placement)
    tiny.special_tokens = SpecialTokens()  # each position passes through the SAE, as it is reckoned
    text = [tiny.step_tokens(0, 1)]
    for way in (WAYS["authors"], WAYS["fast"], WAYS["fast-again"], WAYS["fast-sweep"]):
        total = 0
        for ranks in way.passes(4):
            with started(way, tiny, ranks, text) as step, FlopCounterMode(display=False, custom_mapping=IN_PLACE) as counter:
                step(*text)
            total += counter.get_total_flops()
        assert total == pytest.approx(flops_per_token(way, tiny) * CONTEXT * sum(map(len, way.passes(4))), rel=1e-12), way.key


def test_operations_of_the_papers_runs_are_as_they_were_counted_on_their_own_models():
    from lorasae.sources.published_models import PUBLISHED

    for model, layer, width, counted in (("google/gemma-2-2b", 12, 16_384, 14.70e9), ("google/gemma-2-27b", 22, 131_072, 143.3e9)):
        sizes = PUBLISHED[model]
        saes = (placed_sae(HookPoint(layer, "resid_post"), sizes.d_model, width),)
        scene = Scene(sizes, saes, tuple(range(layer + 1, sizes.n_layers)), (64,), 1024)
        assert sum(two_forwards(scene).values()) == pytest.approx(counted, rel=0.005)


def test_every_way_takes_its_turn_in_every_round_on_the_same_tokens():
    said: list[str] = []
    ways = chosen_ways(["reference", "authors-sweep"])
    assert [way.key for way in ways] == ["authors", "authors-sweep", "reference"]  # with what they are held against
    turns = rounds(tiny_subject(), ways, 2, 2, said.append)
    assert [(turn.round, turn.way) for turn in turns] == [
        *((0, way.key) for way in ways),
        *((1, key) for key in ("authors-sweep", "reference", "authors")),
    ]
    by_key = {turn.way: turn for turn in turns if turn.round == 1}
    assert by_key["authors"].kl == pytest.approx(by_key["reference"].kl, rel=1e-4)
    assert by_key["authors-sweep"].n_tokens == 5 * by_key["authors"].n_tokens == 5 * 2 * CONTEXT
    assert "left" in said[-1]


def test_a_sweep_has_five_ranks_up_to_the_asked_one():
    assert swept_ranks(64) == (4, 8, 16, 32, 64)
    assert swept_ranks(2) == (1, 1, 1, 1, 2)


def test_an_unknown_way_is_refused_with_the_nearest_names():
    with pytest.raises(LabError, match="Nearest: reference"):
        chosen_ways(["referense"])


@pytest.mark.parametrize("family", ["gemma2", "llama", "gpt2"])
def test_a_random_model_answers_and_its_random_sae_fires_as_often_as_asked(family):
    sizes = ModelSizes(family, 4, 32, 64, 4, 4 if family == "gpt2" else 2, 8, 128, max_context=128, tied=family != "llama")
    architecture = architecture_of(sizes)
    architecture.pad_token_id = None
    model = random_model(architecture, torch.float32, torch.device("cpu"))
    ids = tokens(8)
    logits = model(input_ids=ids).logits
    assert logits.isfinite().all() and logits.std() > 1e-3
    assert not any(parameter.requires_grad for parameter in model.parameters())
    sae = random_sae(model, HOOK_POINT, 512, 20, ids, SPECIALS)
    fired: list[float] = []

    def count(stream: torch.Tensor) -> torch.Tensor:
        fired.append((sae.encode(stream) > 0).sum(dim=-1).float().mean().item())
        return sae.reconstruct(stream)

    with spliced(model, {HOOK_POINT: count}, SPECIALS):
        model(input_ids=ids)
    assert fired[0] == pytest.approx(20, rel=0.3)


def test_what_cannot_fit_into_memory_is_refused_before_anything_is_made():
    from lorasae.sources.published_models import PUBLISHED

    sizes = PUBLISHED["google/gemma-2-27b"]
    config = run_config({"model": {"model": "gemma-2-27b", "dtype": "float32"}, "adapter": {"placement": "all"}}, "paper")
    with pytest.raises(LabError, match=r"It needs about .* GB; there are .* GB\. Choose a smaller model"):
        refuse_too_large(config, sizes, [placed_sae(HookPoint(22, "resid_post"), 4608, 131_072)], torch.device("cpu"))


@pytest.mark.parametrize(
    ("asked", "problem"),
    [
        (Asked("gemma-2-2c"), "Nearest: gemma-2-2b"),
        (Asked("gpt2", layer=12), "The model has 12 layers, 0 to 11"),
        (Asked("gpt2", context=2048), "The model knows positions up to 1024"),
    ],
)
def test_what_cannot_be_measured_is_refused_in_a_sentence(asked, problem):
    with pytest.raises(LabError, match=problem):
        subject(asked)


def test_the_peak_is_a_speed():
    peak = measured_peak(torch.device("cpu"), torch.float32, seconds=0.01)
    assert peak.flops_per_s > 1e8 and peak.flops_per_cpu_s > 1e8 and peak.side in (512, 1024, 2048)


def test_a_way_for_which_there_is_no_memory_is_left_out_and_told(monkeypatch):
    tiny = tiny_subject()
    kept, notes = fitting(list(WAYS.values()), tiny)
    assert kept == list(WAYS.values()) and notes == [
        "Without a GPU there is no cache to flush: that part of the authors' loop is passed over."
    ]
    monkeypatch.setattr("lorasae.bench.ways.bytes_here", lambda _device: 10**6)
    kept, notes = fitting([WAYS["fast"]], tiny)
    assert kept == [] and notes[0].startswith("Left out: fast step. It needs about 0.6 GB; there are 0.0 GB")


def test_a_model_without_a_fast_step_is_measured_without_it(monkeypatch):
    tiny = tiny_subject()
    tiny.model.config.model_type = "unheard_of"
    kept, notes = fitting([WAYS["authors"], WAYS["fast"]], tiny)
    assert kept == [WAYS["authors"]] and "Left out: the fast step, because" in notes[0]
