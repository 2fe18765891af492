"""Checkpoints: whole or not there."""

import random
import shutil

import pytest
import torch

from lorasae.store.checkpoints import Checkpoint, newest_checkpoint, write_checkpoint


def checkpoint(step):
    generator = torch.Generator().manual_seed(step)
    return Checkpoint(
        step,
        adapter={"a": torch.randn(3, 4, generator=generator)},
        optimizer={"0.exp_avg": torch.randn(3, 4, generator=generator), "0.step": torch.tensor(float(step))},
        random={"cpu": torch.get_rng_state()},
        state={"train_s": 1.5, "corpus": "abc"},
    )


def test_what_is_written_is_read_again_bit_for_bit(tmp_path):
    written = checkpoint(7)
    write_checkpoint(tmp_path, written)
    read, damaged = newest_checkpoint(tmp_path)
    assert not damaged and read is not None and read.step == 7 and read.state == written.state
    for mine, theirs in ((written.adapter, read.adapter), (written.optimizer, read.optimizer), (written.random, read.random)):
        assert mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_the_last_two_are_kept(tmp_path):
    for step in (1, 2, 3, 10):
        write_checkpoint(tmp_path, checkpoint(step))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000003", "step-00000010"]


def test_no_checkpoint_is_no_error(tmp_path):
    assert newest_checkpoint(tmp_path / "nowhere") == (None, [])


def test_a_half_written_one_does_not_exist(tmp_path):
    write_checkpoint(tmp_path, checkpoint(1))
    shutil.copytree(tmp_path / "step-00000001", tmp_path / "step-00000002.tmp")
    read, damaged = newest_checkpoint(tmp_path)
    assert read is not None and read.step == 1 and not damaged


@pytest.mark.parametrize("name", ["adapter.safetensors", "optimizer.safetensors", "random.safetensors", "state.json", "manifest.json"])
def test_any_damage_is_found_and_the_one_before_is_used(tmp_path, name):
    """Forty random bit flips, truncations and losses for each file of the newest checkpoint."""
    rng = random.Random(name)
    for step in (1, 2):
        write_checkpoint(tmp_path / "good", checkpoint(step))
    for trial in range(40):
        folder = tmp_path / f"trial-{trial}"
        shutil.copytree(tmp_path / "good", folder)
        path = folder / "step-00000002" / name
        content = bytearray(path.read_bytes())
        harm = rng.choice(("flip", "cut", "lose"))
        if harm == "flip":
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        path.write_bytes(content[: rng.randrange(len(content))] if harm == "cut" else content)
        if harm == "lose":
            path.unlink()
        read, damaged = newest_checkpoint(folder)
        assert read is not None
        if read.step == 2:  # a flip in the manifest's white space changes nothing
            assert name == "manifest.json" and harm == "flip" and not damaged
        else:
            assert read.step == 1 and [each.name for each in damaged] == ["step-00000002"]
