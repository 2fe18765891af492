"""Every layout that publishers use becomes the SAE that sae-lens makes of it, offline, from files of the true layout; pickles never."""

import io
import json
import pickle
import zipfile
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from safetensors.torch import save
from torch import Tensor

from lorasae.config import SAERef
from lorasae.errors import LabError
from lorasae.sources.registered_saes import registered_saes
from lorasae.sources.registry import registry
from lorasae.sources.sae_formats.formats import FORMATS
from lorasae.sources.sae_weights import fetch_sae
from tests.small_hub import COMMIT, fill_cache, folder_files
from tests.toys import D_IN, D_SAE, sae_tensors, write_sae

GEMMA_2 = SAERef(release="gemma-scope-2b-pt-res-canonical", sae_id="layer_12/width_16k/canonical")
GEMMA_2_FOLDER = "layer_12/width_16k/average_l0_82"
GEMMA_2_HEADS = SAERef(release="gemma-scope-2b-pt-att-canonical", sae_id="layer_0/width_16k/canonical")
GEMMA_3 = SAERef(release="gemma-scope-2-270m-pt-res", sae_id="layer_12_width_16k_l0_big")
GEMMA_3_FOLDER = "resid_post/layer_12_width_16k_l0_big"
LLAMA = SAERef(release="llama_scope_lxr_8x", sae_id="l15r_8x")
DISTILL = SAERef(release="llama_scope_r1_distill", sae_id="l0r_800m_slimpajama")
GPT_2 = SAERef(release="gpt2-small-res-jb", sae_id="blocks.8.hook_resid_pre")


def npz(arrays: Mapping[str, np.ndarray]) -> bytes:
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def gemma_2_files(folder: str = GEMMA_2_FOLDER, **changes: np.ndarray) -> dict[str, bytes]:
    arrays = {name: tensor.numpy() for name, tensor in sae_tensors("jumprelu").items()}
    return {f"{folder}/params.npz": npz({**arrays, **changes})}


def gemma_3_files(*, config: dict | None = None, **changes: Tensor) -> dict[str, bytes]:
    tensors = {name.replace("W_", "w_"): tensor for name, tensor in sae_tensors("jumprelu").items()}
    stated = {"architecture": "jump_relu", "model_name": "gemma-v3-270m-pt", "hf_hook_point_in": "model.layers.12.output"}
    files = {f"{GEMMA_3_FOLDER}/params.safetensors": save({**tensors, **changes})}
    return files if config is None else {**files, f"{GEMMA_3_FOLDER}/config.json": json.dumps({**stated, **config}).encode()}


def linear_layers(dtype: torch.dtype) -> dict[str, Tensor]:
    """The weights as PyTorch's linear layers hold them."""
    weights = sae_tensors("jumprelu")
    return {
        "encoder.weight": weights["W_enc"].T.contiguous().to(dtype),
        "decoder.weight": weights["W_dec"].T.contiguous().to(dtype),
        "encoder.bias": weights["b_enc"].to(dtype),
        "decoder.bias": weights["b_dec"].to(dtype),
    }


def llama_files(**changes: object) -> dict[str, bytes]:
    settings = {
        "hook_point_in": "blocks.15.hook_resid_post",
        "hook_point_out": "blocks.15.hook_resid_post",
        "d_model": D_IN,
        "d_sae": D_SAE,
        "jump_relu_threshold": 0.4,
        "dataset_average_activation_norm": {"in": 8.5, "out": 8.5},
        "sparsity_include_decoder_norm": True,
        "apply_decoder_bias_to_pre_encoder": False,
        **changes,
    }
    folder = "Llama3_1-8B-Base-L15R-8x"
    weights = save(linear_layers(torch.bfloat16))
    return {f"{folder}/hyperparams.json": json.dumps(settings).encode(), f"{folder}/checkpoints/final.safetensors": weights}


def distill_files() -> dict[str, bytes]:
    settings = {"hook_point_in": "blocks.0.hook_resid_post", "d_model": D_IN, "expansion_factor": D_SAE // D_IN}
    weights = {**linear_layers(torch.float32), "log_jumprelu_threshold": sae_tensors("jumprelu")["threshold"].log()}
    folder = "800M-Slimpajama-0-OpenR1-Math-220k/L0R"
    return {f"{folder}/config.json": json.dumps(settings).encode(), f"{folder}/sae_weights.safetensors": save(weights)}


def gpt_2_files(tmp_path, **settings: object) -> dict[str, bytes]:
    """As sae-lens wrote it before version 6: metadata among the settings, and a factor of ones."""
    weights = {**sae_tensors("standard"), "scaling_factor": torch.ones(D_SAE)}
    folder = write_sae(tmp_path / "gpt2", "standard", weights=weights)
    old = {"hook_point": GPT_2.sae_id, "hook_point_layer": 8, "d_in": D_IN, "d_sae": D_SAE, "dtype": "torch.float32", "model_name": "gpt2"}
    (folder / "cfg.json").write_text(json.dumps({**old, "device": "cpu", **settings}))
    return folder_files(folder, f"{GPT_2.sae_id}/")


def fill(hub_cache, ref: SAERef, files: dict[str, bytes]) -> None:
    fill_cache(hub_cache, registry()[ref.release]["repo_id"], files)


@pytest.fixture
def theirs(monkeypatch):
    """sae-lens's own SAE of the same files. Its loaders know sizes by heart or ask the network for them; here they are told."""
    import sae_lens
    from sae_lens.loading import pretrained_sae_loaders
    from sae_lens.saes import sae

    upper = {"w_enc": [D_IN, D_SAE], "w_dec": [D_SAE, D_IN]}
    overrides = sae.get_config_overrides
    monkeypatch.setattr(sae, "get_config_overrides", lambda *ref: {**overrides(*ref), "d_in": D_IN, "d_sae": D_SAE})
    monkeypatch.setattr(pretrained_sae_loaders, "get_safetensors_tensor_shapes", lambda *_: upper)
    return lambda ref: sae_lens.SAE.from_pretrained(ref.release, ref.sae_id)


CASES = {
    "gemma_2": (GEMMA_2, gemma_2_files()),
    "gemma_3": (GEMMA_3, gemma_3_files(config={})),
    "gemma_3 without settings": (GEMMA_3, gemma_3_files()),
    "llama_scope": (LLAMA, llama_files()),
    "llama_scope_r1_distill": (DISTILL, distill_files()),
}


@pytest.mark.parametrize("case", CASES)
def test_a_published_sae_is_the_one_that_sae_lens_makes_of_it(case, hub_cache, theirs):
    ref, files = CASES[case]
    fill(hub_cache, ref, files)
    ours, x = fetch_sae(ref), 4 * torch.randn(50, D_IN)
    expected = theirs(ref)
    assert ours.commit == COMMIT
    weights = expected.state_dict()
    assert torch.equal(ours.sae.W_enc, weights["W_enc"]) and torch.equal(ours.sae.W_dec, weights["W_dec"])
    assert torch.equal(ours.sae.b_dec, weights["b_dec"]) and torch.equal(ours.sae.activation.threshold, weights["threshold"])
    active = ours.sae.encode(x)
    assert 0 < (active > 0).float().mean() < 1
    with torch.no_grad():
        torch.testing.assert_close(active, expected.encode(x), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(ours.sae.reconstruct(x), expected(x), rtol=1e-5, atol=1e-4)


def test_an_sae_in_sae_lens_s_older_layout_is_the_one_that_sae_lens_makes_of_it(hub_cache, theirs, tmp_path):
    fill(hub_cache, GPT_2, gpt_2_files(tmp_path))
    ours, expected = fetch_sae(GPT_2).sae, theirs(GPT_2)
    assert ours.normalisation == "centred"  # the registry says so; sae-lens leaves it to whoever runs the model
    x = torch.randn(50, D_IN)
    x -= x.mean(dim=-1, keepdim=True)
    with torch.no_grad():
        torch.testing.assert_close(ours.encode(x), expected.encode(x), rtol=1e-5, atol=1e-5)


def test_every_layout_of_the_registry_that_is_neither_pickle_nor_transcoder_is_read():
    offered = {registry()[card.ref.release].get("conversion_func") or "sae_lens" for card in registered_saes().cards}
    assert offered == set(FORMATS)


def test_an_array_of_python_objects_is_not_opened(hub_cache):
    fill(hub_cache, GEMMA_2, gemma_2_files(threshold=np.array([{"a": 1}], dtype=object)))
    with pytest.raises(LabError, match="holds object, no floating-point numbers"):
        fetch_sae(GEMMA_2)


def test_a_pickle_that_calls_itself_an_archive_is_not_opened(hub_cache):
    fill(hub_cache, GEMMA_2, {f"{GEMMA_2_FOLDER}/params.npz": pickle.dumps({"W_enc": [1.0]})})
    with pytest.raises(LabError, match="weights are damaged"):
        fetch_sae(GEMMA_2)


def test_an_sae_that_exists_only_as_a_pickle_is_refused_before_anything_is_fetched():
    release = next(name for name, row in registry().items() if row.get("conversion_func") == "dictionary_learning_1")
    with pytest.raises(LabError, match="only as a pickle, which could run any code when opened"):
        fetch_sae(SAERef(release=release, sae_id=registry()[release]["saes"][0]["id"]))


def test_the_older_spelling_of_gemma_scope_s_arrays_is_read(hub_cache):
    arrays = {name.replace("W_", "w_"): tensor.numpy() for name, tensor in sae_tensors("jumprelu").items()}
    fill(hub_cache, GEMMA_2, {f"{GEMMA_2_FOLDER}/params.npz": npz(arrays)})
    assert torch.equal(fetch_sae(GEMMA_2).sae.W_dec, sae_tensors("jumprelu")["W_dec"])


def test_an_sae_of_attention_heads_has_the_width_of_its_arrays(hub_cache):
    path = next(row["path"] for row in registry()[GEMMA_2_HEADS.release]["saes"] if row["id"] == GEMMA_2_HEADS.sae_id)
    arrays = {name: tensor.numpy() for name, tensor in sae_tensors("jumprelu", d_in=24, d_sae=40).items()}
    fill(hub_cache, GEMMA_2_HEADS, {f"{path}/params.npz": npz(arrays)})
    assert (fetch_sae(GEMMA_2_HEADS).sae.d_in, fetch_sae(GEMMA_2_HEADS).sae.d_sae) == (24, 40)


def test_memory_holds_the_arrays_of_an_archive_once(hub_cache):
    import tracemalloc

    arrays = {name: tensor.numpy() for name, tensor in sae_tensors("jumprelu", d_in=256, d_sae=4096).items()}
    fill(hub_cache, GEMMA_2, {f"{GEMMA_2_FOLDER}/params.npz": npz(arrays)})
    tracemalloc.start()
    sae = fetch_sae(GEMMA_2).sae
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.3 * sum(tensor.nbytes for tensor in sae.buffers())


@pytest.mark.parametrize(
    ("ref", "files", "said"),
    [
        (GEMMA_2, gemma_2_files(b_enc=np.zeros(3, np.float32)), r"Its b_enc is \(3,\)"),
        (GEMMA_2, gemma_2_files(extra=np.zeros(3, np.float32)), "hold extra"),
        (GEMMA_2, gemma_2_files(b_dec=np.full(D_IN, np.nan, np.float32)), "b_dec holds values that are not finite"),
        (GEMMA_2, gemma_2_files(W_dec=np.full((D_SAE, D_IN), np.inf, np.float32)), "W_dec holds values that are not finite"),
        (GEMMA_2, gemma_2_files(threshold=np.zeros(D_SAE, np.int64)), "holds int64"),
        (GEMMA_2, {f"{GEMMA_2_FOLDER}/params.npz": gemma_2_files()[f"{GEMMA_2_FOLDER}/params.npz"][:3000]}, "weights are damaged"),
        (GEMMA_2, {f"{GEMMA_2_FOLDER}/params.npz": npz({"b_dec": np.zeros(3, np.float32)})}, "lack W_enc; they have: b_dec"),
        (GEMMA_3, gemma_3_files(affine_skip_connection=torch.ones(D_IN, D_IN)), "affine skip connection"),
        (GEMMA_3, gemma_3_files(config={"affine_connection": True}), "affine skip connection"),
        (GEMMA_3, gemma_3_files(config={"hf_hook_point_out": "model.layers.12.mlp.output"}), "writes model.layers.12.mlp.output"),
        (GEMMA_3, gemma_3_files(config={"architecture": "topk"}), "'topk' is not known"),
        (GEMMA_3, gemma_3_files(config={"hf_hook_point_in": "model.layers.3.output"}), "its own settings say model.layers.3.output"),
        (LLAMA, llama_files(hook_point_out="blocks.16.hook_resid_post"), "writes blocks.16.hook_resid_post"),
        (LLAMA, llama_files(dataset_average_activation_norm=None), "lacks or misstates"),
        (LLAMA, llama_files(dataset_average_activation_norm={"in": 0.0}), "an activation norm of 0.0"),
        (LLAMA, llama_files(apply_decoder_bias_to_pre_encoder=True), "apply_decoder_bias_to_pre_encoder"),
    ],
)
def test_files_that_do_not_make_the_sae_are_told_in_a_sentence(hub_cache, ref, files, said):
    fill(hub_cache, ref, files)
    with pytest.raises(LabError, match=said):
        fetch_sae(ref)


def test_a_factor_found_in_fine_tuning_is_refused_unless_it_is_one(hub_cache, tmp_path):
    files = gpt_2_files(tmp_path)
    weights = {**sae_tensors("standard"), "scaling_factor": torch.full((D_SAE,), 1.5)}
    fill(hub_cache, GPT_2, {**files, f"{GPT_2.sae_id}/sae_weights.safetensors": save(weights)})
    with pytest.raises(LabError, match="factor found in fine-tuning"):
        fetch_sae(GPT_2)


def test_a_norm_factor_is_folded_into_whatever_layout_it_is_listed_for(hub_cache, theirs, tmp_path):
    ref = SAERef(release="gpt2-small-mlp-tm", sae_id="blocks.0.hook_mlp_out")
    row = registry()[ref.release]["saes"][0]
    files = gpt_2_files(tmp_path, hook_point=ref.sae_id, normalize_activations=True)
    fill(hub_cache, ref, {name.replace(GPT_2.sae_id, row["path"]): content for name, content in files.items()})
    ours, expected = fetch_sae(ref).sae, theirs(ref)
    assert torch.equal(ours.W_enc, expected.W_enc) and torch.equal(ours.b_dec, expected.b_dec)
    assert torch.equal(ours.W_enc, sae_tensors("standard")["W_enc"] * row["norm_scaling_factor"])


def test_an_archive_s_compressed_members_are_read(hub_cache):
    content = io.BytesIO()
    np.savez_compressed(content, **{name: tensor.numpy() for name, tensor in sae_tensors("jumprelu").items()})
    assert zipfile.ZipFile(io.BytesIO(content.getvalue())).infolist()[0].compress_type == zipfile.ZIP_DEFLATED
    fill(hub_cache, GEMMA_2, {f"{GEMMA_2_FOLDER}/params.npz": content.getvalue()})
    assert torch.equal(fetch_sae(GEMMA_2).sae.W_enc, sae_tensors("jumprelu")["W_enc"])
