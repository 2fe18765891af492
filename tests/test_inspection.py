"""A finished run, opened again: what it says of a text."""

import pytest

from lorasae.config import DataConfig, SAERef
from lorasae.errors import LabError
from lorasae.inspection import Inspector
from lorasae.recipe import adapt
from lorasae.runs import RunStore
from tests.tiny_world import tiny_run


@pytest.fixture(scope="module")
def inspector(world, tmp_path_factory):
    run = RunStore(tmp_path_factory.mktemp("home")).create(tiny_run(world))
    adapt(run)
    return Inspector(run)


def test_measuring_again_gives_the_run_s_own_numbers(inspector):
    again = {key: value for key, (value, _) in inspector.measure().metrics().items()}
    stated = {key: each["value"] for key, each in inspector.result["results"].items()}
    assert again == pytest.approx(stated, abs=1e-6)


def test_another_text_can_be_measured(inspector, world):
    other = world / "other.txt"
    other.write_text("\n\n".join(f"{a} and {b}." for a in "abcdefghijklm" for b in "nopqrstuvwxyz"))
    metrics = inspector.measure(DataConfig(source=str(other), context_length=16, heldout_tokens=64)).metrics()
    assert metrics["ce_original"][0] != inspector.result["results"]["ce_original"]["value"]


def test_features_below_the_adapter_stay_and_the_page_is_told_so(inspector):
    comparison = inspector.compare("some words, here.")
    (note,) = comparison.notes
    assert note == "The adapter lies only above blocks.1.hook_resid_post: features there cannot change, those of SAEs above it can."
    assert comparison.features and all(row.original == row.original_sae == row.adapted_sae for row in comparison.features)


def test_features_above_the_adapter_move(inspector, world):
    comparison = inspector.compare("some words, here.", also=(SAERef(release=str(world / "sae_2")),))
    moved = [row for row in comparison.features if row.hook_point == "blocks.2.hook_resid_post"]
    assert any(abs(row.original_sae - row.adapted_sae) > 1e-3 for row in moved)


def test_two_saes_at_one_place_are_not_mixed_up(inspector, world):
    with pytest.raises(LabError, match="One is observed there already"):
        inspector.compare("some words.", also=(SAERef(release=str(world / "sae_1")),))


def test_every_token_has_its_kl_before_and_after(inspector):
    comparison = inspector.compare("some words, here.")
    assert "".join(row.token for row in comparison.tokens[1:]) == "some words, here."
    assert sum(row.kl_after for row in comparison.tokens) < sum(row.kl_before for row in comparison.tokens)
    assert all(row.kl_before >= -1e-6 for row in comparison.tokens)


def test_a_prompt_is_continued_by_both_models(inspector):
    samples = inspector.samples("some", 4)
    assert set(samples) == {"original", "adapted"} and all(text.startswith("some") for text in samples.values())


def test_an_empty_text_is_refused(inspector):
    with pytest.raises(LabError, match="It holds no token"):
        inspector.compare("")


def test_an_adapter_that_is_gone_is_told(inspector):
    inspector.run.adapter.rename(inspector.run.folder / "elsewhere")
    try:
        with pytest.raises(LabError, match="It is not in"):
            Inspector(inspector.run)
    finally:
        (inspector.run.folder / "elsewhere").rename(inspector.run.adapter)
