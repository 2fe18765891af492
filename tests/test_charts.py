"""Series keep what the eye would notice; exports hold everything and run nothing."""

import csv
import io
import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lorasae.store.charts import MAX_METRICS, Columns, Series, as_json, columns_of, csv_lines, sparkline, thinned

finite = st.floats(allow_nan=False, allow_infinity=False, width=32)
series = st.lists(finite, min_size=1, max_size=400).map(lambda values: Series(np.arange(len(values), dtype=float), np.array(values)))


@given(series, st.integers(4, 120))
def test_thinning_keeps_first_last_and_both_extremes_within_the_bound(given_series: Series, n_points: int) -> None:
    kept = thinned(given_series, n_points)
    assert len(kept.steps) <= n_points
    assert kept.steps[0] == given_series.steps[0] and kept.steps[-1] == given_series.steps[-1]
    assert kept.values.min() == given_series.values.min() and kept.values.max() == given_series.values.max()


@given(series, st.integers(4, 120))
def test_thinning_keeps_the_order_and_invents_nothing(given_series: Series, n_points: int) -> None:
    kept = thinned(given_series, n_points)
    assert (np.diff(kept.steps) > 0).all()
    assert (given_series.values[kept.steps.astype(int)] == kept.values).all()


@given(series, st.integers(-3, 3))
def test_a_bound_too_small_for_extremes_is_four(given_series: Series, n_points: int) -> None:
    assert len(thinned(given_series, n_points).steps) == min(4, len(given_series.steps)) or len(thinned(given_series, n_points).steps) <= 4


def test_every_spike_survives_thinning() -> None:
    values = np.zeros(100_000)
    spikes = np.arange(500, 100_000, 1000)
    values[spikes] = np.where(spikes % 2000 < 1000, 7.0, -7.0)
    kept = thinned(Series(np.arange(100_000.0), values), 1500)
    assert set(spikes) <= set(kept.steps.astype(int))


@given(
    st.lists(
        st.dictionaries(st.sampled_from(["a", "b", "c"]), st.none() | finite | st.text() | st.booleans() | st.just(math.nan)), max_size=30
    )
)
def test_a_series_holds_the_numbers_of_its_metric_and_nothing_else(contents: list[dict[str, object]]) -> None:
    columns = Columns()
    columns.add([{**content, "step": step} for step, content in enumerate(contents)])
    for key in "abc":
        numbers = [
            (step, content[key])
            for step, content in enumerate(contents)
            if isinstance(content.get(key), float) and not math.isnan(content[key])  # type: ignore[arg-type]
        ]
        found = columns.metric(key)
        assert list(zip(found.steps, found.values, strict=True)) == numbers


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8))
def test_rows_added_in_any_portions_give_the_same_series(cuts: list[int]) -> None:
    rows = [{"step": n, "kl_train": n / 7, **({"gap_closed": n / 9} if n % 4 == 0 else {})} for n in range(sum(cuts))]
    whole, portions = Columns(), Columns()
    whole.add(rows)
    at = 0
    for cut in cuts:
        portions.add(rows[at : at + cut])
        at += cut
    assert as_json(portions.window(1000)) == as_json(whole.window(1000))
    assert (portions.n_rows, portions.last_step) == (whole.n_rows, whole.last_step)


def test_what_is_no_row_is_passed_over() -> None:
    columns = Columns()
    columns.add(
        [
            {"step": "3", "a": 1.0},
            {"a": 1.0},
            {"step": True, "a": 1.0},
            {"step": None},
            {"step": math.nan, "a": 2.0},
            {"step": 4, "a": 10**400},
        ]
    )
    assert columns.window(10) == {} and columns.n_rows == 1


def test_a_damaged_file_does_not_make_metrics_without_bound() -> None:
    columns = Columns()
    columns.add([{"step": 1, **{f"metric {n}": 1.0 for n in range(1000)}}])
    assert len(columns.window(10)) == MAX_METRICS


def test_a_window_holds_its_steps_both_ends_included() -> None:
    columns = Columns()
    columns.add([{"step": step, "kl_train": float(step)} for step in range(100)])
    assert as_json(columns.window(50, 10, 12)) == {"kl_train": [[10, 11, 12], [10.0, 11.0, 12.0]]}
    assert columns.window(50, 200, 300) == {}


@given(series)
def test_a_sparkline_is_short_and_ends_where_the_series_ends(given_series: Series) -> None:
    spark = sparkline(given_series)
    assert len(spark) == min(40, len(given_series.values))
    assert (spark[0], spark[-1]) == (given_series.values[0], given_series.values[-1])


def test_a_table_begins_with_step_and_the_known_metrics_in_their_order() -> None:
    assert columns_of(["zz", "fve", "step", "ce_original"]) == ["step", "ce_original", "fve", "zz"]


@given(st.text(max_size=30))
def test_no_text_in_an_exported_table_is_a_formula(text: str) -> None:
    written = "".join(csv_lines([{"step": -1, text: text}], columns_of(["step", text])))
    head, row = list(csv.reader(io.StringIO(written, newline="")))[:2]
    for cell in (*head[1:], *row[1:]):
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))


def test_negative_numbers_stay_numbers_in_an_exported_table() -> None:
    written = "".join(csv_lines([{"step": 3, "gap_closed": -0.25}, {"step": 4}], ["step", "gap_closed"]))
    assert written == "step,gap_closed\n3,-0.25\n4,\n"
