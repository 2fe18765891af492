"""The adapter: where it sits, that it starts at nothing, comes off without a trace, and survives saving."""

import copy
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from lorasae.core.adapter import (
    adaptable_modules,
    adapter_off,
    adapter_parameters,
    adapter_weights,
    attach,
    chosen_modules,
    evaluating,
    layers_after,
    load_adapter_weights,
    train_adapter_only,
)
from lorasae.core.evaluate import measure
from lorasae.core.hook_points import HookPoint, decoder_blocks
from lorasae.errors import LabError
from tests.core.toys import BOS, FAMILIES, N_LAYERS, SPECIAL, adapted_model, resid, some_ids, sparse_sae, tiny_model


def logits_of(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=some_ids(), use_cache=False).logits


def adapted_places(model: PeftModel) -> set[str]:
    """Paths of the adapted modules in the bare model."""
    return {name.removeprefix("base_model.model.").partition(".lora_A")[0] for name, _ in model.named_parameters() if "lora_A" in name}


# --- where it sits


def test_layers_after_begin_above_the_lowest_hook_point() -> None:
    assert layers_after([resid(1)], 4) == (2, 3)
    assert layers_after([HookPoint(1, "resid_pre")], 4) == (1, 2, 3)
    assert layers_after([HookPoint(1, "mlp_out")], 4) == (2, 3)
    assert layers_after([resid(2), resid(0)], 4) == (1, 2, 3)


def test_no_layer_after_the_last_is_a_lab_error() -> None:
    with pytest.raises(LabError, match=r"all lie below it.*placement: all"):
        layers_after([resid(3)], 4)


def test_attention_of_gpt2_does_not_take_the_projection_of_the_mlp() -> None:
    """Both are called `c_proj`: a rule by the name's end would adapt both."""
    block = decoder_blocks(tiny_model("gpt2"))[0]
    assert sorted(chosen_modules(block, ["attention"])) == ["attn.c_attn", "attn.c_proj"]
    assert sorted(chosen_modules(block, ["mlp"])) == ["mlp.c_fc", "mlp.c_proj"]
    assert sorted(chosen_modules(block, ["c_proj"])) == ["attn.c_proj", "mlp.c_proj"]
    assert chosen_modules(block, ["attn.c_proj"]) == ["attn.c_proj"]
    model = adapted_model("gpt2", (1, 3), modules=("attention",))
    assert adapted_places(model) == {f"transformer.h.{layer}.attn.{name}" for layer in (1, 3) for name in ("c_attn", "c_proj")}


@pytest.mark.parametrize("family", ["gemma2", "llama"])
def test_attention_and_mlp_are_the_seven_projections_of_the_paper(family: str) -> None:
    model = adapted_model(family, (2,))
    names = {place.rpartition(".")[2] for place in adapted_places(model)}
    assert names == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}
    assert all(place.startswith("model.layers.2.") for place in adapted_places(model))


def test_layer_one_is_not_layer_eleven() -> None:
    """The layers go into a regular expression."""
    model = GPT2LMHeadModel(GPT2Config(vocab_size=8, n_embd=4, n_layer=12, n_head=1, n_positions=8))
    adapted = attach(model, (1,), ("c_attn",), rank=1, alpha=1.0, dropout=0.0)
    assert adapted_places(adapted) == {"transformer.h.1.attn.c_attn"}


def test_a_module_named_twice_is_adapted_once() -> None:
    block = decoder_blocks(tiny_model("llama"))[0]
    assert chosen_modules(block, ["q_proj", "attention"]) == [f"self_attn.{name}_proj" for name in "qkvo"]


def test_every_linear_map_of_a_block_belongs_to_a_group() -> None:
    for family in FAMILIES:
        assert set(adaptable_modules(decoder_blocks(tiny_model(family))[0]).values()) == {"attention", "mlp"}


def test_an_unknown_module_is_a_lab_error_that_names_the_nearest() -> None:
    with pytest.raises(LabError, match=r"'q_prj'.*Nearest: .*q_proj"):
        attach(tiny_model("llama"), (2,), ("q_prj",), rank=2, alpha=4.0, dropout=0.0)


def test_no_module_at_all_is_a_lab_error() -> None:
    """An empty list in the config used to end in an IndexError."""
    with pytest.raises(LabError, match="attention, mlp"):
        attach(tiny_model("llama"), (2,), (), rank=2, alpha=4.0, dropout=0.0)


def test_a_rank_larger_than_a_module_is_a_lab_error() -> None:
    with pytest.raises(LabError, match=r"rank 9 .* smaller side of 8.*at most 8"):
        attach(tiny_model("llama"), (2,), ("attention",), rank=9, alpha=4.0, dropout=0.0)


@pytest.mark.parametrize("layer", [-1, 4])
def test_a_layer_beyond_the_model_is_a_lab_error(layer: int) -> None:
    with pytest.raises(LabError, match=f"layer {layer} .*4 layers, 0 to 3"):
        attach(tiny_model("llama"), (2, layer), ("mlp",), rank=2, alpha=4.0, dropout=0.0)


# --- what it does


@pytest.mark.parametrize("family", FAMILIES)
def test_a_fresh_adapter_leaves_the_logits_bit_equal(family: str) -> None:
    assert torch.equal(logits_of(adapted_model(family)), logits_of(tiny_model(family)))


@pytest.mark.parametrize("family", FAMILIES)
def test_switching_a_trained_adapter_off_gives_the_original_model_bit_for_bit(family: str) -> None:
    model = adapted_model(family, trained=True)
    adapted, original = logits_of(model), logits_of(tiny_model(family))
    assert not torch.equal(adapted, original)
    with adapter_off(model):
        assert torch.equal(logits_of(model), original)
        with adapter_off(model):
            assert torch.equal(logits_of(model), original)
        assert torch.equal(logits_of(model), original)
    assert torch.equal(logits_of(model), adapted)


def test_after_switching_off_the_adapter_is_trainable_again_also_after_an_error() -> None:
    """PEFT freezes an adapter while it is off."""
    model = adapted_model("llama", trained=True)
    adapted, n = logits_of(model), len(adapter_parameters(model))
    with pytest.raises(RuntimeError), adapter_off(model):
        raise RuntimeError
    assert len(adapter_parameters(model)) == n > 0
    assert torch.equal(logits_of(model), adapted)


def test_a_model_without_an_adapter_may_be_switched_off_too() -> None:
    model = tiny_model("llama")
    with adapter_off(model):
        assert torch.equal(logits_of(model), logits_of(tiny_model("llama")))


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_the_adapter_adds_alpha_over_rank_times_b_times_a(family: str) -> None:
    """GPT-2 stores its weights transposed."""
    model = adapted_model(family, (0, 3), dtype=torch.float64, trained=True)
    merged = tiny_model(family, torch.float64)
    weights = {name.removeprefix("base_model.model."): tensor for name, tensor in adapter_weights(model).items()}
    for place in adapted_places(model):
        change = (4.0 / 2) * weights[f"{place}.lora_B.weight"] @ weights[f"{place}.lora_A.weight"]
        with torch.no_grad():
            merged.get_submodule(place).weight += change.T if family == "gpt2" else change  # type: ignore[operator]
    torch.testing.assert_close(logits_of(model), logits_of(merged), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("family", FAMILIES)
def test_only_the_adapter_is_trainable(family: str) -> None:
    model = adapted_model(family)
    trainable = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert trainable
    assert all("lora_" in name for name in trainable)
    assert len(adapter_parameters(model)) == len(trainable) == 2 * len(adapted_places(model))


def test_the_adapter_of_a_bf16_model_is_held_in_fp32() -> None:
    """AdamW's small steps would be lost in bf16 weights."""
    model = adapted_model("llama", dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in adapter_parameters(model)} == {torch.float32}
    assert logits_of(model).dtype == torch.bfloat16


# --- modes


def modes(model: nn.Module) -> dict[str, bool]:
    return {name: module.training for name, module in model.named_modules()}


def test_evaluating_restores_the_mode_of_every_module_as_found() -> None:
    """A mixture: `model.train()` afterwards would be as wrong as the authors' staying in eval."""
    model = adapted_model("gpt2", dropout=0.1)
    for number, module in enumerate(model.modules()):
        module.training = number % 3 == 0
    found = modes(model)
    with evaluating(model):
        assert not any(modes(model).values())
    assert modes(model) == found


def test_evaluating_restores_the_modes_after_an_error() -> None:
    model = adapted_model("gpt2", dropout=0.1)
    train_adapter_only(model)
    found = modes(model)
    with pytest.raises(RuntimeError), evaluating(model):
        raise RuntimeError
    assert modes(model) == found


def test_training_switches_on_the_adapters_dropout_alone_and_an_evaluation_in_between_changes_nothing() -> None:
    """The research code's `evaluate()` calls `.eval()` and never returns: its dropout is off from the first evaluation on."""
    model = adapted_model("gpt2", dropout=0.1)
    train_adapter_only(model)

    def training_dropouts() -> tuple[set[bool], set[bool]]:
        dropouts = [(name, module.training) for name, module in model.named_modules() if isinstance(module, nn.Dropout)]
        return {mode for name, mode in dropouts if "lora_" in name}, {mode for name, mode in dropouts if "lora_" not in name}

    assert training_dropouts() == ({True}, {False})
    measure(model, [some_ids()], {resid(1): sparse_sae()}, SPECIAL)
    assert training_dropouts() == ({True}, {False})


def test_the_frozen_models_own_dropout_does_not_act_in_training() -> None:
    """GPT-2 comes with dropout 0.1 in three places; with it the student could never equal its teacher."""
    model = adapted_model("gpt2", dropout=0.0, trained=True)
    train_adapter_only(model)
    assert torch.equal(logits_of(model), logits_of(model))


def test_the_adapters_dropout_does_act_in_training() -> None:
    model = adapted_model("gpt2", dropout=0.5, trained=True)
    train_adapter_only(model)
    assert not torch.equal(logits_of(model), logits_of(model))
    with evaluating(model):
        assert torch.equal(logits_of(model), logits_of(model))


# --- its weights


def test_weights_put_into_a_fresh_adapter_are_bit_equal_and_detached() -> None:
    trained, fresh = adapted_model("gpt2", trained=True), adapted_model("gpt2")
    weights = adapter_weights(trained)
    kept = copy.deepcopy(weights)
    load_adapter_weights(fresh, weights)
    assert adapter_weights(fresh).keys() == kept.keys()
    assert all(torch.equal(tensor, kept[name]) for name, tensor in adapter_weights(fresh).items())
    assert torch.equal(logits_of(fresh), logits_of(trained))

    with torch.no_grad():
        for parameter in adapter_parameters(trained):
            parameter.zero_()
    assert all(torch.equal(tensor, kept[name]) for name, tensor in weights.items())


def test_the_adapters_weights_are_read_without_asking_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    """PEFT by default asks the Hub for the base model's config, at every checkpoint, to see whether its vocabulary was resized."""
    model = adapted_model("llama")
    model.peft_config["default"].base_model_name_or_path = "google/gemma-2-2b"

    def ask(*_args: object, **_kwargs: object) -> None:
        raise AssertionError("the Hub was asked")

    monkeypatch.setattr("peft.utils.save_and_load.check_file_exists_on_hf_hub", ask)
    assert len(adapter_weights(model)) == len(adapter_parameters(model))


def test_weights_without_a_place_are_refused() -> None:
    weights = adapter_weights(adapted_model("llama", (1, 2, 3), trained=True))
    with pytest.raises(ValueError, match="without a place"):
        load_adapter_weights(adapted_model("llama", (2, 3)), weights)


def test_weights_that_leave_a_place_empty_are_refused() -> None:
    """Loaded in silence, half of the adapter would stay random."""
    weights = adapter_weights(adapted_model("llama", (3,), trained=True))
    with pytest.raises(ValueError, match="without weights"):
        load_adapter_weights(adapted_model("llama", (2, 3)), weights)


@pytest.mark.parametrize("family", FAMILIES)
def test_saved_in_peft_format_and_loaded_by_peft_alone_the_logits_are_bit_equal(family: str, tmp_path: Path) -> None:
    model = adapted_model(family, trained=True)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(tiny_model(family), tmp_path).eval()
    assert torch.equal(logits_of(loaded), logits_of(model))


def test_the_toys_have_what_the_tests_rely_on() -> None:
    for family in FAMILIES:
        assert len(decoder_blocks(tiny_model(family))) == N_LAYERS
    assert (some_ids()[:, 0] == BOS).all()
