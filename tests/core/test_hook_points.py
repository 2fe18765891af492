"""Every site is the right tensor in every family, under both naming schemes."""

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from lorasae.core.hook_points import (
    HookPoint,
    decoder_blocks,
    decoder_blocks_path,
    parse_hook_point,
    place,
    refuse_another_place,
    stream_of,
    with_stream,
)
from lorasae.errors import LabError
from tests.toys import D_IN, FAMILIES, N_LAYERS, VOCAB, tiny_model

SITES = ("resid_pre", "resid_post", "attn_out", "attn_z", "mlp_out")
ALL = [HookPoint(layer, site) for layer in range(N_LAYERS) for site in SITES]
IDS = torch.randint(3, VOCAB, (2, 20), generator=torch.Generator().manual_seed(0))  # longer than the sliding windows


def streams(model: nn.Module, hook_points: list[HookPoint]) -> dict[HookPoint, Tensor]:
    """What lies at each place in one forward pass."""
    seen: dict[HookPoint, Tensor] = {}
    handles = []
    for hook_point in hook_points:
        module, side = place(model, hook_point)

        def on_input(_module, args, kwargs, at=hook_point):
            seen[at] = args[0] if args else kwargs["hidden_states"]

        def on_output(_module, _args, outputs, at=hook_point):
            seen[at] = stream_of(outputs)

        handles.append(
            module.register_forward_pre_hook(on_input, with_kwargs=True) if side == "input" else module.register_forward_hook(on_output)
        )
    with torch.no_grad():
        model(input_ids=IDS, use_cache=False)
    for handle in handles:
        handle.remove()
    return seen


@pytest.fixture(params=FAMILIES)
def model(request):
    return tiny_model(request.param)


def test_the_stream_behind_a_layer_is_the_stream_before_the_next(model):
    seen = streams(model, ALL)
    for layer in range(N_LAYERS - 1):
        assert torch.equal(seen[HookPoint(layer, "resid_post")], seen[HookPoint(layer + 1, "resid_pre")])


def test_the_residual_stream_is_what_transformers_calls_hidden_states(model):
    with torch.no_grad():
        hidden_states = model(input_ids=IDS, output_hidden_states=True).hidden_states
    seen = streams(tiny_model_like(model), ALL)
    for layer in range(N_LAYERS):
        assert torch.equal(seen[HookPoint(layer, "resid_pre")], hidden_states[layer])
        if layer < N_LAYERS - 1:  # the last entry of hidden_states is behind the final norm
            assert torch.equal(seen[HookPoint(layer, "resid_post")], hidden_states[layer + 1])


def tiny_model_like(model: nn.Module) -> nn.Module:
    """The same model without the hooks that output_hidden_states leaves behind."""
    fresh = type(model)(model.config).eval()
    fresh.load_state_dict(model.state_dict())
    return fresh


def test_a_layer_adds_what_attention_and_mlp_put_out(model):
    seen = streams(model, ALL)
    for layer in range(N_LAYERS):
        before, attention, mlp, after = (seen[HookPoint(layer, site)] for site in ("resid_pre", "attn_out", "mlp_out", "resid_post"))
        assert attention.abs().max() > 0.01 and mlp.abs().max() > 0.01
        torch.testing.assert_close(before + attention + mlp, after, rtol=1e-5, atol=1e-5 * after.abs().max().item())


def test_attention_puts_out_the_projection_of_its_heads(model):
    for layer, block in enumerate(decoder_blocks(model)):
        projection, side = place(model, HookPoint(layer, "attn_z"))
        assert side == "input"
        seen: list[Tensor] = []
        attention = next(child for name, child in block.named_children() if name in ("self_attn", "attn", "attention"))
        handle = attention.register_forward_hook(lambda _module, _args, outputs, seen=seen: seen.append(stream_of(outputs)))
        heads = streams(model, [HookPoint(layer, "attn_z")])[HookPoint(layer, "attn_z")]
        handle.remove()
        with torch.no_grad():
            torch.testing.assert_close(projection(heads), seen[0])


@pytest.mark.parametrize("family", ["gemma2", "gemma3"])
def test_what_gemma_adds_to_its_stream_has_passed_the_norms_behind_attention_and_mlp(family):
    model = tiny_model(family)
    for layer, block in enumerate(decoder_blocks(model)):
        assert place(model, HookPoint(layer, "attn_out")) == (block.post_attention_layernorm, "output")
        assert place(model, HookPoint(layer, "mlp_out")) == (block.post_feedforward_layernorm, "output")


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "mistral"])
def test_the_norm_that_llama_has_before_its_mlp_is_not_taken_for_one_behind_attention(family):
    model = tiny_model(family)
    assert place(model, HookPoint(1, "attn_out")) == (decoder_blocks(model)[1].self_attn, "output")


def test_the_same_place_is_found_inside_a_wrapped_model(model):
    inner = {hook_point: place(model, hook_point) for hook_point in ALL if hook_point.site != "attn_z"}
    path = decoder_blocks_path(model)
    wrapped = get_peft_model(model, LoraConfig(r=2, target_modules=rf".*{path}\.1\..*(o_proj|c_proj|dense)"))
    assert {hook_point: place(wrapped, hook_point) for hook_point in inner} == inner
    assert decoder_blocks_path(wrapped) == path


def test_a_layer_beyond_the_model_is_refused_with_the_number_of_layers(model):
    with pytest.raises(LabError, match="The model has 4 layers, 0 to 3"):
        place(model, HookPoint(N_LAYERS, "resid_post"))


def test_a_site_that_a_family_does_not_have_is_refused():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.config = tiny_model("llama").config
            self.layers = nn.ModuleList(nn.Linear(D_IN, D_IN) for _ in range(N_LAYERS))

    with pytest.raises(LabError, match="have none of"):
        place(Plain(), HookPoint(0, "mlp_out"))


def test_a_model_without_a_list_of_blocks_is_refused():
    model = nn.Linear(2, 2)
    model.config = tiny_model("llama").config
    with pytest.raises(LabError, match="No list of 4 blocks"):
        decoder_blocks(model)


@pytest.mark.parametrize("hook_point", ALL, ids=str)
def test_our_own_spelling_is_read_back(hook_point):
    assert parse_hook_point(str(hook_point)) == hook_point


@pytest.mark.parametrize(
    ("name", "hook_point"),
    [
        ("blocks.12.hook_resid_post", HookPoint(12, "resid_post")),
        ("blocks.0.attn.hook_z", HookPoint(0, "attn_z")),
        ("model.layers.12.output", HookPoint(12, "resid_post")),
        ("model.layers.12", HookPoint(12, "resid_post")),
        ("model.layers.12.input", HookPoint(12, "resid_pre")),
        ("model.layers.3.self_attn.o_proj.input", HookPoint(3, "attn_z")),
        ("model.layers.3.post_feedforward_layernorm.output", HookPoint(3, "mlp_out")),
        ("model.language_model.layers.5.output", HookPoint(5, "resid_post")),
        ("transformer.h.2", HookPoint(2, "resid_post")),
        ("gpt_neox.layers.4.input", HookPoint(4, "resid_pre")),
        ("language_model.model.layers.5.output", HookPoint(5, "resid_post")),
        ("model.language_model.layers.5.self_attn.o_proj.input", HookPoint(5, "attn_z")),
        ("transformer.h.2.attn.c_proj.input", HookPoint(2, "attn_z")),
        ("transformer.h.2.mlp.output", HookPoint(2, "mlp_out")),
        ("gpt_neox.layers.4.attention.dense.input", HookPoint(4, "attn_z")),
        ("gpt_neox.layers.4.attention.output", HookPoint(4, "attn_out")),
        ("model.layers.3.mlp.output", HookPoint(3, "mlp_out")),
        ("model.layers.3.self_attn.output", HookPoint(3, "attn_out")),
    ],
)
def test_both_naming_schemes_are_read(name, hook_point):
    assert parse_hook_point(name) == hook_point


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("hook_embed", "the embedding"),
        ("blocks.3.hook_resid_mid", "between attention and MLP"),
        ("blocks.3.ln2.hook_normalized", "the input of a transcoder"),
        ("blocks.3.hook_mlp_in", "the input of a transcoder"),
        ("model.layers.3.pre_feedforward_layernorm.output", "the input of a transcoder"),
        ("blocks.3.mlp.hook_post", "inside attention or MLP"),
        ("blocks.3.attn.hook_q", "inside attention or MLP"),
        ("blocks.x.hook_resid_post", ""),
        ("model.layers.3.mlp.gate", ""),
        ("", ""),
        ("3", ""),
    ],
)
def test_places_that_cannot_be_spliced_are_refused_with_the_reason_and_those_that_can(name, why):
    with pytest.raises(LabError, match=rf"{why}.*blocks\.L\.hook_resid_post"):
        parse_hook_point(name)


PATHS = {
    "gemma2": ("model.layers", "self_attn.o_proj.input", "post_attention_layernorm.output", "post_feedforward_layernorm.output"),
    "gemma3": ("model.layers", "self_attn.o_proj.input", "post_attention_layernorm.output", "post_feedforward_layernorm.output"),
    **dict.fromkeys(("llama", "qwen2", "qwen3", "mistral"), ("model.layers", "self_attn.o_proj.input", "self_attn.output", "mlp.output")),
    "gpt2": ("transformer.h", "attn.c_proj.input", "attn.output", "mlp.output"),
    "gpt_neox": ("gpt_neox.layers", "attention.dense.input", "attention.output", "mlp.output"),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_s_own_module_paths_name_its_places(family):
    model, (blocks, *ends) = tiny_model(family), PATHS[family]
    assert decoder_blocks_path(model) == blocks
    for end, site in zip([*ends, "input", "output"], ["attn_z", "attn_out", "mlp_out", "resid_pre", "resid_post"], strict=True):
        name = f"{blocks}.2.{end}"
        assert parse_hook_point(name) == HookPoint(2, site)  # type: ignore[arg-type]
        refuse_another_place(model, name)
        path, _, side = name.rpartition(".")
        assert place(model, HookPoint(2, site)) == (model.get_submodule(path), side)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("family", "name"),
    [
        ("gemma2", "model.layers.2.mlp.output"),
        ("gemma3", "model.layers.2.self_attn.output"),
        ("llama", "model.layers.2.post_attention_layernorm.output"),
        ("llama", "model.layers.2.post_feedforward_layernorm.output"),
    ],
)
def test_a_module_path_that_means_another_place_in_this_family_is_refused(family, name):
    with pytest.raises(LabError, match="another place"):
        refuse_another_place(tiny_model(family), name)


@pytest.mark.parametrize("name", ["blocks.2.hook_mlp_out", "model.layers.2.output", "model.layers.2", "model.layers.2.input"])
def test_names_that_mean_one_place_everywhere_pass(name):
    refuse_another_place(tiny_model("gemma2"), name)


def test_every_place_that_the_registry_lists_is_read_or_refused_with_a_reason():
    from lorasae.config import SAERef
    from lorasae.sources.registered_saes import registered_card
    from lorasae.sources.registry import registry

    listed = set()
    for release, row in registry().items():
        for sae in row["saes"]:
            try:
                listed.add(registered_card(SAERef(release=release, sae_id=sae["id"])).hook_point)
            except LabError:  # a transcoder, or only a pickle
                continue
    assert {parse_hook_point(name).site for name in listed if name and "resid_mid" not in name and name != "hook_embed"} == set(SITES)
    assert None not in listed


def test_gemma_3_with_its_eyes_has_the_places_of_its_language_part():
    from transformers import Gemma3Config, Gemma3ForConditionalGeneration, SiglipVisionConfig

    text = tiny_model("gemma3").config
    eyes = SiglipVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=N_LAYERS, num_attention_heads=2, image_size=28, patch_size=14
    )
    model = Gemma3ForConditionalGeneration(
        Gemma3Config(text_config=text.to_dict(), vision_config=eyes.to_dict(), mm_tokens_per_image=4)
    ).eval()
    assert decoder_blocks_path(model) == "model.language_model.layers"
    seen = streams(model, ALL)
    for layer in range(N_LAYERS):
        before, attention, mlp, after = (seen[HookPoint(layer, site)] for site in ("resid_pre", "attn_out", "mlp_out", "resid_post"))
        torch.testing.assert_close(before + attention + mlp, after)
    refuse_another_place(model, "model.language_model.layers.2.post_feedforward_layernorm.output")


def test_hook_points_are_ordered_as_the_forward_pass_meets_them():
    names = ["hook_resid_pre", "attn.hook_z", "hook_attn_out", "hook_mlp_out", "hook_resid_post"]
    order = [parse_hook_point(f"blocks.{layer}.{name}") for layer in (0, 1) for name in names]
    assert sorted(set(order)) == order


def test_a_tensor_and_a_tuple_of_outputs_are_both_handled():
    stream, new, cache = torch.ones(2), torch.zeros(2), object()
    assert stream_of(stream) is stream and with_stream(stream, new) is new
    assert stream_of((stream, cache)) is stream
    assert with_stream((stream, cache), new) == (new, cache)
