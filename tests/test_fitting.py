"""A form's settings are held against each other from metadata, as the run will do it from the modules."""

import pytest

from lorasae.config import run_config
from lorasae.errors import LabError
from lorasae.planning.fitting import refuse_misfits
from tests.toys import save_pocket_like, write_sae


@pytest.mark.parametrize(
    ("values", "found"),
    [
        ({"model": {"model": "pocet"}}, "Nearest: pocket"),
        ({"model": {"model": ""}}, "No model was chosen"),
        ({"data": {"context_length": 512}}, "Set data.context_length to at most 256"),
        ({"model": {"model": "google/gemma-2-2b"}}, "It was trained on pocket"),
        (
            {"saes": [{"release": "gemma-scope-2b-pt-res-canonical", "sae_id": "layer_12/width_16k/canonical"}]},
            "the model google/gemma-2-2b",
        ),
        ({"saes": [{"sae_id": f"layer_4/width_{at}"} for at in ("2k/average_l0_17", "512/average_l0_18")]}, "Keep one SAE per place"),
        ({"adapter": {"rank": 512}}, "Choose a rank of at most 96"),
        ({"saes": [{"release": "gemma-scope-2b-pt-res-canonica"}]}, "Nearest: gemma-scope-2b-pt-res-canonical"),
    ],
)
def test_what_cannot_work_is_told_in_a_sentence(values, found):
    with pytest.raises(LabError, match=found):
        refuse_misfits(run_config(values))


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"saes": [{"sae_id": "layer_1/width_2k/average_l0_17"}, {"sae_id": "layer_4/width_512/average_l0_18"}]},
        {
            "model": {"model": "google/gemma-2-2b"},
            "saes": [{"release": "gemma-scope-2b-pt-res-canonical", "sae_id": "layer_12/width_16k/canonical"}],
        },
        {"model": {"model": "openai-community/gpt2"}, "saes": [{"release": "gpt2-small-res-jb", "sae_id": "blocks.8.hook_resid_pre"}]},
    ],
)
def test_what_belongs_together_passes(values):
    refuse_misfits(run_config(values))


def test_a_folder_may_hold_any_model_but_its_sizes_count(tmp_path):
    model = {"model": str(save_pocket_like(tmp_path / "model"))}
    good, large, high = (
        {"release": str(write_sae(tmp_path / name, hook_name=f"blocks.{layer}.hook_resid_post", d_in=d_in))}
        for name, layer, d_in in (("good", 1, 32), ("large", 1, 48), ("high", 9, 32))
    )
    small = {"adapter": {"rank": 2}, "model": model}
    refuse_misfits(run_config({**small, "saes": [good]}))
    with pytest.raises(LabError, match="It reads 48 dimensions, the model has 32 there"):
        refuse_misfits(run_config({**small, "saes": [large]}))
    with pytest.raises(LabError, match="It belongs to layer 9; the model has 4 layers"):
        refuse_misfits(run_config({**small, "saes": [high]}))


def test_where_no_setting_makes_it_fit_a_narrower_sae_is_named():
    from lorasae.costs.model_sizes import sizes_of
    from lorasae.planning.forecast import smaller_run
    from lorasae.planning.probing import placed_saes

    wide = {"release": "gemma-scope-2b-pt-res", "sae_id": "layer_12/width_1m/average_l0_107"}
    config = run_config({"model": {"model": "google/gemma-2-2b"}, "saes": [wide]})
    sizes = sizes_of(config.model)
    assert sizes is not None

    def change(there_is: float) -> str:
        return str(smaller_run(config, sizes, placed_saes(config, sizes), there_is, on_gpu=True))

    assert change(30e9) == "Set model.dtype to bfloat16"
    assert change(16e9).startswith("Choose the SAE of 262,144 features") and "bfloat16" in change(16e9)
    assert change(4e9) == "None"
