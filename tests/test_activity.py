"""The pass over held-out text: what it finds, that it is made once, and that the cache is believed only where it is true."""

import itertools
import shutil

import numpy as np
import pytest
import torch

from lorasae.config import SAERef
from lorasae.core.features import text_activity
from lorasae.core.firings import correlation
from lorasae.errors import LabError
from lorasae.inspection import activity as module
from lorasae.inspection.activity import Activity, ActivityCache, compute, heldout_part
from lorasae.inspection.desk import Desk, Desks
from lorasae.inspection.feature_details import decoder_side, text_side
from lorasae.inspection.opened_run import OpenedRun
from lorasae.store.run_folder import Run


@pytest.fixture(scope="module")
def opened(finished):
    return OpenedRun(finished)


@pytest.fixture(scope="module")
def upper(opened, world):
    return opened.sae(SAERef(release=str(world / "sae_2")))


@pytest.fixture(scope="module")
def activity(opened, upper):
    return made(opened, upper)


def made(opened, observed) -> Activity:
    work = compute(opened, observed)
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def same(one: Activity, other: Activity) -> bool:
    sides = ((one.before, other.before), (one.after, other.after))
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for a, b in sides for name in ("feature", "token", "value"))


def test_the_sparse_pass_is_the_dense_computation(opened, upper, activity):
    chunks = opened.heldout()
    assert activity.before.n_tokens == chunks.size and activity.n_counted == (chunks > 2).sum()
    for name, side in (("original_sae", activity.before), ("adapted_sae", activity.after)):
        rows = [
            text_activity(opened.model, torch.tensor(chunk[None]).long(), name, opened.loaded.saes, {upper.hook_point: upper.sae},
                          opened.special_tokens).feature_acts[upper.hook_point].numpy()
            for chunk in chunks
        ]  # fmt: skip
        dense = np.concatenate(rows)
        np.testing.assert_allclose(side.on(range(upper.sae.d_sae)), dense, atol=2e-4)
        assert np.abs(side.fired - (dense > 0).sum(axis=0)).max() <= 1  # at a threshold, another batch size may decide otherwise


def test_progress_is_told_and_reaches_its_end(opened, upper):
    told = list(compute(opened, upper))
    total = 2 * heldout_part(opened).size
    assert told[0] == (0, total) and told[-1] == (total, total) and all(a <= b for a, b in itertools.pairwise(told))


def test_an_unreached_sae_s_features_are_all_kept_or_too_seldom(opened):
    below = made(opened, opened.sae(None))
    assert same(Activity(below.chunks, below.counted, below.before, below.before, None), below)
    assert {below.status(feature) for feature in range(32)} <= {"kept", None} and below.status(int(below.before.fired.argmax())) == "kept"


def test_density_status_and_correlation_belong_together(activity, upper):
    feature = int(activity.before.fired.argmax())
    assert activity.density(feature)[0] == activity.before.fired[feature] / activity.n_counted
    expected = np.corrcoef(activity.before.on([feature])[activity.counted, 0], activity.after.on([feature])[activity.counted, 0])[0, 1]
    assert activity.correlation[feature] == pytest.approx(expected, abs=1e-4)
    assert activity.label(feature) is None  # of this text nothing is known


def test_the_details_of_a_feature_come_from_its_activations(opened, upper, activity):
    feature = int(activity.before.fired.argmax())
    told = text_side(activity, opened, feature)
    counts = np.array(told["histogram"]["before"]), np.array(told["histogram"]["after"])
    assert counts[0].sum() == activity.before.fired[feature] and counts[1].sum() == activity.after.fired[feature]
    assert len(told["histogram"]["edges"]) == len(counts[0]) + 1
    examples = told["examples"]["before"]
    assert len(examples) == 10 and 0 <= told["examples"]["shared"] <= told["examples"]["of"] == 10
    peaks = [each["acts"][each["peak"]] for each in examples]
    assert peaks == sorted(peaks, reverse=True) and peaks[0] == pytest.approx(activity.before.maximum[feature], rel=1e-4)
    assert len({each["where"].split(",")[0] for each in examples}) == 10
    first = examples[0]
    sequence, token = (int(word.strip(",")) - 1 for word in first["where"].split() if word.strip(",").isdigit())
    assert first["tokens"][first["peak"]] == opened.show(activity.chunks[sequence, token])
    assert first["tokens"][first["peak"]].strip() in first["passage"]
    assert not {"<bos>", "<eos>", "<pad>"} & set(opened.loaded.tokenizer.tokenize(first["passage"]))


def test_a_silent_feature_has_details_too(opened, upper, activity):
    silent = int(np.flatnonzero(activity.before.fired + activity.after.fired == 0)[0])
    told = text_side(activity, opened, silent)
    assert told["status"] is None and told["examples"] == {"before": [], "after": [], "shared": 0, "of": 0}
    assert told["correlation"] is None and sum(told["histogram"]["before"]) == 0


def test_the_decoder_s_side_names_its_path(opened, upper, activity):
    told = decoder_side(opened, upper, 3, activity)
    assert "layer 3 changes what arrives" in told["logits"]["path"]
    ups, downs = ([value for _, value in told["logits"][side]] for side in ("up", "down"))
    assert ups == sorted(ups, reverse=True) and downs == sorted(downs) and ups[0] > 0 > downs[0]
    assert len(told["neighbours"]) == 8


# The cache


def test_what_was_saved_is_found_again_by_the_same_run_and_sae_alone(opened, upper, activity, tmp_path):
    cache = ActivityCache(tmp_path)
    assert cache.load(opened, upper) is None
    cache.save(opened, upper, activity)
    found = cache.load(opened, upper)
    assert found is not None and same(found, activity) and np.array_equal(found.counted, activity.counted)
    assert cache.load(opened, opened.sae(None)) is None
    assert [path.parent.name for path in tmp_path.rglob("*.npz")] == [opened.run.run_id]
    assert [path.name for path in opened.run.folder.rglob("*.npz")] == ["before.npz"]


def test_another_adapter_or_another_sae_in_the_same_place_is_not_believed(opened, upper, activity, tmp_path, monkeypatch):
    cache = ActivityCache(tmp_path)
    cache.save(opened, upper, activity)
    with monkeypatch.context() as patch:
        patch.setattr(opened, "version", "another")
        assert cache.load(opened, upper) is None
    other = module.OpenedSAE(upper.card, upper.hook_point, upper.sae, upper.spliced, upper.can_change)
    upper.sae.W_dec[0, 0] += 1
    try:
        assert cache.load(opened, other) is None
    finally:
        upper.sae.W_dec[0, 0] -= 1


@pytest.mark.parametrize("damage", ["cut", "empty", "text", "other identity"])
def test_a_damaged_file_is_as_good_as_none(opened, upper, activity, tmp_path, damage):
    cache = ActivityCache(tmp_path)
    cache.save(opened, upper, activity)
    (path,) = tmp_path.rglob("*.npz")
    content = path.read_bytes()
    path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "text": b"text"}.get(damage, content))
    if damage == "other identity":
        arrays = dict(np.load(path))
        np.savez(path, **{**arrays, "identity": np.array("{}")})
    assert cache.load(opened, upper) is None


def test_a_disk_that_takes_nothing_costs_the_cache_and_nothing_else(opened, upper, activity, tmp_path):
    (tmp_path / "cache").write_text("a file where a folder should be")
    cache = ActivityCache(tmp_path)
    cache.save(opened, upper, activity)
    assert cache.load(opened, upper) is None


def test_the_cache_stays_within_its_bound_and_keeps_the_newest(opened, upper, activity, tmp_path, monkeypatch):
    cache = ActivityCache(tmp_path)
    cache.save(opened, upper, activity)
    monkeypatch.setattr(module, "CACHE_BYTES", 1)
    below = opened.sae(None)
    cache.save(opened, below, made(opened, below))
    assert cache.load(opened, upper) is None and cache.load(opened, below) is not None


# The desk


def test_the_pass_is_made_once_however_many_wait_for_it(opened, upper, tmp_path, monkeypatch):
    begun = []
    monkeypatch.setattr("lorasae.inspection.desk.compute", lambda *each: begun.append(each) or compute(*each))
    desk = Desk(opened, ActivityCache(tmp_path))
    assert desk.progress(upper) == {"ready": False, "progress": 0.0}
    while desk.activity(upper) is None:
        done, total = desk.go_on(upper)  # whoever waits takes the next step
        assert done <= total
    assert len(begun) == 1 and desk.progress(upper)["ready"]
    again = Desk(opened, ActivityCache(tmp_path))
    assert again.activity(upper) is not None and len(begun) == 1


def test_a_pass_that_fails_can_be_tried_again(opened, upper, tmp_path, monkeypatch):
    desk = Desk(opened, ActivityCache(tmp_path))

    def fails(*_):
        yield 0, 1
        raise LabError("a", "b", "c")

    with monkeypatch.context() as patch:
        patch.setattr("lorasae.inspection.desk.compute", fails)
        desk.go_on(upper)
        with pytest.raises(LabError):
            desk.go_on(upper)
    assert desk.go_on(upper)[0] == 0


def test_a_recent_comparison_is_not_worked_out_again(opened, upper, tmp_path, monkeypatch):
    desk = Desk(opened, ActivityCache(tmp_path))
    first = desk.comparison(upper, "some words.")
    monkeypatch.setattr("lorasae.inspection.desk.compare", None)
    assert desk.comparison(upper, "some words.") is first


def test_the_unit_of_steering_is_the_feature_s_largest_activation_or_that_of_its_like(opened, upper, tmp_path, activity):
    desk = Desk(opened, ActivityCache(tmp_path))
    maxima = desk._maxima(upper)
    loud, silent = int(maxima.argmax()), int(np.flatnonzero(maxima == 0)[0])
    assert desk.typical_maximum(upper, loud) == pytest.approx(maxima.max())
    assert desk.typical_maximum(upper, silent) == pytest.approx(np.median(maxima[maxima > 0]))


def test_few_runs_are_held_and_one_done_again_is_opened_again(finished, tmp_path, monkeypatch):
    monkeypatch.setattr("lorasae.inspection.desk.N_DESKS", 2)
    desks = Desks(ActivityCache(tmp_path))
    copies = [Run(shutil.copytree(finished.folder, tmp_path / f"run-{n}")) for n in range(3)]
    first = desks.at(str(copies[0].folder))
    assert desks.at(str(copies[0].folder)) is first
    for copy in copies[1:]:
        desks.at(str(copy.folder))
    assert len(desks._desks) == 2 and desks.at(str(copies[0].folder)) is not first
    kept = desks.at(str(copies[2].folder))
    (copies[2].folder / "lorasae.json").write_text((finished.folder / "lorasae.json").read_text() + " ")
    assert desks.at(str(copies[2].folder)) is not kept


def test_an_unfinished_run_is_told(finished, tmp_path):
    copy = Run(shutil.copytree(finished.folder, tmp_path / "unfinished"))
    (copy.folder / "lorasae.json").unlink()
    with pytest.raises(LabError, match="It is not finished"):
        Desks(ActivityCache(tmp_path)).at(str(copy.folder))


def test_correlation_of_a_side_with_itself_is_one(activity):
    fired = activity.before.fired > 8
    assert correlation(activity.before, activity.before, activity.n_counted)[fired].tolist() == pytest.approx([1.0] * fired.sum(), abs=1e-5)
