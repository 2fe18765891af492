"""Every test starts from the same seed, on one thread, with the network's doors closed."""

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("LORASAE_HOME", str(Path(tempfile.gettempdir()) / "lorasae-tests"))  # what is kept of the registry
sys.path.insert(0, str(Path(__file__).parents[1]))

import pytest
import torch
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from lorasae.store.run_folder import Run

torch.set_num_threads(1)
settings.register_profile("beside others", deadline=None, suppress_health_check=[HealthCheck.too_slow])  # clocks are no property
settings.load_profile("beside others")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hub, used by every client in the test; there is no network."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model that learned a little text, two SAEs and the text, in a folder."""
    from tests.tiny_world import make_world

    torch.manual_seed(0)
    return make_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def finished(world: Path, tmp_path_factory: pytest.TempPathFactory) -> "Run":
    """A finished run around the world's first SAE, in a home of its own; to be looked at, not to be changed."""
    from lorasae.store.runs import RunStore
    from lorasae.training.recipe import adapt
    from tests.tiny_world import tiny_run

    run = RunStore(tmp_path_factory.mktemp("finished")).create(tiny_run(world))
    adapt(run)
    return run
