"""The terminal: what is typed, what is printed, and how bad input ends."""

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from lorasae.cli.main import main, parser
from lorasae.cli.settings import config_from
from lorasae.cli.terminal import result_table
from lorasae.config import RunConfig
from lorasae.metrics import LEARNED
from lorasae.planning.config_text import command_line
from lorasae.store.runs import RunStore
from tests.tiny_world import tiny_run

ROOT = Path(__file__).parents[1]


@pytest.fixture
def settings(world, tmp_path, monkeypatch):
    """A YAML file with the tiny run's settings, and a home of its own."""
    monkeypatch.setenv("LORASAE_HOME", str(tmp_path / "home"))
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(tiny_run(world).model_dump(mode="json")))
    return path


def asked(*arguments: str) -> RunConfig:
    return config_from(parser().parse_args(["adapt", *arguments]))


def test_flags_lie_over_the_file_which_lies_over_the_preset(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("adapter: {rank: 8}\ntrain: {learning_rate: 1.0e-4}\n")
    config = asked(str(path), "--preset", "paper", "--rank", "4", "--layers", "[3, 4]", "--set", "train.weight_decay=0.5")
    assert (config.adapter.rank, config.adapter.layers, config.train.learning_rate) == (4, (3, 4), 1e-4)
    assert (config.train.weight_decay, config.train.kl_reduction, config.adapter.dropout) == (0.5, "sum", 0.1)


def test_several_saes_are_given_one_by_one():
    config = asked("--sae", "pocket-scope", "a", "--sae", "folder")
    assert [(sae.release, sae.sae_id) for sae in config.saes] == [("pocket-scope", "a"), ("folder", "")]


def test_adapt_ends_with_the_table_and_eval_and_inspect_agree_with_it(settings, tmp_path, capsys):
    assert main(["adapt", str(settings), "--name", "first"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("original + SAE", "adapted + SAE", "CE gap before", "CE gap after", "gap closed", "±"))
    (run,) = (tmp_path / "home" / "runs").iterdir()
    assert "Trained by the fast step; " in printed and "Training took " in printed
    assert f"run: {run}" in printed and RunStore(tmp_path / "home").open(run.name).config.name == "first"

    assert main(["eval", run.name]) == 0
    assert capsys.readouterr().out.strip() in printed

    assert main(["inspect", run.name, "--text", "some words, here."]) == 0
    seen = capsys.readouterr().out
    assert "features there cannot change" in seen and "'w'" in seen and "blocks.1.hook_resid_post #" in seen

    assert main(["inspect", str(run), "--text", "some words.", "--continue", "3"]) == 0
    assert "adapted model, SAE off, goes on: some words." in capsys.readouterr().out
    assert main(["inspect", str(run), "--text", "some words.", "--also", str(settings.parent / "no_sae")]) == 1
    assert main(["inspect", str(run), "--features", "0"]) == 1
    (run / "heldout.npy").unlink()
    assert main(["eval", run.name]) == 1 and "Measure on another text" in capsys.readouterr().err


def test_a_sweep_tries_settings_each_with_each(settings, capsys):
    assert main(["sweep", str(settings), "--rank", "1", "--vary", "seed=0,1", "--vary", "adapter.placement=after,all"]) == 0
    table = capsys.readouterr().out.rpartition("gap closed")[2]
    assert all(f"seed {seed}, placement {placement}" in table for seed in (0, 1) for placement in ("after", "all"))
    assert "–" not in table


def test_a_setting_to_vary_that_does_not_exist_is_told(settings, capsys):
    assert main(["sweep", str(settings), "--vary", "adapter.rnk=1,2"]) == 1
    assert "adapter.rnk" in capsys.readouterr().err
    assert main(["sweep", str(settings), "--vary", "rank"]) == 1
    assert "It has no =" in capsys.readouterr().err
    for twice in (["--vary", "seed=1", "--vary", "seed=2"], ["--rank", "2", "--vary", "adapter.rank=1"], ["--vary", "seed=1,"]):
        assert main(["sweep", str(settings), *twice]) == 1
        assert capsys.readouterr().err.count(". ") >= 2


def test_a_sweep_without_ranks_trains_the_settings_own(settings, capsys):
    assert main(["sweep", str(settings), "--vary", "adapter.rank=1,3"]) == 0
    printed = capsys.readouterr()
    head, row = printed.out.strip().splitlines()[-2:]
    assert "r = 1" in head and "r = 3" in head and "r = 16" not in head and row.count("±") == 2, "one row, a column for each rank"
    assert "12/12" in printed.err and "/24" not in printed.err, "the bar counts the steps that both take together"


def test_what_is_written_twice_is_trained_once(settings, tmp_path, capsys):
    assert main(["sweep", str(settings), "--vary", "adapter.rank=1,'1',1.0", "--vary", "train.learning_rate=0.01,1e-2"]) == 0
    assert len(list((tmp_path / "home" / "runs").iterdir())) == 1
    assert capsys.readouterr().out.rpartition("gap closed  ")[2].count("±") == 1


def test_lists_can_be_varied(settings, capsys):
    assert main(["sweep", str(settings), "--vary", "adapter.layers=[3], [2, 3]", "--vary", "adapter.modules=[attention]"]) == 0
    table = capsys.readouterr().out.rpartition("gap closed  ")[2]
    assert "layers [3], modules [attention]" in table and "layers [2, 3]" in table


def test_a_run_that_fails_leaves_the_others_of_a_sweep_their_turn(settings, tmp_path, capsys):
    gone = tmp_path / "gone.txt"
    assert main(["sweep", str(settings), "--vary", f"data.source={gone},{yaml.safe_load(settings.read_text())['data']['source']}"]) == 1
    printed = capsys.readouterr()
    assert "not finished" in printed.out and printed.out.rpartition("gap closed  ")[2].count("±") == 1
    assert f"source {gone}" in printed.out and "gone.txt" in printed.err


def test_sweep_prints_a_table_of_ranks(settings, capsys):
    assert main(["sweep", str(settings), "--rank", "1", "2"]) == 0
    last = capsys.readouterr().out.strip().splitlines()[-2:]
    assert "r = 1" in last[0] and "r = 2" in last[0] and last[1].count("±") == 2


@pytest.mark.parametrize("closed", [0.9, 1.0, 1.001, None])
def test_a_gap_closed_of_more_than_100_per_cent_is_explained(closed):
    table = result_table({"gap_closed": {"value": closed, "standard_error": 0.01}})
    assert (LEARNED in table) == (closed == 1.001)


def test_resume_finishes_a_run_that_was_only_created(settings, world, tmp_path, capsys):
    run = RunStore(tmp_path / "home").create(tiny_run(world))
    assert main(["adapt", "--resume", run.run_id]) == 0 and run.status.state == "succeeded"
    assert f"run: {run.folder}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--rank", "17"], "smaller side of"),
        (["--layers", "[7]"], "The model has 4 layers, 0 to 3"),
        (["--modules", "[qproj]"], "Nearest: q_proj"),
        (["--rank", "many"], "The setting adapter.rank = 'many' was given"),
        (["--set", "adapter.rnak=3"], "There is no such setting"),
        (["--set", "rank"], "It has no ="),
        (["--preset", "best"], "There are: quick, default, thorough, paper"),
        (["--tokens=-1"], "train.tokens = -1"),
        (["--set", "train.tokens_per_step=60"], "not a whole number of sequences"),
        (["--data", "nowhere.txt"], "There is no such file"),
        (["--model", "poket"], "pocket"),
        (["--sae", "pocket-scop", "x"], "pocket-scope"),
        (["--sae", "a", "b", "c.yaml"], "more than two parts"),
        (["--layers", "[3"], "not a value in YAML"),
        (["--context", "128", "--set", "train.tokens_per_step=256"], "knows positions up to 64"),
        (["--resume", "some", "--tokens", "9"], "A run keeps its settings"),
    ],
)
def test_bad_input_ends_with_a_sentence_and_no_traceback(settings, capsys, arguments, sentence):
    assert main(["adapt", str(settings), *arguments]) == 1
    said = capsys.readouterr().err
    assert sentence in said and "Traceback" not in said


@pytest.mark.parametrize(
    ("content", "sentence"),
    [(None, "no such file"), ("a: [", "not YAML"), ("just words", "holds no settings"), ("a: 1\nb: [", "not YAML at line")],
)
def test_a_settings_file_that_cannot_be_used_is_refused(tmp_path, capsys, content, sentence):
    path = tmp_path / "config.yaml"
    if content is not None:
        path.write_text(content)
    assert main(["adapt", str(path)]) == 1 and sentence in capsys.readouterr().err


def test_a_folder_of_settings_and_a_home_that_cannot_be_are_refused(tmp_path, monkeypatch, capsys):
    assert main(["adapt", str(tmp_path)]) == 1 and "It cannot be read" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("LORASAE_HOME", str(tmp_path / "file"))
    assert main(["adapt"]) == 1 and "set LORASAE_HOME" in capsys.readouterr().err
    assert main(["eval", str(tmp_path)]) == 1 and "There is no such run" in capsys.readouterr().err


def test_help_needs_no_torch_and_names_every_command():
    out = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "lorasae", "--help"], cwd=ROOT, env=dict(os.environ), capture_output=True, text=True
    )
    assert out.returncode == 0 and all(command in out.stdout for command in ("adapt", "eval", "inspect", "sweep", "demo"))
    assert " torch\n" not in out.stderr


def test_a_run_goes_on_with_the_adapter_of_another_and_is_measured_as_it_is(settings, world, tmp_path, capsys):
    assert main(["adapt", str(settings), "--name", "first"]) == 0
    first = RunStore(tmp_path / "home").all()[0]
    assert main(["adapt", "--start", first.run_id, "--tokens", "0", "--context", "16", "--set", "data.heldout_tokens=256"]) == 0
    measured = RunStore(tmp_path / "home").all()[-1]
    assert measured.config.adapter.rank == 2 and measured.config.saes == first.config.saes  # filled in from the adapter
    assert measured.result["results"]["gap_closed"]["value"] == pytest.approx(first.result["results"]["gap_closed"]["value"], abs=1e-6)
    around_another = tiny_run(world, adapter={"start": first.run_id, "dropout": 0}, saes=[{"release": str(world / "sae_2")}])
    words = shlex.split(command_line(around_another))
    assert config_from(parser().parse_args(words[3:])) == around_another  # nothing is taken from the first run that is not meant
    capsys.readouterr()
    assert main(["adapt", str(settings), "--start", first.run_id, "--rank", "4"]) == 1
    assert "Set adapter.rank to 2" in capsys.readouterr().err
    assert main(["adapt", "--start", "20260101-000000-abcdef"]) == 1
    assert "There is no such run" in capsys.readouterr().err
