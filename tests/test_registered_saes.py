"""Every SAE of sae-lens's registry: a card that lacks nothing, or refused for a reason that is counted. And the file it is kept in."""

from collections import Counter

import pytest

from lorasae.config import SAERef
from lorasae.planning.to_download import bytes_of
from lorasae.sources.published_models import PUBLISHED, hub_id, is_gated
from lorasae.sources.registered_saes import registered_card, registered_saes
from lorasae.sources.registry import read_registry, registry
from lorasae.sources.sae_card import SITES, Unspliceable, site_of


def family(release: str) -> str:
    starts = ("gemma-scope-2-", "gemma-scope-", "llama_scope", "gpt2-small", "pythia-70m", "qwen", "mistral")
    return next((start.strip("-_") for start in starts if release.startswith(start)), "others")


def test_every_row_is_listed_or_refused_for_a_reason():
    found = registered_saes()
    rows = Counter(family(release) for release, content in registry().items() for _ in content["saes"])
    spliceable = Counter(family(card.ref.release) for card in found.cards)
    print("\nfamily           rows  spliceable")
    for name, n in rows.most_common():
        print(f"{name:15} {n:6} {spliceable[name]:11}")
    print("\n".join(f"refused: {reason:26} {n:5}" for reason, n in found.reasons.most_common()))
    assert len(found.cards) + found.reasons.total() == rows.total() and all(each.reason and each.sentence for each in found.refused)
    assert {"gemma-scope", "gemma-scope-2", "llama_scope", "gpt2-small", "pythia-70m", "mistral"} <= {*spliceable}


def test_no_card_lacks_layer_width_site_size_or_model():
    for card in registered_saes().cards:
        assert card.layer >= 0 and card.d_sae and card.d_in and site_of(card) in SITES.values(), card
        assert card.model in PUBLISHED and card.layer < PUBLISHED[card.model].n_layers, card
        assert card.repository and card.path


def test_a_canonical_entry_has_what_the_entry_of_the_same_folder_states_and_the_other_way_round():
    by_place = {}
    for card in registered_saes().cards:
        by_place.setdefault((card.repository, card.path), []).append(card)
    twins = [cards for cards in by_place.values() if len(cards) > 1]
    assert len(twins) > 300
    for cards in twins:
        for stated in ("hook_point", "d_sae", "neuronpedia", "model"):
            assert len({getattr(card, stated) for card in cards}) == 1, cards
    paper = registered_card(SAERef(release="gemma-scope-2b-pt-res", sae_id="layer_12/width_16k/average_l0_82"))
    canonical = registered_card(SAERef(release="gemma-scope-2b-pt-res-canonical", sae_id="layer_12/width_16k/canonical"))
    assert (paper.l0, paper.neuronpedia) == (canonical.l0, canonical.neuronpedia) == (82, "gemma-2-2b/12-gemmascope-res-16k")


@pytest.mark.parametrize(
    ("release", "sae_id", "d_in", "d_sae", "l0"),
    [
        ("gemma-scope-2b-pt-att", "layer_0/width_16k/average_l0_104", 2048, 2**14, 104),
        ("gemma-scope-2-270m-pt-att", "layer_12_width_16k_l0_big", 1024, 2**14, None),
        ("gpt2-small-attn-out-v5-128k", "blocks.0.hook_attn_out", 768, 2**17, 32),
        ("gpt2-small-mlp-tm", "blocks.11.hook_mlp_out", 768, 24_576, None),
        ("gemma-2b-res-jb", "blocks.6.hook_resid_post", 2048, 2**14, 56),
        ("gemma-2-2b-res-snap-matryoshka-dc", "blocks.3.hook_resid_post", 2304, 2**15, 40),
        ("llama_scope_lxm_32x", "l7m_32x", 4096, 2**17, 50),
        ("pythia-70m-deduped-res-sm", "blocks.5.hook_resid_post", 512, 2**15, None),
        ("mistral-7b-res-wg", "blocks.16.hook_resid_pre", 4096, 2**16, 74),
    ],
)
def test_width_and_l0_are_found_wherever_a_family_states_them(release, sae_id, d_in, d_sae, l0):
    card = registered_card(SAERef(release=release, sae_id=sae_id))
    assert (card.d_in, card.d_sae) == (d_in, d_sae) and l0 in (None, card.l0)


@pytest.mark.parametrize(
    ("release", "sae_id", "megabytes"),
    [  # as the Hub lists the files
        ("gpt2-small-res_sce-ajt", "blocks.6.hook_resid_pre", 283),
        ("gpt2-small-resid-post-v5-32k", "blocks.9.hook_resid_post", 201),
        ("pythia-70m-deduped-res-sm", "blocks.4.hook_resid_post", 134),
        ("pythia-70m-deduped-att-sm", "blocks.1.hook_attn_out", 134),
        ("gemma-2b-res-jb", "blocks.10.hook_resid_post", 269),
        ("mistral-7b-res-wg", "blocks.8.hook_resid_pre", 2150),
        ("llama_scope_lxr_8x", "l15r_8x", 537),
        ("llama_scope_lxr_32x", "l11r_32x", 2150),
        ("llama_scope_r1_distill", "l14r_400m_slimpajama_400m_openr1_math", 1070),
    ],
)
def test_width_and_precision_make_the_size_of_the_published_file(release, sae_id, megabytes):
    n_bytes = bytes_of(registered_card(SAERef(release=release, sae_id=sae_id)))
    assert n_bytes == pytest.approx(megabytes * 1e6, rel=0.006)


@pytest.mark.parametrize(
    ("release", "sae_id", "reason"),
    [
        ("gemma-scope-2b-pt-res", "embedding/width_4k/average_l0_6", "embedding"),
        ("gpt2-small-resid-mid-v5-32k", "blocks.0.hook_resid_mid", "between attention and MLP"),
        ("qwen-scope-3-8b-base-w64k-l50", "layer0", "pickle only"),
        ("mntss-gemma-2-2b-2.5m-clt-as-per-layer", "layer_0", "cross-layer transcoder"),
    ],
)
def test_a_refusal_names_its_reason_in_a_word(release, sae_id, reason):
    with pytest.raises(Unspliceable) as refusal:
        registered_card(SAERef(release=release, sae_id=sae_id))
    assert refusal.value.reason == reason


def test_which_models_ask_for_a_login():
    assert is_gated("gemma-2-2b") and is_gated("meta-llama/Llama-3.1-8B")
    assert not is_gated("gpt2-small") and not is_gated("EleutherAI/pythia-70m-deduped") and not is_gated("pocket")
    assert hub_id("gemma-3-270m") == "google/gemma-3-270m"


YAML = "r:\n  model: gpt2-small\n  repo_id: a/b\n  saes:\n  - {id: x, path: y}\n"


def test_the_registry_is_kept_as_json_and_parsed_again_when_the_package_changed(tmp_path):
    source, kept = tmp_path / "saes.yaml", tmp_path / "cache" / "registry.json"
    source.write_text(YAML)
    first = read_registry(source, kept)
    assert first["r"]["saes"] == [{"id": "x", "path": "y"}]
    kept.write_text(kept.read_text().replace('"x"', '"from the kept file"'))
    assert read_registry(source, kept)["r"]["saes"][0]["id"] == "from the kept file"
    source.write_text(YAML.replace("x", "longer"))
    assert read_registry(source, kept)["r"]["saes"][0]["id"] == "longer"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b'{"version": 1}', b"null"])
def test_a_damaged_kept_file_is_made_anew(tmp_path, content):
    source, kept = tmp_path / "saes.yaml", tmp_path / "registry.json"
    source.write_text(YAML)
    kept.write_bytes(content)
    assert read_registry(source, kept)["r"]["repo_id"] == "a/b"
    assert b"a/b" in kept.read_bytes()


def test_a_place_that_cannot_be_written_costs_time_and_nothing_else(tmp_path):
    source = tmp_path / "saes.yaml"
    source.write_text(YAML)
    (tmp_path / "file").write_text("")
    assert read_registry(source, tmp_path / "file" / "registry.json")["r"]["repo_id"] == "a/b"
