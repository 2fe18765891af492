"""The finished run that comes with the lab: it opens, its numbers are its own, and whoever measures again finds them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel

from lorasae.config import RunConfig
from lorasae.core.evaluate import measure
from lorasae.core.hook_points import parse_hook_point
from lorasae.core.special_tokens import SpecialTokens
from lorasae.demo.first_repair import PINS, TEXT, first_repair
from lorasae.identity import may
from lorasae.sources.data import micro_batches
from lorasae.sources.loading import load
from lorasae.store.replay import replay_of
from lorasae.store.run_folder import EXAMPLE_FOLDER, EXAMPLE_ID, Run
from lorasae.store.runs import RunStore
from lorasae.training.heldout_part import part_of

EXAMPLE = Run(EXAMPLE_FOLDER)
METRICS = list(EXAMPLE.metrics())


def test_it_opens_by_its_id_for_everybody_and_belongs_to_nobody(tmp_path: Path) -> None:
    run = RunStore(tmp_path).open_id(EXAMPLE_ID)
    assert run.read_only and run.status.state == "succeeded" and run.status.step == run.config.n_steps
    assert run.about.name.startswith("Example") and run.about.shared
    assert not may("local", run.about.owner, run.about.shared, "act")


def test_it_is_the_first_repair_that_the_button_starts() -> None:
    assert EXAMPLE.config == first_repair(EXAMPLE.config.name) and EXAMPLE.pins == PINS
    assert EXAMPLE.config.train == RunConfig().train and EXAMPLE.config.adapter == RunConfig().adapter


def test_its_numbers_follow_from_each_other_and_from_its_rows() -> None:
    value = {key: result["value"] for key, result in EXAMPLE.result["results"].items()}
    before, after = value["ce_original_sae"] - value["ce_original"], value["ce_adapted_sae"] - value["ce_original"]
    assert value["ce_gap_before"] == pytest.approx(before) and value["ce_gap_after"] == pytest.approx(after)
    assert value["gap_closed"] == pytest.approx(1 - after / before) and value["gap_closed"] > 0.4
    assert METRICS[0]["ce_gap_before"] == pytest.approx(value["ce_gap_before"])
    assert [row["step"] for row in METRICS] == list(range(EXAMPLE.config.n_steps + 1))
    assert sum("gap_closed" in row for row in METRICS) == EXAMPLE.config.watch.evaluations


def test_measuring_again_finds_the_loss_that_it_states() -> None:
    loaded = load(EXAMPLE.config)
    model = PeftModel.from_pretrained(loaded.model, str(EXAMPLE.adapter)).eval()  # type: ignore[arg-type]
    chunks = np.load(EXAMPLE.heldout, allow_pickle=False)
    special = SpecialTokens(**{key: tuple(ids) for key, ids in EXAMPLE.result["special_tokens"].items()})
    with torch.no_grad():
        part = measure(
            model,
            micro_batches(chunks[part_of(EXAMPLE, len(chunks))], 8, loaded.device),
            loaded.saes,
            special,
            ("original", "original_sae", "adapted_sae"),
        )
    found, errors = part.metrics(), EXAMPLE.result["results"]
    for key in ("ce_original", "ce_original_sae", "ce_adapted_sae", "gap_closed"):
        assert abs(found[key][0] - errors[key]["value"]) < 5 * found[key][1]
    last = next(row for row in reversed(METRICS) if "ce_adapted_sae" in row)  # evaluated at a late step, on the same part of the text
    assert found["ce_adapted_sae"][0] == pytest.approx(last["ce_adapted_sae"], abs=0.01)
    assert found["ce_original_sae"][0] == pytest.approx(last["ce_original_sae"], abs=1e-4)


def test_its_features_moved_while_it_trained() -> None:
    film = replay_of(EXAMPLE)
    assert film["text"] == TEXT and len(film["frames"]) >= 10
    assert all(len(frame["kl"]) == len(film["tokens"]) and len(frame["pins"]) == len(PINS.features) for frame in film["frames"])
    first, last = film["frames"][0], film["frames"][-1]
    moved = [
        max(abs(a - b) for a, b in zip(one["acts"], other["acts"], strict=True))
        for one, other in zip(first["pins"], last["pins"], strict=True)
    ]
    assert sum(change > 1 for change in moved) >= 5
    assert sum(last["kl"]) < 0.5 * sum(first["kl"])
    adapted = max(parse_hook_point(sae["hook_point"]).layer for sae in EXAMPLE.result["saes"])
    assert all(parse_hook_point(pin["hook_point"]).layer > adapted for pin in first["pins"])  # at the adapted SAE nothing can move


def test_nothing_in_it_names_a_machine() -> None:
    for path in EXAMPLE_FOLDER.rglob("*"):
        if path.is_file() and path.suffix in (".json", ".jsonl", ".log"):
            text = path.read_text(encoding="utf-8")
            assert not any(part in text for part in ("/home/", "/" + "work/", "/tmp/", "/root", "\\\\Users", "platform")), path
    assert json.loads((EXAMPLE_FOLDER / "status.json").read_text())["pid"] is None
    assert not (EXAMPLE_FOLDER / "checkpoints").exists() and not (EXAMPLE_FOLDER / "lock").exists()


def test_it_stays_small() -> None:
    assert sum(path.stat().st_size for path in EXAMPLE_FOLDER.rglob("*") if path.is_file()) < 1.5e6
