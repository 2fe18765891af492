"""One line of text finds the SAEs it means: words, pasted names, addresses."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorasae.config import SAERef
from lorasae.sources.registered_saes import registered_saes
from lorasae.sources.sae_card import SAECard, site_of
from lorasae.sources.search import Shelf, by_name
from lorasae.sources.shelf import page, search, shelf, twins

PAPER = "gemma-scope-2b-pt-res / layer_12/width_16k/average_l0_82"
PLACE = "google/gemma-scope-2b-pt-res/layer_12/width_16k/average_l0_82"
HUB = "https://huggingface.co/google/gemma-scope-2b-pt-res"


@pytest.mark.parametrize(
    ("pasted", "feature"),
    [
        (PAPER, None),
        (PAPER.replace(" / ", " "), None),
        (PAPER.replace(" / ", "/"), None),
        (PLACE, None),
        (f"  {PLACE}/params.npz ", None),
        (f"{HUB}/tree/main/layer_12/width_16k/average_l0_82", None),
        (f"{HUB}/blob/main/layer_12/width_16k/average_l0_82/params.npz", None),
        (f"{HUB}/resolve/main/layer_12/width_16k/average_l0_82/params.npz?download=true", None),
        ("https://hf.co/" + PLACE, None),
        ("gemma-2-2b/12-gemmascope-res-16k", None),
        ("https://www.neuronpedia.org/gemma-2-2b/12-gemmascope-res-16k", None),
        ("https://www.neuronpedia.org/gemma-2-2b/12-gemmascope-res-16k/4711", 4711),
        ("neuronpedia.org/gemma-2-2b/12-gemmascope-res-16k/4711?embed=true", 4711),
        ("https://www.neuronpedia.org/api/feature/gemma-2-2b/12-gemmascope-res-16k/4711", 4711),
        ("gemma-2-2b/12-gemmascope-res-16k/4711", 4711),
    ],
)
def test_whatever_form_of_its_name_is_pasted_finds_the_sae(pasted, feature):
    found = search(pasted)
    assert found.by_name and found.feature == feature
    assert str(found.cards[0].ref) == PAPER
    assert {card.path for card in found.cards} == {found.cards[0].path}  # it, and the canonical entry that stands for it


def test_a_neighbour_on_neuronpedia_is_known_by_its_l0():
    assert str(search("gemma-2-2b/12-gemmascope-res-16k__l0-22").cards[0].ref).endswith("layer_12/width_16k/average_l0_22")


def test_a_release_a_repository_and_a_folder_are_names_of_several():
    release, repository, folder = search("gemma-scope-2b-pt-res"), search(HUB), search(f"{HUB}/tree/main/layer_12")
    assert all(found.by_name for found in (release, repository, folder))
    assert len(repository.cards) > len(release.cards) > len(folder.cards) > 20
    assert {card.layer for card in folder.cards} == {12}


def cards_of(query: str) -> tuple[SAECard, ...]:
    found = search(query).cards
    assert found, query
    return found


def test_words_mean_model_layer_site_width_and_l0():
    for query in ("gemma-2-2b layer 12 16k residual", "Gemma 2 2B L12 width 16k resid", "gemma2 2b layer_12 16,384 res"):
        for card in cards_of(query):
            assert (card.layer, card.d_sae, site_of(card)) == (12, 16_384, "after the layer"), query
    assert {card.model for card in cards_of("gemma-2-2b l12")} == {"google/gemma-2-2b"}
    assert {site_of(card) for card in cards_of("attention gpt2")} == {"attention output"}
    assert {card.d_sae for card in cards_of("128k")} == {2**17} == {card.d_sae for card in cards_of("131k")}
    assert {card.d_sae for card in cards_of("1m gemma")} == {2**20}
    assert {card.model for card in cards_of("pythia 70m")} == {"EleutherAI/pythia-70m-deduped"}
    assert {card.layer for card in cards_of("l1")} == {1}  # not 10 to 19


def test_an_l0_sorts_by_nearness():
    l0s = [card.l0 or 0 for card in cards_of("gemma-2-2b layer 12 16k residual l0 80")]
    assert l0s[0] == 82 and l0s.index(41) < l0s.index(445)
    assert cards_of("gemma-2-2b layer 12 16k residual l0=445")[0].l0 == 445


def test_nothing_is_found_for_what_nothing_is_called():
    for query in ("zzz", "http://[", "https://huggingface.co/nobody/nothing", "layer 400", "gemma-2-2b/0-nothing-16k/3"):
        assert not search(query).cards, query


def test_what_was_pasted_and_is_refused_says_why():
    found = page("https://huggingface.co/Qwen/SAE-Res-Qwen3-8B-Base-W64K-L0_50/blob/main/layer3.sae.pt", {}, 0, 50)
    assert not found.cards and "pickle" in (found.refusal or "")
    assert "transcoder" in (page("gemma-2-2b/0-gemmascope-transcoder-16k", {}, 0, 50).refusal or "")


def test_a_page_counts_what_each_filter_would_leave():
    whole = page("", {}, 0, 50)
    assert len(whole.cards) == 50 and whole.n_found == sum(whole.facets["site"].values())
    narrowed = page("", {"model": "google/gemma-2-2b", "site": "MLP output"}, 0, 50)
    assert narrowed.n_found == narrowed.facets["model"]["google/gemma-2-2b"] == narrowed.facets["site"]["MLP output"]
    assert narrowed.facets["site"]["after the layer"] > 0  # what the other choice would give
    second = page("", {"model": "google/gemma-2-2b", "site": "MLP output"}, 50, 50)
    assert second.n_found == narrowed.n_found and not set(second.cards) & set(narrowed.cards)


def test_twins_are_one_row_called_as_the_folder_is():
    (row,) = page("gemma-2-2b layer 12 16k residual l0 82", {"width": "16384"}, 0, 1).cards
    assert str(row.ref) == PAPER
    assert twins(row) == (SAERef(release="gemma-scope-2b-pt-res-canonical", sae_id="layer_12/width_16k/canonical"),)


def test_small_and_open_models_come_before_the_large():
    models = list(dict.fromkeys(card.model for card in shelf().cards))
    assert models[0] == "pocket" and {*models[1:3]} == {"openai-community/gpt2", "EleutherAI/pythia-70m-deduped"}


@given(
    st.text(max_size=80)
    | st.lists(st.sampled_from(["gemma", "l0", "82", "layer", "12", "16k", "mlp", "/", "http://", "[", "%zz"])).map(" ".join)
)
def test_no_text_breaks_it_and_every_answer_is_from_the_shelf(text):
    cards = registered_saes().cards[::400]
    found = Shelf(cards).search(text)
    assert set(found.cards) <= set(cards)


@given(st.sampled_from(registered_saes().cards))
def test_every_sae_is_found_by_every_name_it_has(card):
    for name in (
        str(card.ref),
        f"{card.repository}/{card.path}",
        f"https://huggingface.co/{card.repository}/tree/main/{card.path}",
        card.neuronpedia,
    ):
        if name:
            assert card in by_name(name, registered_saes().cards), name
