"""A finished run, opened again: what it says of a text."""

import shutil

import numpy as np
import pytest
import torch

from lorasae.config import DataConfig, SAERef
from lorasae.core.conditions import condition
from lorasae.core.firings import Firings, joined
from lorasae.core.losses import kl_divergence, next_token_ce
from lorasae.errors import LabError
from lorasae.inspection.comparison import compare, feature_rows, measure_again, notes, observed_saes, samples
from lorasae.inspection.opened_run import OpenedRun
from lorasae.inspection.rows import change_rows, rounded, token_rows
from lorasae.inspection.run_saes import above, chosen, offered, opening
from lorasae.store.run_folder import Run, example

TEXT = "some words, here."


@pytest.fixture(scope="module")
def opened(finished):
    return OpenedRun(finished)


@pytest.fixture(scope="module")
def upper(world):
    return SAERef(release=str(world / "sae_2"))


def compared(opened, ref=None, text=TEXT):
    observed = opened.sae(ref)
    return compare(opened, text, {observed.hook_point: observed.sae}), observed


def test_measuring_again_gives_the_run_s_own_numbers(opened):
    again = {key: value for key, (value, _) in measure_again(opened).metrics().items()}
    stated = {key: each["value"] for key, each in opened.result["results"].items()}
    assert again == pytest.approx(stated, abs=1e-6)


def test_another_text_can_be_measured(opened, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("\n\n".join(f"{a} and {b}." for a in "abcdefghijklm" for b in "nopqrstuvwxyz"))
    metrics = measure_again(opened, DataConfig(source=str(other), context_length=16, heldout_tokens=64)).metrics()
    assert metrics["ce_original"][0] != opened.result["results"]["ce_original"]["value"]


@pytest.mark.parametrize(
    ("token", "said"), [(10_000, r"holds the token 10000; the model knows tokens up to \d+\. Measure on"), (-1, "below 0")]
)
def test_held_out_text_that_is_not_of_this_model_is_refused(finished, tmp_path, token, said):
    copied = Run(shutil.copytree(finished.folder, tmp_path / finished.run_id))
    chunks = np.load(copied.heldout)
    chunks[0, 3] = token
    np.save(copied.heldout, chunks)
    with pytest.raises(LabError, match=said):
        measure_again(OpenedRun(copied))


def test_a_comparison_is_what_plain_passes_under_each_condition_say(opened):
    comparison, _ = compared(opened)
    ids = torch.tensor([comparison.ids])
    transforms = {place: sae.reconstruct for place, sae in opened.loaded.saes.items()}
    logits = {}
    with torch.no_grad():
        for name in ("original", "original_sae", "adapted_sae"):
            with condition(opened.model, name, transforms if name != "original" else {}, opened.special_tokens):
                logits[name] = opened.model(input_ids=ids, use_cache=False).logits
    rows = token_rows(comparison)
    for key, name in (("ce_original", "original"), ("ce_before", "original_sae"), ("ce_after", "adapted_sae")):
        assert rows[0][key] is None
        assert [row[key] for row in rows[1:]] == pytest.approx(next_token_ce(logits[name], ids)[0].tolist(), abs=1e-4)
    for key, name in (("kl_before", "original_sae"), ("kl_after", "adapted_sae")):
        assert [row[key] for row in rows] == pytest.approx(kl_divergence(logits["original"], logits[name])[0].tolist(), abs=1e-4)
    for name in logits:
        best = logits[name][0].softmax(dim=-1).topk(3)
        assert [row["next"][name][0][0] for row in rows] == [opened.show(int(each[0])) for each in best.indices]
        assert [row["next"][name][2][1] for row in rows] == pytest.approx(best.values[:, 2].tolist(), abs=1e-4)
    assert [row["scored"] for row in rows] == [False] + [True] * (len(rows) - 1) and rows[0]["bypassed"]
    scored = [row for row in rows if row["scored"]]
    assert comparison.means["kl_before"] == pytest.approx(np.mean([row["kl_before"] for row in scored]), abs=1e-4)
    assert comparison.means["ce_after"] == pytest.approx(np.mean([row["ce_after"] for row in rows[2:]]), abs=1e-4)
    assert comparison.means["kl_after"] < comparison.means["kl_before"]
    assert "".join(comparison.tokens[1:]) == TEXT


def test_features_are_sorted_by_change_then_by_strength(opened, upper):
    comparison, observed = compared(opened, upper)
    rows = change_rows(comparison, observed.hook_point, 60)
    for row in rows:
        change = np.abs(np.subtract(row["after"], row["before"])).sum()
        assert row["change"] == pytest.approx(change, abs=1e-3) and row["max"] == pytest.approx(max(row["before"] + row["after"]))
    keys = [(-row["change"], -row["max"]) for row in rows]
    assert keys == sorted(keys) and rows[0]["change"] > 1e-3
    assert change_rows(comparison, observed.hook_point, 3) == rows[:3]


def test_features_below_the_adapter_stay_and_the_reader_is_told_so_and_where_to_look(opened):
    comparison, observed = compared(opened)
    (note,) = notes(opened, comparison, observed.hook_point)
    assert note == "The adapter lies only above blocks.1.hook_resid_post: features there cannot change, those of SAEs above it can."
    rows = change_rows(comparison, observed.hook_point, 60)
    assert rows and all(row["before"] == row["after"] and row["change"] == 0 for row in rows)
    assert observed.spliced and not observed.can_change
    features = feature_rows(comparison, observed.hook_point, 8)
    assert features and all(row.original == row.original_sae == row.adapted_sae for row in features)


def test_features_above_the_adapter_move(opened, upper):
    comparison, observed = compared(opened, upper)
    assert observed.can_change and not observed.spliced and notes(opened, comparison, observed.hook_point) == []
    moved = feature_rows(comparison, observed.hook_point, 8)
    assert any(abs(row.original_sae - row.adapted_sae) > 1e-3 for row in moved)


def test_bos_counts_for_no_feature_s_rank_even_where_the_sae_sees_it(opened, upper):
    comparison, observed = compared(opened, upper)
    firings = comparison.conditions["adapted_sae"].firings
    found = firings[observed.hook_point]
    feature = int(found.fired.argmax())
    before = {row["feature"]: row for row in change_rows(comparison, observed.hook_point, 60)}
    on_bos = Firings(np.array([feature], np.int32), np.array([0], np.int32), np.array([1e6], np.float32), found.n_tokens, found.d_sae)
    firings[observed.hook_point] = joined([found, on_bos], found.n_tokens)
    row = {row["feature"]: row for row in change_rows(comparison, observed.hook_point, 60)}[feature]
    assert (row["max"], row["change"]) == (before[feature]["max"], before[feature]["change"]) and row["after"][0] == 1e6


def test_two_saes_at_one_place_are_not_mixed_up(opened, world, tmp_path):
    with pytest.raises(LabError, match="One is observed there already"):
        observed_saes(opened, (SAERef(release=str(world / "sae_1")),))
    shutil.copytree(world / "sae_1", tmp_path / "twin")
    twin = opened.sae(SAERef(release=str(tmp_path / "twin")))
    assert not twin.spliced and compared(opened, twin.card.ref)[0].means == compared(opened)[0].means


def test_only_what_is_offered_can_be_named_unless_the_machine_is_one_s_own(opened, world):
    assert [row["spliced"] for row in offered(opened)] == [True]
    named = str(world / "sae_2")
    assert chosen(opened, named, "", folders=True).hook_point.layer == 2
    told = set()
    for release in (named, "/etc", "lorasae", "no/where", "nothing-of-that-name"):
        with pytest.raises(LabError) as refused:
            chosen(opened, release, "", folders=False)
        told.add(str(refused.value).replace(release, "…"))
    assert len(told) == 1  # nobody learns from it what lies on this machine
    own = opened.own_saes[0].card.ref
    assert chosen(opened, own.release, own.sae_id, folders=False).spliced and chosen(opened, "", "", folders=False).spliced


def test_a_published_sae_that_is_not_here_is_not_fetched(opened):
    with pytest.raises(LabError, match="inspection fetches nothing"):
        chosen(opened, "gpt2-small-res-jb", "blocks.5.hook_resid_pre", folders=True)


def test_the_way_up_is_offered_only_where_nothing_can_change(opened, upper):
    assert above(opened, opened.sae(upper)) == []
    assert above(opened, opened.sae(None)) == []  # of a local model, no further SAE is known


def test_the_page_opens_through_the_run_s_own_sae_where_no_other_can_change(opened):
    own = opened.own_saes[0].card.ref
    assert opening(opened) == {"release": own.release, "sae_id": own.sae_id}


def test_the_page_opens_through_the_nearest_sae_that_can_change_where_the_run_s_own_cannot():
    shipped = example()
    assert shipped is not None
    opened = OpenedRun(shipped)
    assert not opened.own_saes[0].can_change
    assert opening(opened) == {"release": "pocket-scope", "sae_id": "layer_4/width_2k/average_l0_17"}


def test_a_prompt_is_continued_by_both_models(opened):
    told = samples(opened, "some", 4)
    assert set(told) == {"original", "adapted"} and all(text.startswith("some") for text in told.values())


def test_too_little_and_too_much_text_is_told_in_a_sentence(opened):
    with pytest.raises(LabError, match="It holds no token"):
        compared(opened, text="")
    with pytest.raises(LabError, match="20,001 characters"):
        compared(opened, text="a" * 20_001)
    comparison, observed = compared(opened, text="word " * 40)
    assert len(comparison.tokens) == opened.n_positions == 64
    assert notes(opened, comparison, observed.hook_point)[1] == "Only the first 63 of 200 tokens are shown: more are not read at once."


def test_half_a_character_is_no_reason_to_fail(opened):
    assert compared(opened, text="a\ud800b")[0].tokens[1] == "a"


def test_numbers_for_json_are_short_and_finite():
    assert rounded(np.float32(1 / 3)) == 0.33333 and rounded(float("nan")) is None and rounded(np.array([0, 12.3456789])) == [0.0, 12.346]


def test_an_adapter_that_is_gone_is_told(finished, tmp_path):
    copy = Run(shutil.copytree(finished.folder, tmp_path / finished.run_id))
    shutil.rmtree(copy.adapter)
    with pytest.raises(LabError, match="It is not in"):
        OpenedRun(copy)


def test_pieces_of_a_letter_are_shown_as_bytes_and_name_the_letter(opened):
    comparison, _ = compared(opened, text="aüb")
    rows = token_rows(comparison)
    assert not [row for row in rows if "\ufffd" in row["text"]]
    assert {row["part_of"] for row in rows} <= {None, "ü"}
