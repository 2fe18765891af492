"""What does not depend on the adapter, computed ahead of its step or once for all: the same numbers, wherever a run was broken off."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lorasae.config import RunConfig
from lorasae.core.fast.step import FastGradients, Frozen
from lorasae.sources.data import prepare, step_chunks
from lorasae.sources.loading import load
from lorasae.store.run_folder import Run
from lorasae.store.runs import RunStore
from lorasae.training import lookahead as lookahead_module
from lorasae.training.lookahead import Lookahead, how_far_ahead
from lorasae.training.recipe import adapt
from lorasae.training.supervision import Nobody
from lorasae.training.together import adapt_together
from lorasae.training.way import recorded_way
from tests.tiny_world import tiny_run

CONTEXT, CPU = 16, torch.device("cpu")
CHUNKS = np.arange(20 * CONTEXT, dtype=np.int32).reshape(20, CONTEXT)


class Noting(FastGradients):
    """Answers with the tokens themselves, and notes which sequences it was asked for at once."""

    def __init__(self) -> None:
        self.asked: list[list[int]] = []

    def frozen(self, ids: torch.Tensor) -> Frozen:
        self.asked.append([int(first) // CONTEXT for first in ids[:, 0]])
        return Frozen(ids[..., None].float(), -ids[..., None].float())


def settings(**train: Any) -> RunConfig:
    return RunConfig.model_validate({"data": {"context_length": CONTEXT}, "train": {"tokens_per_step": 4 * CONTEXT, **train}, "seed": 3})


def tokens(parts: list[Frozen]) -> torch.Tensor:
    assert all(torch.equal(part.stream, -part.teacher) for part in parts)
    return torch.cat([part.stream[..., 0] for part in parts]).long()


@pytest.mark.parametrize("ahead", ["kept", "ahead"])
@pytest.mark.parametrize("first", [0, 3, 7])
def test_every_step_gets_its_own_sequences_in_its_micro_batches(monkeypatch, ahead, first):
    monkeypatch.setitem(lookahead_module.TOKENS_AT_ONCE, "cpu", 8 * CONTEXT)
    gradients, found = Noting(), Lookahead(CHUNKS, settings(), CPU)
    for step in range(first, 12):
        for size in (4, 3, 1):
            parts = found.of(gradients, step, size, ahead)
            assert [len(part.stream) for part in parts] == {4: [4], 3: [3, 1], 1: [1, 1, 1, 1]}[size]
            assert torch.equal(tokens(parts), step_chunks(CHUNKS, 3, step, 4))


def test_what_comes_again_is_computed_once_and_always_with_the_same_others(monkeypatch):
    monkeypatch.setitem(lookahead_module.TOKENS_AT_ONCE, "cpu", 8 * CONTEXT)
    gradients, found = Noting(), Lookahead(CHUNKS, settings(), CPU)
    for step in range(15):
        found.of(gradients, step, 4, "kept")
    assert sorted(gradients.asked) == [list(range(8)), list(range(8, 16)), list(range(16, 20))]


def test_several_steps_are_computed_at_once_and_let_go_when_they_are_over(monkeypatch):
    monkeypatch.setitem(lookahead_module.TOKENS_AT_ONCE, "cpu", 8 * CONTEXT)
    whole, resumed, found = Noting(), Noting(), Lookahead(CHUNKS, settings(), CPU)
    for step in range(6):
        found.of(whole, step, 2, "ahead")
    assert [len(asked) for asked in whole.asked] == [8, 8, 8]
    found.of(resumed, 3, 2, "ahead")
    assert resumed.asked == [whole.asked[1]] and len(found._blocks) == 1


def test_other_adapters_make_it_forget(monkeypatch):
    found, one, other = Lookahead(CHUNKS, settings(), CPU), Noting(), Noting()
    for gradients in (one, other):
        found.of(gradients, 0, 4, "kept")
    assert len(one.asked) == len(other.asked) >= 1


# In a run


def small_text(world: Path, folder: Path) -> RunConfig:
    """A run that goes through its text several times."""
    text = folder / "small.txt"
    text.write_text("\n\n".join((world / "text.txt").read_text().split("\n\n")[:12]))
    return tiny_run(world, data={"source": str(text), "heldout_tokens": 32}, train={"tokens": 20 * 64})


def adapter(run: Run) -> bytes:
    return (run.adapter / "adapter_model.safetensors").read_bytes()


def losses(run: Run) -> list[float]:
    return [row["kl_train"] for row in run.metrics() if "kl_train" in row]


class CrashAt(Nobody):
    def row(self, row, n_steps):
        if row["step"] == 13:
            raise RuntimeError("the lights went out")


def test_a_text_that_comes_again_is_kept_if_there_is_room_and_makes_no_difference(world, tmp_path, monkeypatch):
    store, config = RunStore(tmp_path), small_text(world, tmp_path)
    runs = [store.create(config) for _ in range(4)]
    adapt(runs[0])
    assert recorded_way(runs[0]).frozen == "kept" and "what is frozen, once for the whole text" in runs[0].log.read_text()
    with pytest.raises(RuntimeError, match="lights"):
        adapt(runs[1], CrashAt())
    monkeypatch.setattr(lookahead_module, "free_bytes", lambda device: 1000)
    adapt(runs[1])
    assert recorded_way(runs[1]).frozen == "kept" and adapter(runs[1]) == adapter(runs[0])  # it goes on as it began
    adapt(runs[2])
    assert recorded_way(runs[2]).frozen == "with the step" and losses(runs[2]) == pytest.approx(losses(runs[0]), rel=1e-4)
    monkeypatch.undo()
    adapt_together([runs[3], store.create(config)], [Nobody()] * 2)
    assert losses(runs[3]) == pytest.approx(losses(runs[0]), rel=1e-4)


def test_a_text_that_is_read_once_is_not_kept(world):
    config = tiny_run(world)
    loaded = load(config)
    corpus = prepare(config.data, loaded.tokenizer, config.n_steps * config.train.tokens_per_step)
    assert how_far_ahead(config, loaded, corpus.train) == "with the step"
