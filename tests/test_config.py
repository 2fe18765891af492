"""The settings of a run: what is read is what is written, and what is wrong is told in a sentence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorasae.config import PRESETS, RunConfig, SAERef, overlay, run_config, whole_steps
from lorasae.errors import LabError

EXAMPLE = {
    "name": "first try",
    "model": {"model": "google/gemma-2-2b", "dtype": "bfloat16"},
    "saes": [{"release": "gemma-scope-2b-pt-res", "sae_id": "layer_12/width_16k/average_l0_82"}, {"release": "my-sae"}],
    "adapter": {"rank": 64, "placement": "all", "modules": ["q_proj", "mlp"], "layers": [13, 14]},
    "data": {"source": "texts.jsonl", "context_length": 256},
    "train": {"tokens": 1_000_000, "tokens_per_step": 4096, "micro_batch_size": 4, "gradient_clip": None},
    "watch": {"evaluations": 3, "checkpoint_every_steps": None},
    "special_tokens": {"bypass": ["bos"], "unscored": []},
    "seed": 7,
}


# --- reading and writing


@pytest.mark.parametrize("values", [{}, EXAMPLE])
@pytest.mark.parametrize("preset", PRESETS)
def test_a_config_written_to_json_and_read_back_is_the_same(values: dict, preset: str) -> None:
    config = run_config(values if preset == "default" else {"name": "paper"}, preset)
    assert RunConfig.model_validate_json(config.model_dump_json()) == config
    assert run_config(config.model_dump(mode="json")) == config


@given(
    rank=st.integers(1, 512),
    learning_rate=st.floats(1e-8, 1.0),
    dropout=st.floats(0, 0.99),
    clip=st.none() | st.floats(1e-6, 1e6),
    name=st.text(max_size=20),
)
def test_numbers_and_names_survive_json_exactly(rank: int, learning_rate: float, dropout: float, clip: float | None, name: str) -> None:
    """A run is reproduced from its config.json: a rounded learning rate would not reproduce it."""
    values = {"name": name, "adapter": {"rank": rank, "dropout": dropout}, "train": {"learning_rate": learning_rate, "gradient_clip": clip}}
    config = run_config(values)
    assert RunConfig.model_validate_json(config.model_dump_json()) == config
    assert (config.train.learning_rate, config.adapter.dropout, config.train.gradient_clip) == (learning_rate, dropout, clip)


def test_a_nested_dictionary_as_read_from_yaml_becomes_a_config() -> None:
    config = run_config(EXAMPLE)
    assert config.saes[0] == SAERef(release="gemma-scope-2b-pt-res", sae_id="layer_12/width_16k/average_l0_82")
    assert config.adapter.layers == (13, 14)
    assert config.adapter.alpha == 32.0  # not given: the default
    assert config.train.gradient_clip is None
    assert config.special_tokens.unscored == ()
    assert (config.sequences_per_step, config.micro_batch_size, config.n_steps) == (16, 4, 244)


def test_a_lone_value_may_stand_for_a_list() -> None:
    config = run_config({"adapter": {"layers": 3, "modules": "attention"}, "special_tokens": {"bypass": "bos"}})
    assert (config.adapter.layers, config.adapter.modules, config.special_tokens.bypass) == ((3,), ("attention",), ("bos",))


def test_yaml_reads_5e_5_as_a_word_and_the_config_as_a_number() -> None:
    """YAML 1.1 wants a dot in a float."""
    assert run_config({"train": {"learning_rate": "5e-5"}}).train.learning_rate == 5e-5


def test_a_config_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        run_config({}).train.tokens = 1  # type: ignore[misc]


def test_an_sae_is_named_by_its_two_parts() -> None:
    assert str(SAERef(release="a", sae_id="b")) == "a / b"
    assert str(SAERef(release="a-folder")) == "a-folder"


# --- steps and micro-batches


def test_a_micro_batch_is_never_more_than_the_step() -> None:
    config = run_config({"train": {"tokens_per_step": 256, "micro_batch_size": 8}, "data": {"context_length": 128}})
    assert (config.sequences_per_step, config.micro_batch_size) == (2, 2)


def test_a_run_has_at_least_one_step() -> None:
    assert run_config({"train": {"tokens": 1}}).n_steps == 1


# --- what is wrong is told


def problem(values: dict, preset: str = "default") -> str:
    with pytest.raises(LabError) as caught:
        run_config(values, preset)
    assert "Traceback" not in str(caught.value)
    assert "pydantic" not in str(caught.value)
    return str(caught.value)


def test_an_unknown_setting_is_named_and_the_known_ones_are_listed() -> None:
    told = problem({"adapter": {"ranks": 4}})
    assert "adapter.ranks" in told
    assert "no such setting" in told
    assert "rank, alpha, dropout, placement" in told


def test_an_unknown_section_is_named_and_the_known_ones_are_listed() -> None:
    told = problem({"adaptor": {"rank": 4}})
    assert "adaptor" in told
    assert "adapter, data, train" in told


def test_an_unknown_setting_of_an_sae_is_told_beside_its_number() -> None:
    told = problem({"saes": [{}, {"repo": "x"}]})
    assert "saes.1.repo" in told
    assert "release, sae_id" in told


@pytest.mark.parametrize(
    ("values", "setting", "hint"),
    [
        ({"adapter": {"rank": "many"}}, "adapter.rank = 'many'", "whole number"),
        ({"adapter": {"rank": 0}}, "adapter.rank = 0", "It must be at least 1"),
        ({"adapter": {"dropout": 1.0}}, "adapter.dropout = 1.0", "less than 1"),
        ({"adapter": {"placement": "before"}}, "adapter.placement = 'before'", "'after' or 'all'"),
        ({"train": {"learning_rate": float("nan")}}, "train.learning_rate = nan", "finite"),
        ({"train": {"kl_reduction": "batchmean"}}, "train.kl_reduction = 'batchmean'", "'mean' or 'sum'"),
        ({"special_tokens": {"bypass": ["cls"]}}, "special_tokens.bypass.0 = 'cls'", "'bos', 'eos' or 'pad'"),
        ({"saes": []}, "saes", "at least 1"),
        ({"adapter": None}, "adapter", "dictionary"),
    ],
)
def test_a_value_out_of_range_is_told_with_its_setting_and_what_is_allowed(values: dict, setting: str, hint: str) -> None:
    told = problem(values)
    assert setting in told
    assert hint in told


def test_a_step_that_is_no_whole_number_of_sequences_is_told_in_both_numbers() -> None:
    told = problem({"train": {"tokens_per_step": 1000}, "data": {"context_length": 128}})
    assert told == (
        "The setting train.tokens_per_step = 1000 was given. That is not a whole number of sequences of 128 tokens. "
        "Set train.tokens_per_step to 1024, or change data.context_length."
    )


def test_a_step_shorter_than_one_sequence_is_told() -> None:
    assert "whole number of sequences" in problem({"train": {"tokens_per_step": 64}, "data": {"context_length": 128}})


def test_micro_batches_that_do_not_divide_the_step_are_told() -> None:
    """They would weigh the last tokens differently, or drop them."""
    told = problem({"train": {"tokens_per_step": 1024, "micro_batch_size": 3}, "data": {"context_length": 128}})
    assert "8 sequences per step do not divide into micro-batches of 3" in told
    assert "Set train.micro_batch_size to 2." in told


@pytest.mark.parametrize(
    ("context_length", "tokens_per_step", "micro_batch_size", "changes"),
    [
        (128, 1024, 8, {}),
        (256, 1024, 8, {}),
        (128, 1000, 8, {"train.tokens_per_step": 1024}),
        (128, 1, 8, {"train.tokens_per_step": 128}),
        (4096, 1024, 8, {"train.tokens_per_step": 4096}),
        (128, 1024, 3, {"train.micro_batch_size": 2}),
        (128, 1500, 8, {"train.tokens_per_step": 1536, "train.micro_batch_size": 6}),
        (8, 8 * (10**12 + 1), 10**11, {"train.micro_batch_size": 1}),
    ],
)
def test_the_nearest_whole_step_is_known(context_length: int, tokens_per_step: int, micro_batch_size: int, changes: dict) -> None:
    assert whole_steps(context_length, tokens_per_step, micro_batch_size) == changes
    mended = {"train.tokens_per_step": tokens_per_step, "train.micro_batch_size": micro_batch_size, **changes}
    train = {name.removeprefix("train."): value for name, value in mended.items()}
    run_config({"train": train, "data": {"context_length": context_length}})


def test_an_unknown_preset_is_told_with_the_known_ones() -> None:
    assert "default, thorough, paper" in problem({}, preset="papr")


# --- presets


def test_the_paper_preset_is_the_papers_setting() -> None:
    """research/paper.md, section 1: 15,000 steps of one sequence of 1024, alpha 32 at rank 64, torch's weight decay, 977 held out."""
    config = run_config({}, "paper")
    adapter, train = config.adapter, config.train
    assert (adapter.rank, adapter.alpha, adapter.dropout, adapter.placement) == (64, 32.0, 0.1, "after")
    assert adapter.modules == ("attention", "mlp")
    assert (config.data.context_length, config.sequences_per_step, config.micro_batch_size) == (1024, 1, 1)
    assert (train.tokens, config.n_steps) == (15_360_000, 15_000)
    assert config.data.heldout_tokens == 977 * 1024
    assert (train.learning_rate, train.schedule, train.warmup_fraction, train.weight_decay) == (5e-5, "constant", 0.0, 0.01)
    assert (train.gradient_clip, train.kl_reduction) == (1.0, "sum")
    assert config.special_tokens.bypass == ("bos", "eos")
    assert config.special_tokens.unscored == ()


def test_values_are_laid_over_the_preset_setting_by_setting() -> None:
    config = run_config({"adapter": {"rank": 256}}, "paper")
    assert (config.adapter.rank, config.adapter.dropout) == (256, 0.1)
    assert config.train.kl_reduction == "sum"


def test_laying_over_changes_neither_side() -> None:
    below, above = {"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": 3}, "d": [2]}
    assert overlay(below, above) == {"a": {"b": 3, "c": 2}, "d": [2]}
    assert below == {"a": {"b": 1, "c": 2}, "d": [1]}
    assert above == {"a": {"b": 3}, "d": [2]}
