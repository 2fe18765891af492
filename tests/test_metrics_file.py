"""metrics.jsonl is read as it grows: each row once, torn and damaged ones never, and a place in it is found again or known to be gone."""

import json
import os
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorasae.store import metrics_file
from lorasae.store.charts import as_json
from lorasae.store.metrics_file import MetricsFile, MetricsFiles, Place, parsed, place_from, rows_in


def lines(first: int, last: int) -> str:
    return "".join(json.dumps({"step": step, "kl_train": 1 / (1 + step)}) + "\n" for step in range(first, last))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "metrics.jsonl"


def steps(file: MetricsFile) -> list[float]:
    return as_json(file.read(lambda columns, place: columns.window(100_000))).get("kl_train", [[], []])[0]


def place(file: MetricsFile) -> Place:
    return file.read(lambda columns, place: place)


def test_a_growing_file_is_read_on_from_where_it_was(path: Path) -> None:
    file = MetricsFile(path)
    assert steps(file) == []
    path.write_text(lines(0, 3))
    assert steps(file) == [0, 1, 2]
    with path.open("a") as more:
        more.write(lines(3, 5))
    assert steps(file) == [0, 1, 2, 3, 4]


def test_only_new_bytes_are_parsed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    monkeypatch.setattr(metrics_file, "parsed", lambda content: seen.append(content) or parsed(content))
    path.write_text(lines(0, 100))
    file = MetricsFile(path)
    steps(file)
    with path.open("a") as more:
        more.write(lines(100, 101))
    steps(file)
    steps(file)
    assert b"".join(seen) == path.read_bytes()


def test_a_row_that_is_not_finished_waits_for_its_end(path: Path) -> None:
    path.write_text(lines(0, 2) + '{"step": 2, "kl_tr')
    file = MetricsFile(path)
    assert steps(file) == [0, 1]
    with path.open("a") as more:
        more.write('ain": 0.5}\n')
    assert steps(file) == [0, 1, 2]


def test_damaged_rows_are_left_out_and_the_others_stay(path: Path) -> None:
    path.write_bytes(
        lines(0, 2).encode() + b'{"step": 2, "kl_train": \n\xff\xfe\n[1]\n7\n\n{"step": 3, "kl_train": NaN}\n' + lines(4, 6).encode()
    )
    assert steps(MetricsFile(path)) == [0, 1, 4, 5]


def test_two_damaged_lines_do_not_become_one_row(path: Path) -> None:
    path.write_text('{"step": 1, "x": [1\n2]}\n' + lines(5, 6))
    assert [row["step"] for rows in rows_in(path) for row in rows] == [5]


def test_a_megabyte_without_a_line_end_is_passed_over(path: Path) -> None:
    path.write_bytes(b"x" * 2_500_000 + b"\n" + lines(0, 2).encode())
    assert steps(MetricsFile(path)) == [0, 1]


@pytest.mark.parametrize("how", ["replaced", "in place", "emptied and longer", "gone"])
def test_a_file_written_anew_is_read_anew(path: Path, how: str) -> None:
    path.write_text(lines(0, 6))
    file = MetricsFile(path)
    before = (steps(file), place(file))[1]
    if how == "replaced":
        (path.parent / "new").write_text(lines(10, 30))
        os.replace(path.parent / "new", path)
    elif how == "in place":
        path.write_text(lines(10, 12))
    elif how == "emptied and longer":
        path.write_text(lines(10, 30))
    else:
        path.unlink()
    expected = {"replaced": list(range(10, 30)), "in place": [10, 11], "emptied and longer": list(range(10, 30)), "gone": []}[how]
    assert file.rows_since(before) is None
    assert steps(file) == expected


def test_rows_since_a_place_are_those_written_after_it(path: Path) -> None:
    path.write_text(lines(0, 4))
    file = MetricsFile(path)
    before = place(file)
    with path.open("a") as more:
        more.write(lines(4, 6) + '{"torn')
    growth = file.rows_since(before)
    assert growth is not None and [row["step"] for row in growth.rows] == [4, 5]
    again = file.rows_since(growth.place)
    assert again is not None and again.rows == [] and again.place == growth.place
    limited = file.rows_since(before, until=before)
    assert limited is not None and limited.rows == []


def test_growth_beyond_the_bound_is_not_held_in_one_message(path: Path) -> None:
    path.write_text(lines(0, 1000))
    assert MetricsFile(path).rows_since(Place(), max_bytes=1000) is None


@given(st.builds(Place, st.integers(0, 2**63), st.integers(0, 2**63), st.integers(0, 2**32 - 1)))
def test_a_place_is_written_and_read_back(given_place: Place) -> None:
    assert place_from(str(given_place)) == given_place


@given(st.text())
def test_no_text_breaks_the_reading_of_a_place(text: str) -> None:
    found = place_from(text)
    assert found is None or isinstance(found, Place)


def test_few_files_are_held_in_memory(tmp_path: Path) -> None:
    files = MetricsFiles(most=2)
    first = files.of(tmp_path / "a")
    assert files.of(tmp_path / "a") is first
    files.of(tmp_path / "b")
    files.of(tmp_path / "c")
    assert files.of(tmp_path / "a") is not first


def test_a_hundred_thousand_rows_are_ready_to_draw_within_two_seconds(path: Path) -> None:
    metrics = ("kl_train", "gradient_norm", "learning_rate", "tokens_per_s", "train_s", "x", "y")
    row = '{{"step": {0}, "n": 718561280' + "".join(f', "{key}": 0.{{0}}{n}234567890123' for n, key in enumerate(metrics)) + "}}\n"
    path.write_text("".join(row.format(n) for n in range(100_000)))
    began = time.perf_counter()
    shown = MetricsFile(path).read(lambda columns, place: as_json(columns.window(1500)))
    took = time.perf_counter() - began
    assert max(len(points) for points, _ in shown.values()) <= 1500
    assert took < 2, f"{took:.2f} s"
