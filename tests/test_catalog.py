"""What is known of an SAE from metadata alone, and what is refused on the strength of it."""

import json
import subprocess
import sys

import pytest

from lorasae.config import SAERef
from lorasae.errors import LabError
from lorasae.sources import catalog
from lorasae.sources.catalog import (
    POCKET_RELEASE,
    alike,
    default_pocket_sae,
    is_folder,
    models,
    pocket_saes,
    resolve,
    saes_above,
    saes_of,
    site_of,
)
from tests.toys import D_IN, D_SAE, write_sae


def registered(release: str, sae_id: str):
    return resolve(SAERef(release=release, sae_id=sae_id))


@pytest.fixture
def pocket(tmp_path, monkeypatch):
    """An index of three pocket SAEs at layers 1, 2 and 4, the middle one being the default."""
    entries = [
        {
            "sae_id": f"layer_{layer}/width_64/average_l0_{l0}",
            "path": f"layer_{layer}/width_64/average_l0_{l0}",
            **{"layer": layer, "d_in": D_IN, "d_sae": D_SAE, "hook_point": f"blocks.{layer}.hook_resid_post", "l0": l0, "fve": 0.9},
        }
        for layer, l0 in ((1, 8), (2, 9), (4, 30), (4, 11))
    ]
    folder = tmp_path / "demo" / "saes"
    folder.mkdir(parents=True)
    (folder / "index.json").write_text(json.dumps({"default": entries[1]["sae_id"], "saes": entries}))
    monkeypatch.setattr(catalog, "ASSETS", tmp_path)
    return folder


def test_an_empty_id_means_the_default_pocket_sae(pocket):
    card = resolve(SAERef())
    assert card.ref == default_pocket_sae() == SAERef(release=POCKET_RELEASE, sae_id="layer_2/width_64/average_l0_9")
    assert (card.d_in, card.d_sae, card.hook_point, card.l0, card.fve) == (D_IN, D_SAE, "blocks.2.hook_resid_post", 9, 0.9)
    assert card.folder == pocket / "layer_2/width_64/average_l0_9" and card.model == "pocket"


def test_every_pocket_sae_is_found_under_its_id(pocket):
    assert len(pocket_saes()) == 4
    assert all(resolve(card.ref) == card for card in pocket_saes())


def test_an_unknown_pocket_id_is_refused_with_the_nearest(pocket):
    with pytest.raises(LabError, match="Nearest: layer_4/width_64/average_l0_11"):
        registered(POCKET_RELEASE, "layer_4/width_64/average_l0_12")


def test_saes_above_one_come_nearest_layer_first_and_then_the_most_alike(pocket):
    above = [ref.sae_id for ref in saes_above(SAERef(sae_id="layer_1/width_64/average_l0_8"))]
    assert above == [f"layer_{at}" for at in ("2/width_64/average_l0_9", "4/width_64/average_l0_11", "4/width_64/average_l0_30")]
    assert saes_above(SAERef(release="gpt2-small-res-jb", sae_id="blocks.0.hook_resid_pre")) == ()


def test_a_missing_pocket_index_says_how_to_build_it(tmp_path, monkeypatch):
    monkeypatch.setattr(catalog, "ASSETS", tmp_path)
    with pytest.raises(LabError, match=r"python -m lorasae\.demo\.build"):
        resolve(SAERef())


def test_a_local_folder_is_read_from_its_config_alone(tmp_path):
    folder = write_sae(tmp_path / "mine", "topk", metadata={"model_name": "gpt2", "l0": 8.0})
    (folder / "sae_weights.safetensors").unlink()
    card = registered(str(folder), "")
    assert (card.architecture, card.d_in, card.d_sae, card.model, card.l0) == ("topk", D_IN, D_SAE, "gpt2", 8.0)
    assert card.hook_point == "blocks.1.hook_resid_post" and card.folder == folder
    assert registered(str(tmp_path), "mine").folder == folder


def test_a_folder_of_several_saes_tells_their_ids(tmp_path):
    write_sae(tmp_path / "layer_1" / "wide")
    write_sae(tmp_path / "layer_2")
    with pytest.raises(LabError, match="layer_2, layer_1/wide"):
        registered(str(tmp_path), "")


def test_a_folder_with_only_a_pickle_is_refused_unopened(tmp_path):
    (tmp_path / "ae.pt").write_bytes(b"not even a pickle")
    with pytest.raises(LabError, match="pickle"):
        registered(str(tmp_path), "")


@pytest.mark.parametrize("text", ["{oops", "[1, 2]", '{"d_in": 4, "d_sae": -1}', '{"d_sae": 4}'])
def test_a_config_that_says_nothing_useful_is_refused_in_a_sentence(tmp_path, text):
    (tmp_path / "cfg.json").write_text(text)
    with pytest.raises(LabError, match=r"cfg\.json"):
        registered(str(tmp_path), "")


@pytest.mark.parametrize(
    ("architecture", "why"),
    [
        ("transcoder", "transcoder"),
        ("jumprelu_skip_transcoder", "transcoder"),
        ("temporal", "tokens before"),
        ("matching_pursuit", "search"),
    ],
)
def test_a_local_sae_that_cannot_be_spliced_is_refused_with_the_reason(tmp_path, architecture, why):
    write_sae(tmp_path, "standard")
    config = json.loads((tmp_path / "cfg.json").read_text())
    (tmp_path / "cfg.json").write_text(json.dumps({**config, "architecture": architecture}))
    with pytest.raises(LabError, match=why):
        registered(str(tmp_path), "")


def test_an_sae_that_writes_another_place_than_it_reads_is_refused(tmp_path):
    write_sae(tmp_path, hook_name="blocks.1.hook_mlp_in", metadata={"hook_name_out": "blocks.1.hook_mlp_out"})
    with pytest.raises(LabError, match=r"reads blocks\.1\.hook_mlp_in and writes blocks\.1\.hook_mlp_out"):
        registered(str(tmp_path), "")


@pytest.mark.parametrize(
    ("release", "sae_id", "hook_point", "d_sae", "l0", "model"),
    [
        ("gemma-scope-2b-pt-res", "layer_12/width_16k/average_l0_82", "blocks.12.hook_resid_post", 2**14, 82, "google/gemma-2-2b"),
        ("gemma-scope-2b-pt-res-canonical", "layer_12/width_16k/canonical", "blocks.12.hook_resid_post", 2**14, 82, "google/gemma-2-2b"),
        ("gemma-scope-9b-pt-att-canonical", "layer_3/width_131k/canonical", "blocks.3.attn.hook_z", 2**17, None, "google/gemma-2-9b"),
        ("gemma-scope-2b-pt-mlp-canonical", "layer_5/width_65k/canonical", "blocks.5.hook_mlp_out", 2**16, None, "google/gemma-2-2b"),
        ("gemma-scope-9b-it-res", "layer_20/width_131k/average_l0_13", "blocks.20.hook_resid_post", 2**17, 13, "google/gemma-2-9b-it"),
        ("gemma-scope-2-4b-pt-att-all", "layer_9_width_262k_l0_small", "blocks.9.attn.hook_z", 2**18, None, "google/gemma-3-4b-pt"),
        ("gemma-scope-2-1b-pt-mlp", "layer_7_width_1m_l0_big", "blocks.7.hook_mlp_out", 2**20, None, "google/gemma-3-1b-pt"),
        ("llama_scope_lxa_8x", "l31a_8x", "blocks.31.hook_attn_out", 2**15, 50, "meta-llama/Llama-3.1-8B"),
        (
            "llama_scope_r1_distill",
            "l0r_800m_slimpajama",
            "blocks.0.hook_resid_post",
            2**15,
            None,
            "deepseek-ai/DeepSeek-R1-Distill-Llama-8B",
        ),
        ("gpt2-small-res-jb", "blocks.0.hook_resid_pre", "blocks.0.hook_resid_pre", 24_576, 10, "openai-community/gpt2"),
        ("gpt2-small-res-jb-feature-splitting", "blocks.8.hook_resid_pre_768", "blocks.8.hook_resid_pre", 768, 36, "openai-community/gpt2"),
        ("gpt2-small-res_scefr-ajt", "blocks.10.hook_resid_pre", "blocks.10.hook_resid_pre", 46_080, None, "openai-community/gpt2"),
    ],
)
def test_layer_site_width_and_l0_are_read_from_the_names_of_each_family(release, sae_id, hook_point, d_sae, l0, model):
    card = registered(release, sae_id)
    assert (card.hook_point, card.d_sae, card.model) == (hook_point, d_sae, model)
    assert l0 is None or card.l0 == l0


def test_an_unknown_release_is_refused_with_the_nearest():
    with pytest.raises(LabError, match="Nearest: gemma-scope-2b-pt-res,"):
        registered("gema-scope-2b-pt-res", "layer_12/width_16k/average_l0_82")


def test_an_unknown_id_is_refused_with_the_nearest():
    with pytest.raises(LabError, match="Nearest: layer_12/width_16k/average_l0_82"):
        registered("gemma-scope-2b-pt-res", "layer_12/width_16k/average_l0_8")


def test_a_repository_in_place_of_a_release_is_answered_with_its_releases():
    with pytest.raises(LabError, match="gemma-scope-2b-pt-res, gemma-scope-2b-pt-res-canonical"):
        registered("google/gemma-scope-2b-pt-res", "layer_12/width_16k/average_l0_82")


@pytest.mark.parametrize("release", ["x" * 5000, "\0", "..\\..", " "])
def test_nonsense_in_place_of_a_release_is_answered_in_a_sentence(release):
    with pytest.raises(LabError, match="neither a release"):
        registered(release, "")


@pytest.mark.parametrize(
    ("release", "sae_id", "why"),
    [
        ("gemma-scope-2b-pt-transcoders", "layer_0/width_16k/average_l0_76", "transcoder"),
        ("gemma-scope-2-4b-pt-transcoders-all", "layer_0_width_16k_l0_big", "transcoder"),
        ("mwhanna-qwen3-4b-transcoders", "layer_0", "transcoder"),
        ("mntss-gemma-2-2b-2.5m-clt-as-per-layer", "layer_0", "cross-layer transcoder"),
        ("temporal-sae-gemma-2-2b", "blocks.12.hook_resid_post", "temporal"),
        ("gpt2-small-hook-z-kk", "blocks.0.hook_z", "pickle"),
        ("goodfire-llama-3.1-8b-instruct", "layer_19", "pickle"),
        ("sae_bench_gemma-2-2b_topk_width-2pow12_date-1109", "blocks.12.hook_resid_post__trainer_0", "pickle"),
    ],
)
def test_what_cannot_be_spliced_is_refused_before_anything_is_fetched(release, sae_id, why):
    with pytest.raises(LabError, match=why):
        registered(release, sae_id)


def test_resolving_imports_neither_torch_nor_sae_lens():
    code = (
        "import sys; from lorasae.sources.catalog import resolve; from lorasae.config import SAERef\n"
        "resolve(SAERef(release='gemma-scope-2b-pt-res-canonical', sae_id='layer_12/width_16k/canonical'))\n"
        "print([name for name in ('torch', 'transformers', 'sae_lens') if name in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert output.stdout.strip() == "[]"


# --- what there is to choose from


def test_models_are_offered_with_the_pocket_model_first(pocket):
    offered = models()
    assert (offered[0].model, offered[0].n_saes, offered[0].needs_hub) == ("pocket", 4, False)
    assert {"google/gemma-2-2b", "openai-community/gpt2"} <= {each.model for each in offered[1:]}


def test_every_sae_that_is_offered_belongs_to_its_model_and_a_place_that_can_be_spliced():
    for offer in models():
        cards = saes_of(offer.model)
        assert len(cards) == offer.n_saes and [card.layer for card in cards] == sorted(card.layer for card in cards)
        assert {site_of(card) for card in cards} <= {
            "before the layer",
            "after the layer",
            "attention output",
            "attention heads",
            "MLP output",
        }


def test_a_model_is_known_by_its_short_name_too():
    assert saes_of("gpt2-small") == saes_of("openai-community/gpt2") != ()
    assert saes_of("nobody/nothing") == ()


def test_the_sae_most_alike_is_of_the_same_site_then_width_then_l0(pocket):
    at_four = tuple(card for card in saes_of("pocket") if card.layer == 4)
    assert alike(resolve(SAERef()), at_four).l0 == 11


def test_no_name_is_no_folder():
    assert not is_folder("") and is_folder(".")
