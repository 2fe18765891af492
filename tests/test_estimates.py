"""The arithmetic before a run: the models' own sizes, the operations the research code was counted to need, the memory that runs took."""

import pytest
import torch
from torch import nn

from lorasae.config import AdapterConfig, RunConfig, run_config
from lorasae.core.adapter import adaptable_modules, adapter_parameters, attach
from lorasae.core.hook_points import decoder_blocks
from lorasae.costs.estimates import (
    TIGHT_FROM,
    PlacedSAE,
    Speed,
    change_that_fits,
    duration,
    evaluated_tokens,
    forward_flops,
    memory,
    micro_batch_that_fits,
    placement,
    step_flops,
    verdict,
    with_micro_batch,
)
from lorasae.costs.model_sizes import ModelSizes, sizes_from, sizes_of
from lorasae.errors import LabError
from tests.toys import FAMILIES, tiny_model

POCKET_SAE = PlacedSAE(2, "after the layer", 192, 2048)
# What the research code's scaling run needs per token and at its peak, counted on its own models: GFLOP, millions of trained numbers, GB.
OFFICIAL = {
    ("google/gemma-2-2b", 12, 2304, 16_384): (14.70, 41.5, 15),
    ("google/gemma-2-9b", 20, 3584, 131_072): (51.70, 108.0, 40),
    ("google/gemma-2-27b", 22, 4608, 131_072): (143.3, 228.4, 92),
}


def sizes(model: str = "pocket") -> ModelSizes:
    found = sizes_of(RunConfig(model={"model": model}).model)  # type: ignore[arg-type]
    assert found is not None
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_the_linear_maps_of_every_family_are_those_of_its_modules(family):
    model = tiny_model(family)
    of_config = sizes_from(model.config.to_dict())
    block = decoder_blocks(model)[0]
    groups = adaptable_modules(block)
    for projection in of_config.projections:
        module = block.get_submodule(projection.path)
        shape = tuple(module.weight.shape)
        assert shape == ((projection.n_in, projection.n_out) if family == "gpt2" else (projection.n_out, projection.n_in))
        assert groups[projection.path] == projection.group
    assert set(groups) == {projection.path for projection in of_config.projections}


@pytest.mark.parametrize("family", FAMILIES)
def test_the_size_of_a_model_is_right_but_for_norms_and_biases(family):
    model = tiny_model(family)
    matrices = sum(parameter.numel() for name, parameter in model.named_parameters() if parameter.dim() == 2 and "wpe" not in name)
    assert sizes_from(model.config.to_dict()).n_parameters == matrices


@pytest.mark.parametrize("modules", [("attention", "mlp"), ("attention",), ("q_proj", "down_proj")])
def test_trained_numbers_are_those_that_peft_makes(modules):
    model = tiny_model("gemma2")
    of_config = sizes_from(model.config.to_dict())
    placed = placement(AdapterConfig(rank=2, modules=modules), of_config, [PlacedSAE(1, "after the layer", 32, 64)])
    attached = attach(model, placed.layers, modules, 2, 4.0, 0.0)
    assert placed.layers == (2, 3)
    assert placed.n_trained == sum(parameter.numel() for parameter in adapter_parameters(attached))


def test_the_pocket_models_sizes_are_those_of_its_weights():
    from lorasae.sources.language_model import load_architecture, skeleton

    config = RunConfig().model
    bare: nn.Module = skeleton(config, load_architecture(config))
    matrices = sum(parameter.numel() for parameter in bare.parameters() if parameter.dim() == 2)
    assert sizes().n_parameters == matrices and torch.equal(torch.tensor(sizes().vocab), torch.tensor(2048))


@pytest.mark.parametrize(("scene", "counted"), OFFICIAL.items())
def test_operations_and_trained_numbers_of_the_papers_runs_are_as_counted(scene, counted):
    model, layer, d_in, d_sae = scene
    config = run_config({"model": {"model": model, "dtype": "bfloat16"}, "train": {"fast": False}}, "paper")
    of_model, saes = sizes(model), [PlacedSAE(layer, "after the layer", d_in, d_sae)]
    placed = placement(config.adapter, of_model, saes)
    assert step_flops(config, of_model, saes, placed) / 1e9 == pytest.approx(counted[0], rel=0.005)
    assert placed.n_trained / 1e6 == pytest.approx(counted[1], rel=0.002)
    assert memory(config, of_model, saes, placed, on_gpu=True).total / 1e9 == pytest.approx(counted[2], rel=0.2)


def test_the_memory_of_the_pocket_run_is_what_such_runs_took():
    """Peaks of runs on two cores, and of short measurements on one."""
    seen = {(False, "after"): (748_539_904, 709_627_904, 706_478_080, 671_500_000), (False, "all"): (833_900_000,)}
    seen |= {(True, "after"): (584_000_000,), (True, "all"): (640_000_000,)}
    for (fast, where), peaks in seen.items():
        config = run_config({"train": {"fast": fast}, "adapter": {"placement": where}})
        needed = memory(config, sizes(), [POCKET_SAE], placement(config.adapter, sizes(), [POCKET_SAE]), on_gpu=False).total
        assert all(0.9 * peak < needed < 1.2 * peak for peak in peaks), (fast, where, needed)


@pytest.mark.parametrize(
    ("fast", "dropout", "where", "sequences", "peak"),
    [
        (True, 0.1, "all", 64, 2_630e6),
        (True, 0.1, "after", 64, 1_545e6),
        (True, 0.0, "all", 64, 2_075e6),
        (True, 0.0, "after", 64, 1_269e6),
        (False, 0.0, "after", 64, 2_858e6),
        (False, 0.0, "after", 32, 1_611e6),
    ],
)
def test_many_sequences_at_once_need_no_more_than_the_quarter_that_is_kept_free(fast, dropout, where, sequences, peak):
    """Peaks of pocket runs on a processor, whose heap holds more than what is alive in it."""
    train = {"fast": fast, "micro_batch_size": sequences, "tokens_per_step": 16_384}
    config = run_config({"train": train, "adapter": {"placement": where, "dropout": dropout}})
    needed = memory(config, sizes(), [POCKET_SAE], placement(config.adapter, sizes(), [POCKET_SAE]), on_gpu=False).total
    assert peak < needed / TIGHT_FROM and needed < 1.2 * peak, needed


@pytest.mark.parametrize(("where", "shared"), [("after", 3), ("all", 0)])
def test_the_fast_step_goes_through_the_common_layers_once_and_decodes_active_features_alone(where, shared):
    fast, plain = (run_config({"adapter": {"placement": where}, "train": {"fast": fast}}) for fast in (True, False))
    placed = placement(fast.adapter, sizes(), [POCKET_SAE])
    counted = [step_flops(config, sizes(), [POCKET_SAE], placed) for config in (plain, fast)]
    layer = (forward_flops(fast, sizes(), []) - 2 * sizes().vocab * sizes().d_model) / sizes().n_layers
    dense = 4 * POCKET_SAE.d_in * POCKET_SAE.d_sae
    assert counted[0] - counted[1] == pytest.approx(shared * layer + (dense / 2 if where == "after" else dense * 1.5))


def test_an_adapter_below_the_sae_pays_for_the_gradient_through_it():
    after, everywhere = (run_config({"adapter": {"placement": where}, "train": {"fast": False}}) for where in ("after", "all"))
    placed = [placement(config.adapter, sizes(), [POCKET_SAE]) for config in (after, everywhere)]
    assert [each.layers for each in placed] == [(3, 4, 5), (0, 1, 2, 3, 4, 5)]
    through = step_flops(everywhere, sizes(), [POCKET_SAE], placed[1]) - step_flops(everywhere, sizes(), [], placed[1])
    assert through == 2 * (forward_flops(after, sizes(), [POCKET_SAE]) - forward_flops(after, sizes(), []))


def test_evaluated_tokens_count_every_condition_of_every_evaluation():
    config = run_config({"data": {"heldout_tokens": 128 * 16}, "watch": {"evaluations": 2}})
    assert evaluated_tokens(config) == 128 * (16 * (3 + 3) + 2 * 2 * 2)


def test_a_run_of_twice_the_tokens_trains_twice_as_long():
    speed = Speed(1e9, 2e9, 5.0, "assumed")
    once, twice = RunConfig(), run_config({"train": {"tokens": 2 * 147_456}})
    placed = placement(once.adapter, sizes(), [POCKET_SAE])
    first, second = (duration(config, sizes(), [POCKET_SAE], placed, speed) for config in (once, twice))
    assert second.training_s == 2 * first.training_s
    assert second.evaluating_s == first.evaluating_s and first.total_s == 5.0 + first.training_s + first.evaluating_s


def test_it_fits_with_a_quarter_to_spare_or_tightly_or_not():
    assert [verdict(needed, 100) for needed in (75, 75.1, 100, 100.1)] == ["fits", "tight", "tight", "does not fit"]


def test_as_many_sequences_go_at_once_as_fit_and_make_up_a_step():
    config = run_config({"train": {"tokens_per_step": 3072, "micro_batch_size": 12}})  # 24 sequences
    placed = placement(config.adapter, sizes(), [POCKET_SAE])

    def fitting(there_is: float, n_runs: int = 1) -> int:
        return micro_batch_that_fits(config, sizes(), [POCKET_SAE], placed, there_is, False, n_runs)

    def needed(size: int):
        return memory(with_micro_batch(config, size), sizes(), [POCKET_SAE], placed, on_gpu=False)

    assert [fitting(needed(size).total) for size in (24, 12, 11, 8, 7, 1)] == [12, 12, 8, 8, 6, 1]
    assert fitting(1e6) == 1, "what does not fit at all is tried with one"
    together = needed(6).total + 4 * (needed(6).activations + needed(6).adapter)
    assert fitting(together, n_runs=5) == 6 and fitting(together - 1, n_runs=5) == 4


def test_half_precision_is_named_where_it_is_what_helps():
    config = run_config({"train": {"micro_batch_size": 1}})
    placed = placement(config.adapter, sizes(), [POCKET_SAE])
    full = memory(config, sizes(), [POCKET_SAE], placed, on_gpu=False).total
    assert change_that_fits(config, sizes(), [POCKET_SAE], full - 1, False) == "Set model.dtype to bfloat16"
    assert change_that_fits(config, sizes(), [POCKET_SAE], 1e6, False) is None


@pytest.mark.parametrize(
    ("adapter", "found"),
    [
        ({"rank": 97}, "The smallest side of its linear maps is 96"),
        ({"layers": (6,)}, "The model has 6 layers, 0 to 5"),
        ({"modules": ("q_prj",)}, "Nearest: q_proj"),
    ],
)
def test_an_adapter_that_cannot_be_is_refused_as_the_run_would(adapter, found):
    with pytest.raises(LabError, match=found):
        placement(AdapterConfig(**adapter), sizes(), [POCKET_SAE])


def test_no_layer_lies_after_the_last():
    with pytest.raises(LabError, match="Choose placement: all"):
        placement(AdapterConfig(), sizes(), [PlacedSAE(5, "after the layer", 192, 512)])
    assert placement(AdapterConfig(), sizes(), [PlacedSAE(5, "before the layer", 192, 512)]).layers == (5,)
