"""A run may begin with an adapter that exists: of a run here, or of a stranger on the Hub. It is checked first, and goes on as it was."""

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from huggingface_hub import HfApi
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from lorasae.config import RunConfig
from lorasae.errors import LabError
from lorasae.inspection.opened_run import OpenedRun
from lorasae.sources.peft_files import shape_of, shape_of_files
from lorasae.store.run_folder import Run
from lorasae.store.runs import RunStore
from lorasae.store.started_from import find_start, origin_of_start
from lorasae.training.recipe import adapt
from lorasae.training.supervision import Nobody
from tests.core.toys import tiny_model
from tests.hub.server import LocalHub, local_hub
from tests.tiny_world import tiny_run, write_lossy_sae

REPO = "stranger/tuned"
MODULES = ["self_attn.q_proj", "self_attn.v_proj"]
NOTHING = {"tokens": 0}


@pytest.fixture(scope="module")
def home(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one finished run."""
    home = tmp_path_factory.mktemp("home")
    adapt(RunStore(home).create(tiny_run(world)))
    return home


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    with local_hub(tmp_path / "hub") as running:
        yield running


def only_run(home: Path) -> Run:
    return RunStore(home).all()[0]


def values(run: Run) -> dict[str, float]:
    return {key: each["value"] for key, each in run.result["results"].items()}


def started(home: Path, config: RunConfig) -> Run:
    run = RunStore(home).create(config)
    adapt(run)
    return run


def foreign_adapter(folder: Path, world: Path, **settings: object) -> Path:
    """A LoRA adapter made with plain PEFT on the tiny world's model, as a stranger publishes it."""
    torch.manual_seed(3)
    base = tiny_model("gemma2")
    config = {"r": 2, "lora_alpha": 6, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM", **settings}
    model = get_peft_model(base, LoraConfig(**config))  # type: ignore[arg-type]
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.05)
    model.peft_config["default"].base_model_name_or_path = str(world / "model")
    model.save_pretrained(str(folder), save_embedding_layers=False)
    return folder


def measured_only(world: Path, start: str = REPO, **adapter: object) -> RunConfig:
    settings = {"start": start, "rank": 2, "alpha": 6, "layers": [0, 1, 2, 3], "modules": MODULES, **adapter}
    return tiny_run(world, adapter=settings, train=NOTHING)


def test_continuing_with_no_steps_is_the_adapter_it_began_with(world: Path, home: Path, tmp_path: Path) -> None:
    first = only_run(home)
    again = started(home, tiny_run(world, adapter={"start": first.run_id}, train=NOTHING))
    for key, value in values(first).items():
        assert values(again)[key] == pytest.approx(value, abs=1e-6), key
    assert again.status.state == "succeeded" and again.result["step"] == again.result["n_steps"] == 0
    before, after = (load_file(run.adapter / "adapter_model.safetensors") for run in (first, again))
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    assert again.result["start"]["run_id"] == first.run_id


def test_continuing_with_more_tokens_goes_on_from_there(world: Path, home: Path) -> None:
    first = only_run(home)
    again = started(home, tiny_run(world, adapter={"start": first.run_id}))
    rows = list(again.metrics())
    assert rows[0]["gap_closed"] == pytest.approx(values(first)["gap_closed"], abs=1e-6)  # where it begins
    assert values(again)["gap_closed"] > values(first)["gap_closed"]
    for key in ("ce_original", "ce_original_sae", "ce_zero"):
        assert values(again).get(key) == values(first).get(key)


def test_a_continued_run_that_is_broken_off_ends_in_the_same_bits_without_what_it_began_from(
    world: Path, home: Path, tmp_path: Path
) -> None:
    shutil.copytree(home, tmp_path / "home")
    first = only_run(tmp_path / "home")
    config = tiny_run(world, adapter={"start": first.run_id})
    whole = started(tmp_path / "home", config)

    class CrashAt(Nobody):
        def __init__(self, step: int) -> None:
            self.step = step

        def row(self, row: dict, n_steps: int) -> None:
            if row["step"] == self.step:
                raise RuntimeError("the lights went out")

    for step in (0, 7):
        run = RunStore(tmp_path / "home").create(config)
        with pytest.raises(RuntimeError):
            adapt(run, CrashAt(step))
        first.folder.rename(tmp_path / "away")  # what it began with lies in its own folder
        adapt(run)
        (tmp_path / "away").rename(first.folder)
        name = "adapter/adapter_model.safetensors"
        assert (run.folder / name).read_bytes() == (whole.folder / name).read_bytes()
        assert values(run) == values(whole)


def test_an_adapter_is_continued_around_another_sae(world: Path, home: Path) -> None:
    first = only_run(home)
    layers = list(shape_of_files("", first.adapter).layers)
    again = started(home, tiny_run(world, adapter={"start": first.run_id, "layers": layers}, saes=[{"release": str(world / "sae_2")}]))
    assert again.result["saes"][0]["release"] == str(world / "sae_2")


@pytest.mark.parametrize(
    ("adapter", "told"),
    [
        ({"rank": 4}, "rank to 2"),
        ({"alpha": 8}, "alpha to 4"),
        ({"layers": [3]}, r"layers to \[2, 3\]"),
        ({"modules": ["mlp"]}, "modules to"),
    ],
)
def test_other_settings_than_the_adapters_own_are_refused(world: Path, home: Path, adapter: dict, told: str) -> None:
    run = RunStore(home).create(tiny_run(world, adapter={"start": only_run(home).run_id, **adapter}))
    with pytest.raises(LabError, match=told):
        adapt(run)


def test_a_strangers_adapter_does_here_what_it_does_with_peft_alone(world: Path, hub: LocalHub, tmp_path: Path) -> None:
    folder = foreign_adapter(tmp_path / "made", world)
    hub.publish(folder, REPO)
    run = started(tmp_path / "home", measured_only(world))
    assert origin_of_start(run)["commit"] == hub.repo(REPO).oid_of("main")  # type: ignore[index]
    by_peft, here = load_file(folder / "adapter_model.safetensors"), load_file(run.adapter / "adapter_model.safetensors")
    assert by_peft.keys() == here.keys() and all(torch.equal(by_peft[name], here[name]) for name in here)
    results = values(run)
    assert results["ce_adapted"] != results["ce_original"] and results["ce_adapted_sae"] != results["ce_original_sae"]
    opened = OpenedRun(run)
    assert opened.adapted_layers == [0, 1, 2, 3] and opened.can_change(min(opened.loaded.saes))
    direct = _logits(world, folder, opened)
    ours = opened.model(input_ids=torch.tensor([[1, 5, 6, 7]])).logits
    assert torch.equal(direct, ours)


def _logits(world: Path, folder: Path, opened: OpenedRun) -> torch.Tensor:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    base = AutoModelForCausalLM.from_pretrained(world / "model", attn_implementation="eager", dtype=torch.float32)
    return PeftModel.from_pretrained(base, folder).eval()(input_ids=torch.tensor([[1, 5, 6, 7]])).logits


def test_rank_stabilised_scale_is_kept(world: Path, hub: LocalHub, tmp_path: Path) -> None:
    folder = foreign_adapter(tmp_path / "made", world, use_rslora=True)
    hub.publish(folder, REPO)
    run = started(tmp_path / "home", measured_only(world, alpha=6 * 2**0.5))
    opened = OpenedRun(run)
    torch.testing.assert_close(
        opened.model(input_ids=torch.tensor([[1, 5, 6, 7]])).logits, _logits(world, folder, opened), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({"use_dora": True}, "DoRA"),
        ({"rank_pattern": {"q_proj": 4}}, "ranks differ"),
        ({"alpha_pattern": {"q_proj": 4}}, "scales differ"),
        ({"bias": "lora_only"}, "biases"),
        ({"target_modules": ["q_proj", "embed_tokens"]}, "no LoRA matrix in a layer|more than one stack"),
        ({"modules_to_save": ["lm_head"]}, "whole modules"),
        ({"target_modules": ["q_proj", "lm_head"]}, "no LoRA matrix in a layer"),
        ({"target_modules": r".*layers\.(0\.self_attn\.q_proj|1\.mlp\.up_proj)"}, "different linear maps in different layers"),
    ],
)
def test_what_is_no_plain_lora_is_refused_in_words(world: Path, hub: LocalHub, tmp_path: Path, settings: dict, found: str) -> None:
    hub.publish(foreign_adapter(tmp_path / "made", world, **settings), REPO)
    with pytest.raises(LabError, match=found):
        find_start(REPO, "local", RunStore(tmp_path), hub.api())
    assert not hub.asked("GET", "adapter_model.safetensors?download")


def test_a_name_made_to_be_slow_is_refused_at_once() -> None:
    settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "base_model_name_or_path": "pocket"}
    began = time.monotonic()
    with pytest.raises(LabError, match="a name of more than 300 letters"):
        shape_of("It was asked for", settings, {"base_model.model" + ".1" * 20_000: (2, 2)})
    assert time.monotonic() - began < 1.0


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"peft_type": "IA3"}, "no LoRA adapter"),
        ({"init_lora_weights": "pissa"}, "weights were changed first"),
        ({"a_new_thing": 3}, "the setting a_new_thing"),
        ({"task_type": "SEQ_CLS"}, "not for predicting text"),
        ({"base_model_name_or_path": None}, "does not say of which model"),
        ({"r": 3}, "not two of rank 3"),
    ],
)
def test_settings_that_are_not_understood_are_refused(world: Path, hub: LocalHub, tmp_path: Path, changed: dict, found: str) -> None:
    folder = foreign_adapter(tmp_path / "made", world)
    settings = json.loads((folder / "adapter_config.json").read_text()) | changed
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    hub.publish(folder, REPO)
    with pytest.raises(LabError, match=found):
        find_start(REPO, "local", RunStore(tmp_path), hub.api())


def test_a_pickle_is_not_opened(world: Path, hub: LocalHub, tmp_path: Path) -> None:
    folder = foreign_adapter(tmp_path / "made", world)
    (folder / "adapter_model.safetensors").rename(folder / "adapter_model.bin")
    hub.publish(folder, REPO)
    run = RunStore(tmp_path / "home").create(measured_only(world))
    with pytest.raises(LabError, match=r"only a pickle \(adapter_model.bin\), which could run any code and is not opened"):
        adapt(run)
    assert not hub.asked("GET", "adapter_model.bin")


def test_an_adapter_of_another_model_is_refused_before_its_weights_are_fetched(world: Path, hub: LocalHub, tmp_path: Path) -> None:
    folder = foreign_adapter(tmp_path / "made", world)
    settings = json.loads((folder / "adapter_config.json").read_text()) | {"base_model_name_or_path": "google/gemma-2-9b-it"}
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    hub.publish(folder, REPO)
    run = RunStore(tmp_path / "home").create(
        measured_only(world).model_copy(update={"model": tiny_run(world).model.model_copy(update={"model": "google/gemma-2-2b"})})
    )
    with pytest.raises(LabError, match=r"It is an adapter of google/gemma-2-9b-it, the run is about google/gemma-2-2b"):
        adapt(run)
    assert not list((tmp_path / "home").rglob("*.safetensors"))


def test_shapes_that_do_not_fit_are_refused(world: Path, hub: LocalHub, tmp_path: Path) -> None:
    folder = foreign_adapter(tmp_path / "made", world)
    weights = load_file(folder / "adapter_model.safetensors")
    save_file(
        {name: torch.zeros(2, 40) if "lora_A" in name else tensor for name, tensor in weights.items()}, folder / "adapter_model.safetensors"
    )
    hub.publish(folder, REPO)
    run = RunStore(tmp_path / "home").create(measured_only(world))
    with pytest.raises(LabError, match=r"self_attn.q_proj of this model is 16 by 16, the adapter's 40 by 16"):
        adapt(run)


def test_who_may_begin_with_what(world: Path, home: Path, hub: LocalHub, tmp_path: Path) -> None:
    hub.publish(foreign_adapter(tmp_path / "made", world), "alice/secret", private=True)
    store, own = RunStore(home), only_run(home)
    with pytest.raises(LabError, match="no such run"):
        find_start(own.run_id, "visitor-b", store, hub.api())
    with pytest.raises(LabError, match="no such run"):
        find_start(str(own.folder), "visitor-b", store, hub.api())
    with pytest.raises(LabError, match="that you may see"):
        find_start("alice/secret", "visitor-b", store, hub.api())
    own.write_about(shared=True)
    assert find_start(own.run_id, "visitor-b", store, hub.api()).run is not None
    own.write_about(shared=False)
    assert find_start(str(own.folder), "local", store, HfApi()).shape.rank == 2
    assert find_start("alice/secret", "local", store, hub.api(hub.accounts.token("alice"))).on_hub is not None


def test_an_sae_of_another_place_is_refused_as_ever(world: Path, hub: LocalHub, tmp_path: Path) -> None:
    hub.publish(foreign_adapter(tmp_path / "made", world), REPO)
    write_lossy_sae(tmp_path / "sae", 9)
    config = measured_only(world).model_dump(mode="json") | {"saes": [{"release": str(tmp_path / "sae")}]}
    with pytest.raises(LabError, match="9"):
        adapt(RunStore(tmp_path / "home").create(RunConfig.model_validate(config)))
