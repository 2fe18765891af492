"""What the benchmark says of given times and of a given race, and the command."""

import json

import pytest

from lorasae.bench.peak import Peak
from lorasae.bench.picture import refuse_other_kinds, write_race, write_ratios
from lorasae.bench.race import Point, Run
from lorasae.bench.race_report import goals, race_table
from lorasae.bench.report import as_table, rows
from lorasae.bench.rounds import Turn
from lorasae.bench.ways import WAYS, Way
from lorasae.cli.main import main
from lorasae.errors import LabError

AUTHORS, REFERENCE = WAYS["authors"], WAYS["reference"]


def turn(way: Way, number: int, wall_s: float, cpu_s: float, n_tokens: int = 1000) -> Turn:
    return Turn(way.key, number, wall_s, cpu_s, 2, n_tokens, 10**6 * (number + 1), 0.25)


TURNS = [turn(AUTHORS, 0, 4.0, 2.0), turn(REFERENCE, 0, 1.0, 1.0), turn(REFERENCE, 1, 2.0, 0.5), turn(AUTHORS, 1, 6.0, 2.0)]
FLOPS = {"authors": 1e6, "reference": 2e6}


def table(on_gpu: bool = False):
    return rows([AUTHORS, REFERENCE], TURNS, FLOPS, Peak(1e10, 4e9, 512, "float32"), on_gpu)


def test_a_ratio_is_of_two_turns_of_one_round():
    authors, reference = table()
    assert (reference.ratio.low, reference.ratio.middle, reference.ratio.high) == (3.0, 3.5, 4.0)
    assert (reference.cpu_ratio.low, reference.cpu_ratio.middle, reference.cpu_ratio.high) == (2.0, 3.0, 4.0)
    assert authors.ratio.low == authors.cpu_ratio.high == 1.0
    assert (reference.tokens_per_s.low, reference.tokens_per_cpu_s.middle, reference.step_s.middle) == (500.0, 1500.0, 0.75)
    assert reference.peak_bytes == 2 * 10**6


def test_the_share_of_the_peak_is_of_cpu_seconds_on_a_cpu_and_of_wall_time_on_a_gpu():
    assert table()[1].share_of_peak == pytest.approx(1500 * 2e6 / 4e9)
    assert table(on_gpu=True)[1].share_of_peak == pytest.approx(750 * 2e6 / 1e10)


def test_the_table_shows_ratio_and_spread_of_the_measure_that_counts():
    assert "3.00 (2.00 – 4.00)" in as_table(table(), on_gpu=False)
    assert "3.50 (3.00 – 4.00)" in as_table(table(), on_gpu=True)


@pytest.mark.parametrize(("ending", "begins"), [(".svg", b"<svg"), (".html", b"<!doctype html>"), (".png", b"\x89PNG")])
def test_the_picture_is_of_the_kind_its_ending_names(tmp_path, ending, begins):
    path = tmp_path / f"ratios{ending}"
    write_ratios(path, "a model & its SAE", "a machine", table(), False)
    assert path.read_bytes().startswith(begins)
    if ending != ".png":
        assert "a model &amp; its SAE" in path.read_text() and "3.00" in path.read_text()


def test_a_picture_of_an_unknown_kind_is_refused_before_anything_is_measured(tmp_path):
    with pytest.raises(LabError, match=r"Use \.svg, \.html, \.png"):
        refuse_other_kinds(tmp_path / "ratios.pdf")


def test_the_command_measures_a_model_in_a_folder(world, tmp_path, capsys):
    arguments = ["--model", str(world / "model"), "--sae", str(world / "sae_1"), "--context", "16", "--rank", "2"]
    files = ["--json", str(tmp_path / "bench.json"), "--plot", str(tmp_path / "bench.svg")]
    assert main(["bench", *arguments, "--ways", "reference", "--rounds", "2", "--steps", "1", "--no-peak", *files]) == 0
    printed = capsys.readouterr()
    assert "our reference step" in printed.out and "authors' loop" in printed.out and "s left" in printed.err
    measured = json.loads((tmp_path / "bench.json").read_text())
    assert [way["key"] for way in measured["ways"]] == ["authors", "reference"]
    assert len(measured["turns"]) == 4 and measured["machine"]["kind"] == "cpu"
    kls = [way["kl"] for way in measured["ways"]]
    assert kls[0] > 0 and kls[0] == pytest.approx(kls[1], rel=1e-3)
    assert (tmp_path / "bench.svg").exists()


def test_the_command_measures_around_a_random_sae(world, capsys):
    arguments = ["--model", str(world / "model"), "--layer", "1", "--width", "48", "--l0", "6", "--context", "16", "--rank", "2"]
    assert main(["bench", *arguments, "--ways", "reference", "--rounds", "1", "--steps", "1", "--no-peak"]) == 0
    assert "48 features at blocks.1.hook_resid_post, random, L0 about 6" in capsys.readouterr().out


# The race: ours closes 40 % in 10 CPU-seconds on a straight line; theirs 32 % in 100, and no more.
OURS = Run("ours", 0, (Point(0, 0.0, 0.0, 0.0), Point(1000, 10.0, 20.0, 0.4)))
THEIRS = Run("authors", 0, (Point(0, 0.0, 0.0, 0.0), Point(5000, 50.0, 90.0, 0.2), Point(9000, 100.0, 200.0, 0.32)))


def test_a_goal_is_reached_on_the_line_between_two_evaluations():
    quarter, half, most, nearly_all = goals([OURS, THEIRS])
    assert (quarter.ours[0].cpu_s, quarter.ours[0].tokens, quarter.authors[0].cpu_s) == pytest.approx((2.5, 250, 25.0))
    assert (half.authors[0].wall_s, half.times_sooner().middle) == pytest.approx((90.0, 10.0))
    assert most.authors_reached == [True] and most.authors[0].cpu_s == pytest.approx(91.67, abs=0.01)
    assert nearly_all.authors_reached == [False] and nearly_all.authors[0].cpu_s == 100.0


def test_a_goal_that_the_authors_never_reached_is_told_as_a_bound():
    printed = race_table([OURS, THEIRS]).splitlines()
    assert "at least 11.1" in printed[4] and "not within 100.0 CPU-s" in printed[4]
    assert "at least" not in printed[1] and "authors: at best 32.0%" in printed[-1]


def test_a_race_is_drawn(tmp_path):
    write_race(tmp_path / "race.svg", "a race", "a machine", [OURS, THEIRS])
    assert (tmp_path / "race.svg").read_text().count("<line") == 8 and (tmp_path / "race.svg").read_text().count("<text") == 12


def test_the_command_races(capsys, tmp_path):
    files = ["--json", str(tmp_path / "race.json")]
    assert main(["bench", "--race", "--seeds", "1", "--budget-s", "0.01", "--context", "16", "--heldout-tokens", "256", *files]) == 0
    printed = capsys.readouterr()
    assert "ours: at best" in printed.out and "seed 0, authors:" in printed.err
    runs = json.loads((tmp_path / "race.json").read_text())["runs"]
    assert [run["recipe"] for run in runs] == ["ours", "authors"] and all(len(run["points"]) == 2 for run in runs)
