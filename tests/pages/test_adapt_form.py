"""What the Adapt page's boxes mean together."""

import pytest

from lorasae.config import PRESETS, RunConfig, run_config
from lorasae.planning.config_text import CHOICES, preset_settings
from lorasae.sources.known_datasets import KNOWN_DATASETS
from pages.adapt_fields import FIELDS, hint, meant, shown
from pages.adapt_form import Form, config_of, first_form, form_of, nearest_preset, read, text_boxes_used
from pages.adapt_mending import warnings
from pages.adapt_paste import sae_of
from pages.adapt_presets import PRESET_SENTENCES, changed_scale, preset_choices, shortened

POCKET = "pocket-scope / layer_{}/width_{}/average_l0_{}"


def after(form: Form, changed: str, **values: object) -> Form:
    return read({**form, **values}, changed).form


def test_the_form_opens_with_a_run_that_can_start():
    reading = read(first_form())
    assert reading.problem is None and reading.config is not None
    assert reading.config.model_copy(update={"saes": RunConfig().saes}) == RunConfig()
    assert str(reading.config.saes[0]) == POCKET.format(2, "2k", 17)


def test_every_setting_of_a_preset_has_its_box_once_and_every_box_a_hint():
    assert set(FIELDS) == set(preset_settings("default")) - {"name", "model.model", "saes", "data.source"}
    assert all(field.label and len(field.info) > 15 for field in FIELDS.values())
    assert {name for _, name in preset_choices()} == set(PRESETS) == set(PRESET_SENTENCES)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_setting_survives_its_box(preset):
    for setting, value in preset_settings(preset).items():
        if setting in FIELDS:
            assert meant(setting, shown(setting, value)) == value


@pytest.mark.parametrize("preset", PRESETS)
def test_a_config_survives_the_form(preset):
    config = run_config(
        {
            "name": "mine",
            "saes": [{"sae_id": f"layer_{layer}/width_2k/average_l0_17"} for layer in (1, 4)],
            "adapter": {"layers": [3, 5]},
            "data": {"source": "org/set", "config_name": "en", "column": "body"},
            "seed": 4,
        },
        preset,
    )
    form = form_of(config)
    assert config_of(form) == config and form["preset"] == preset and form["several"]


def test_another_layer_brings_the_sae_most_like_the_one_before():
    form = after(first_form(), "layer", layer=4)
    assert form["saes"] == [form["sae"]] == [POCKET.format(4, "2k", 17)]


def test_another_model_brings_its_own_layer_and_sae():
    form = after(first_form(), "model", model="gemma-2-2b")
    assert (form["model"], form["layer"]) == ("google/gemma-2-2b", 12)
    assert form["saes"] == ["gemma-scope-2b-pt-res-canonical / layer_12/width_16k/canonical"]
    assert read(form).problem is None


@pytest.mark.parametrize("typed", ["banana", "99", "", None, " 2 "])
def test_a_layer_without_an_sae_leaves_the_choice_as_it_was(typed):
    form = after(first_form(), "layer", layer=typed)
    assert (form["layer"], form["sae"]) == (2, POCKET.format(2, "2k", 17))


def test_a_box_that_was_only_looked_into_changes_nothing():
    form = after(first_form(), "sae", sae=POCKET.format(4, "512", 18))
    assert after(form, "model") == after(form, "layer") == after(form, "preset") == form


def test_several_saes_stand_one_at_each_place():
    form = after(first_form(), "several", several=True)
    form = after(form, "sae", sae=POCKET.format(4, "512", 18))
    assert form["saes"] == [POCKET.format(2, "2k", 17), POCKET.format(4, "512", 18)]
    form = after(form, "sae", sae=POCKET.format(4, "2k", 42))
    assert form["saes"] == [POCKET.format(2, "2k", 17), POCKET.format(4, "2k", 42)]
    assert after(form, "several", several=False)["saes"] == [POCKET.format(4, "2k", 42)]


def test_one_sae_takes_the_place_of_the_other():
    assert after(first_form(), "sae", sae=POCKET.format(1, "512", 6))["saes"] == [POCKET.format(1, "512", 6)]


PAPER = "gemma-scope-2b-pt-res / layer_12/width_16k/average_l0_82"


@pytest.mark.parametrize(
    "name",
    [
        PAPER,
        "google/gemma-scope-2b-pt-res/layer_12/width_16k/average_l0_82",
        "https://huggingface.co/google/gemma-scope-2b-pt-res/blob/main/layer_12/width_16k/average_l0_82/params.npz",
        "https://www.neuronpedia.org/gemma-2-2b/12-gemmascope-res-16k",
        "gemma-2-2b/12-gemmascope-res-16k",
    ],
)
def test_a_name_pasted_into_the_sae_box_chooses_model_layer_and_sae(name):
    form = after(first_form(), "sae", sae=name)
    assert (form["model"], form["layer"], form["sae"], form["saes"]) == ("google/gemma-2-2b", 12, PAPER, [PAPER])
    assert read(form).problem is None and after(form, "sae") == form


def test_a_pasted_feature_is_pinned_once():
    name = "https://www.neuronpedia.org/gemma-2-2b/12-gemmascope-res-16k/4711"
    form = after(after(first_form(), "sae", sae=name), "sae", sae=name)
    assert form["sae"] == PAPER
    assert form["pinned"] == [{"release": "gemma-scope-2b-pt-res", "sae_id": "layer_12/width_16k/average_l0_82", "feature": 4711}]


def test_with_several_saes_a_pasted_one_of_another_model_begins_anew():
    form = after(first_form(), "several", several=True)
    assert after(form, "sae", sae=PAPER)["saes"] == [PAPER]


def test_a_pasted_sae_that_is_refused_says_why():
    reading = read({**first_form(), "sae": "Qwen/SAE-Res-Qwen3-8B-Base-W64K-L0_50/layer3.sae.pt"}, "sae")
    assert "published only as a pickle" in str(reading.problem)


def test_words_in_the_sae_box_are_no_name():
    assert "neither a release" in str(read({**first_form(), "sae": "layer 12 16k"}, "sae").problem)


def test_the_map_chooses_as_the_box_does():
    form = read(first_form(), wish={"pick": POCKET.format(2, "512", 43)}).form
    assert form["sae"] == POCKET.format(2, "512", 43) and form["saes"] == [form["sae"]]


def test_a_preset_fills_every_setting_and_leaves_what_is_adapted_alone():
    form = after(
        {**first_form(), "sae": POCKET.format(4, "2k", 17), "saes": [POCKET.format(4, "2k", 17)], "name": "x"}, "preset", preset="paper"
    )
    assert (form["adapter.rank"], form["train.learning_rate"], form["special_tokens.unscored"]) == (64, 5e-5, [])
    assert form["saes"] == [POCKET.format(4, "2k", 17)] and form["name"] == "x"


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_shortened_to_what_the_model_knows_and_says_so(preset):
    reading = read({**first_form(), "preset": preset}, "preset")
    config, meant_length = reading.config, preset_settings(preset)["data.context_length"]
    assert reading.problem is None and config is not None
    assert config.data.context_length == min(256, meant_length)
    told = "Shortened to 256 tokens per sequence, all that the pocket model knows." if meant_length > 256 else ""
    assert shortened(config, preset) == told


def test_a_preset_stays_whole_where_the_model_knows_enough_and_is_shortened_when_another_comes():
    gemma = after(first_form(), "model", model="google/gemma-2-2b")
    thorough = after(gemma, "preset", preset="thorough")
    assert thorough["data.context_length"] == 1024
    assert after(thorough, "model", model="pocket")["data.context_length"] == 256
    assert after(thorough, "model", model="gpt2")["data.context_length"] == 1024
    chosen = {**thorough, "data.context_length": 512}  # by the person: told, not changed
    assert after(chosen, "model", model="pocket")["data.context_length"] == 512


def test_a_misfit_is_told_with_the_one_setting_that_mends_it():
    reading = read({**first_form(), "data.context_length": 1024})
    assert reading.config is not None and "positions up to 256. Set “Tokens per sequence” to at most 256." in str(reading.problem)
    assert reading.fix == {"data.context_length": 256}
    assert read(reading.form, wish={"set": reading.fix}).problem is None


@pytest.mark.parametrize(
    ("values", "problem", "fix"),
    [
        (
            {"train.tokens_per_step": 1000},
            "Tokens per step = 1000 was given. That is not a whole number of sequences of 128 tokens. "
            "Set “Tokens per step” to 1024, or change “Tokens per sequence”.",
            {"train.tokens_per_step": 1024},
        ),
        (
            {"train.micro_batch_size": 3},
            "Sequences at once = 3 was given. The 8 sequences per step do not divide into micro-batches of 3. "
            "Set “Sequences at once” to 2.",
            {"train.micro_batch_size": 2},
        ),
        (
            {"data.context_length": 4096},
            "Sequences of 4096 tokens were asked for. The model knows positions up to 256. Set “Tokens per sequence” to at most 256.",
            {"data.context_length": 256},
        ),
        (
            {"data.context_length": 4096, "train.tokens_per_step": 1000},
            "Sequences of 4096 tokens were asked for. The model knows positions up to 256. Set “Tokens per sequence” to at most 256.",
            {"data.context_length": 256, "train.tokens_per_step": 1024},
        ),
        (
            {"adapter.rank": 200},
            "An adapter of rank 200 was asked for. The smallest side of its linear maps is 96. Choose a rank of at most 96.",
            {"adapter.rank": 96},
        ),
    ],
)
def test_a_misfit_is_told_in_the_forms_own_words_and_one_press_mends_it(values, problem, fix):
    reading = read({**first_form(), **values})
    assert (reading.problem, reading.fix) == (problem, fix)
    assert read(reading.form, wish={"set": fix}).problem is None


def test_a_learning_rate_that_no_run_survives_is_warned_of_and_may_be_started_all_the_same():
    reading = read({**first_form(), "train.learning_rate": 5})
    assert reading.problem is None and reading.config is not None
    (warned,) = warnings(reading.config, "default")
    assert "A learning rate of 5 is far too high" in warned["sentence"] and warned["fix"] == {"train.learning_rate": 0.004}
    assert not any(warnings(run_config({}, preset), preset) for preset in PRESETS)


def test_alpha_says_the_scale_of_the_forms_own_numbers():
    assert hint("adapter.alpha", first_form()).endswith("Here it is 32 / 16 = 2.")
    assert hint("adapter.alpha", {**first_form(), "adapter.rank": 64}).endswith("Here it is 32 / 64 = 0.5.")
    assert hint("adapter.alpha", {**first_form(), "adapter.rank": None}) == FIELDS["adapter.alpha"].info


def test_a_scale_that_changed_with_the_rank_is_told_with_the_alpha_that_keeps_it():
    changed = changed_scale(run_config({"adapter": {"rank": 64}}), "default")
    assert changed is not None and changed["alpha"] == 128 and "2 in the preset, 0.5 here" in changed["sentence"]
    meant_so = changed_scale(run_config({"adapter": {"alpha": 8}}), "default")
    assert meant_so is not None and meant_so["alpha"] is None
    assert changed_scale(run_config({"adapter": {"rank": 64, "alpha": 128}}), "default") is None


def test_a_wish_reaches_no_setting_that_has_no_box():
    form = read(first_form(), wish={"set": {"model": "/etc", "data.source": "/etc/passwd", "nonsense": 1}}).form
    assert form == first_form()


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"model": "pocet"}, "Nearest: pocket"),
        ({"sae": "", "saes": []}, "No SAE was chosen"),
        ({"several": True, "saes": ["pocket-scope / layer_9"]}, "There is none of that id"),
        ({"several": True, "saes": ["pocket-scop"]}, "Nearest: pocket-scope"),
        ({"adapter.rank": None}, "Rank is empty. "),
        ({"adapter.rank": 1.5}, "Rank = 1.5 was given. It must be a whole number."),
        ({"adapter.rank": -1.5}, "Rank = -1.5 was given. It must be a whole number."),
        ({"adapter.rank": 0}, "Rank = 0 was given. It must be at least 1"),
        ({"train.tokens": -1}, "= -1 was given. It must be at least 0"),
        ({"model": "nobody/no-such-model", "sae": "", "saes": []}, "The lab knows no SAE of that name's model"),
        ({"adapter.layers": "3, x"}, "'x' is no layer"),
        ({"train.tokens_per_step": 100}, "not a whole number of sequences"),
        ({"source": "file"}, "No file was given yet"),
        ({"source": "file", "data.source": "org/set"}, "No file was given yet"),
        ({"source": "hub"}, "No dataset was named yet"),
    ],
)
def test_what_means_nothing_is_told_and_nothing_is_lost(values, found):
    form = {**first_form(), **values}
    reading = read(form)
    assert found in str(reading.problem) and reading.form == form
    assert reading.still_empty == (found in ("No file was given yet", "No dataset was named yet"))


@pytest.mark.parametrize("known", KNOWN_DATASETS, ids=lambda known: known.name)
def test_a_known_dataset_fills_in_where_its_text_is(known):
    before = {**first_form(), "source": "hub", "data.source": "org/other", "data.column": "body", "data.split": "test"}
    reading = read({**before, "dataset": known.source}, "dataset")
    assert reading.config is not None and reading.config.data.model_copy(update=known.settings) == reading.config.data
    assert reading.form["dataset"] == known.source == form_of(reading.config)["dataset"]
    assert read({**before, "data.source": known.name}, "data.source").form == reading.form  # typed by its short name


def test_another_column_is_kept_and_another_id_is_no_longer_the_known_one():
    known = read({**first_form(), "source": "hub", "dataset": KNOWN_DATASETS[0].source}, "dataset").form
    assert read({**known, "data.column": "meta"}, "data.column").form["data.column"] == "meta"
    other = read({**known, "data.source": "org/mine"}, "data.source").form
    assert (other["dataset"], other["data.source"]) == ("", "org/mine")
    assert read({**known, "source": "pocket"}, "source").form["dataset"] == ""


def test_layers_are_written_as_people_write_them():
    assert config_of({**first_form(), "adapter.layers": "5, 1-3"}).adapter.layers == (5, 1, 2, 3)
    assert config_of({**first_form(), "adapter.layers": "[4]"}).adapter.layers == (4,)


def test_the_pocket_world_knows_no_columns():
    form = {**first_form(), "data.column": "body", "data.split": "test"}
    assert config_of(form).data == RunConfig().data
    assert not any(text_boxes_used(form, local=True).values())


def test_a_visitor_is_shown_no_path_of_the_machine():
    form = {**first_form(), "source": "file", "data.source": "/home/lab/uploads/v/1.jsonl"}
    assert text_boxes_used(form, local=False) == {
        "dataset": False,
        "data.source": False,
        "data.config_name": False,
        "data.split": False,
        "data.column": True,
    }


@pytest.mark.parametrize("text", ["a / b/c", "a b/c", " a  b/c "])
def test_an_sae_is_named_by_two_words(text):
    assert (sae_of(text).release, sae_of(text).sae_id) == ("a", "b/c")


def test_the_nearest_preset_is_the_one_with_fewest_differences():
    assert nearest_preset(run_config({"adapter": {"rank": 8}, **{}}, "paper")) == "paper"
    assert nearest_preset(RunConfig()) == "default"
    assert set(CHOICES) & set(FIELDS) == {"model.revision", "data.config_name", "data.split", "data.column"}
