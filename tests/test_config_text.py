"""YAML and command line give back the config they were made from; what differs from a preset is told."""

import shlex

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from lorasae.cli.main import parser
from lorasae.cli.settings import config_from
from lorasae.config import PRESETS, RunConfig, run_config
from lorasae.errors import LabError
from lorasae.planning.config_text import command_line, config_of_yaml, differences, flat, nested, yaml_of


def parsed(line: str) -> RunConfig:
    """The config that the terminal makes of a command line."""
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "lorasae"]
    return config_from(parser().parse_args(words[3:]))


words = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12)
names = st.from_regex(r"[a-z0-9-]{1,8}(/[a-z0-9_]{1,8}){0,2}", fullmatch=True)
floats = st.floats(1e-8, 1e3, allow_subnormal=False)
configs = st.builds(
    lambda preset, **chosen: run_config(nested(chosen), preset),
    st.sampled_from(list(PRESETS)),
    **{
        "name": words,
        "model.model": names,
        "model.revision": st.none() | words.filter(bool),
        "model.dtype": st.sampled_from(["float32", "bfloat16"]),
        "saes": st.lists(st.fixed_dictionaries({"release": names | words, "sae_id": names | st.just("")}), min_size=1, max_size=3),
        "adapter.rank": st.integers(1, 512),
        "adapter.alpha": floats,
        "adapter.layers": st.lists(st.integers(0, 40), max_size=4),
        "adapter.modules": st.lists(st.sampled_from(["attention", "mlp", "q_proj"]), min_size=1, max_size=2),
        "data.source": words,
        "data.config_name": st.none() | words,
        "data.column": words,
        "data.order_seed": st.none() | st.integers(0, 2**31),
        "train.learning_rate": floats,
        "train.gradient_clip": st.none() | floats,
        "train.weight_decay": floats,
        "train.fast": st.booleans(),
        "watch.checkpoint_every_steps": st.none() | st.integers(1, 900),
        "special_tokens.unscored": st.lists(st.sampled_from(["bos", "eos", "pad"]), max_size=2),
        "trust_measured": st.booleans(),
        "seed": st.integers(0, 2**31),
    },
)


@settings(max_examples=60)
@given(configs, st.sampled_from(list(PRESETS)))
def test_the_command_line_parses_back_to_the_same_config(config, preset):
    assert parsed(command_line(config, preset)) == config


@settings(max_examples=40)
@given(configs)
def test_yaml_reads_back_to_the_same_config(config):
    assert config_of_yaml(yaml_of(config)) == config


def test_the_default_run_needs_no_option():
    assert command_line(RunConfig()) == "python -m lorasae adapt"


def test_a_command_line_says_only_what_differs_from_its_preset():
    config = run_config({"adapter": {"rank": 8}}, "paper")
    assert command_line(config, "paper") == "python -m lorasae adapt --preset=paper --rank=8"


def test_differences_are_about_how_and_not_about_what():
    config = run_config({"name": "x", "model": {"model": "openai-community/gpt2"}, "train": {"weight_decay": 0.5}})
    assert [(each.setting, each.preset, each.value) for each in differences(config, "default")] == [("train.weight_decay", 0.0, 0.5)]
    assert differences(run_config({}, "paper"), "paper") == []
    assert "adapter.rank" in {each.setting for each in differences(RunConfig(), "paper")}


def test_settings_are_the_same_flat_and_nested():
    dumped = RunConfig().model_dump(mode="json")
    assert nested(flat(dumped)) == dumped


def test_the_config_of_a_run_is_read_from_its_own_file():
    assert config_of_yaml(yaml.safe_dump({"format": 1, "run_id": "x", "config": {"seed": 7}})).seed == 7


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "It holds no settings"),
        ("- a\n- b", "It holds no settings"),
        ("train: [1", "It is not YAML at line 1"),
        ("train:\n  tokenz: 4", "There is no such setting. Known there: tokens"),
        ("nonsense: 1", "The setting nonsense was given. There is no such setting"),
        ("adapter:\n  rank: 0", "The setting adapter.rank = 0 was given"),
    ],
)
def test_text_that_is_no_config_is_told_in_a_sentence(text, found):
    with pytest.raises(LabError, match=found.replace("[", r"\[")):
        config_of_yaml(text)
