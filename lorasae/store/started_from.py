"""The adapter that a run begins with (`adapter.start`): found, checked from metadata, and kept in the run's own folder.

It is brought once, to RUN/start/: whatever becomes of the run or repository that it came from, this run begins, resumes and is done again
with the same weights. from.json beside it says what it was.
"""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

from lorasae.errors import LabError
from lorasae.identity import LOCAL_OWNER, may
from lorasae.sources.catalog import is_folder
from lorasae.sources.hub_adapters import SeenAdapter, fetch_adapter, listed, seen, sha256_of
from lorasae.sources.hub_names import REPO_ID
from lorasae.sources.peft_files import CONFIG, WEIGHTS, AdapterShape, refuse_other_model, shape_of_files
from lorasae.store.durable import write_json
from lorasae.store.lineage import OWN_FOLDER, descended_from
from lorasae.store.run_folder import Run
from lorasae.store.runs import RunStore

_REPOSITORY = re.compile(rf"{REPO_ID}(?:@[\w./-]{{1,100}})?", re.ASCII)
VISITORS_BYTES = 500_000_000  # of a visitor's adapter from the Hub


@dataclass(frozen=True)
class Start:
    """An adapter to begin with, as far as metadata tells."""

    shape: AdapterShape
    owner: str = LOCAL_OWNER  # who begins with it
    run: Run | None = None  # whose adapter it is
    folder: Path | None = None  # where its files lie on this machine
    on_hub: SeenAdapter | None = None  # or which repository holds them

    @property
    def origin(self) -> dict[str, Any]:
        """What it is, for the record."""
        if self.on_hub is not None:
            return self.on_hub.listed.named
        return descended_from(self.run, self.owner) if self.run is not None else {"folder": OWN_FOLDER}


def find_start(start: str, owner: str, store: RunStore, api: HfApi) -> Start:
    """The adapter that `adapter.start` names; of one on the Hub no weights are fetched.

    Args:
        start: The setting.
        owner: Who asks: others than the machine's own user may name runs that they may look at, and public repositories.
        store: Where runs lie.
        api: A client that sees what `owner` may see.

    Raises:
        LabError: If there is none, it is not theirs to see, or it is no plain LoRA adapter.
    """
    if (here := find_start_here(start, owner, store)) is not None:
        return here
    asked, (repo_id, _, revision) = _asked(start), start.partition("@")
    repository = listed(asked, repo_id, revision or None, api)
    if owner != LOCAL_OWNER and repository.sizes[WEIGHTS] > VISITORS_BYTES:
        found = (
            f"It has {repository.sizes[WEIGHTS] / 1e6:,.0f} MB; in this lab, visitors' adapters have up to {VISITORS_BYTES // 1_000_000}"
        )
        raise LabError(asked, found, "Choose a smaller one")
    on_hub = seen(asked, repository, api)
    return Start(on_hub.shape, on_hub=on_hub)


def find_start_here(start: str, owner: str, store: RunStore) -> Start | None:
    """The same of a run or folder of this machine; None where `start` can only be a repository of the Hub. Asks no network.

    Raises:
        LabError: If it is neither, or holds no adapter to begin with.
    """
    run = _run_named(start, owner, store)
    if run is not None:
        if not (run.adapter / WEIGHTS).is_file():
            raise LabError(_asked(start), f"That run has no adapter yet: it is {run.status.state}", "Choose a run that is finished")
        return Start(shape_of_files(_asked(start), run.adapter), owner, run=run, folder=run.adapter)
    if owner == LOCAL_OWNER and is_folder(start):
        return Start(shape_of_files(_asked(start), Path(start)), folder=Path(start))
    if _REPOSITORY.fullmatch(start) is None or ".." in start:
        remedy = "Give the id of a run that you can see, or a repository of the Hub: NAMESPACE/NAME or NAMESPACE/NAME@REVISION"
        raise LabError(_asked(start), "There is no such run, and it is no name of a repository", remedy)
    return None


def bring_start(run: Run, api: HfApi) -> AdapterShape | None:
    """The shape of the adapter that the run begins with, its files in RUN/start/; None of a run that begins afresh.

    Raises:
        LabError: As `find_start`, and if it is of another model than the run's, before its weights are fetched.
    """
    config = run.config
    if not config.adapter.start:
        return None
    kept, asked = run.folder / "start", _asked(config.adapter.start)
    if not (kept / "from.json").is_file():
        start = find_start(config.adapter.start, run.about.owner, RunStore(run.folder.parent.parent), api)
        refuse_other_model(asked, start.shape, config.model.model)
        _keep(asked, start, kept, api)
    shape = shape_of_files(asked, kept)
    refuse_other_model(asked, shape, config.model.model)
    return shape


def weights_of_start(run: Run) -> Path:
    """The weights that `bring_start` brought."""
    return run.folder / "start" / WEIGHTS


def origin_of_start(run: Run) -> dict[str, Any] | None:
    """What the run began with, and the hash of its weights; None of a run that began afresh, or not yet."""
    try:
        return json.loads((run.folder / "start" / "from.json").read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None


def _asked(start: str) -> str:
    return f"The adapter {start} was to be begun with"


def _run_named(start: str, owner: str, store: RunStore) -> Run | None:
    """The run of that id or folder, if it is one that `owner` may look at."""
    try:
        run = store.open(start) if owner == LOCAL_OWNER and is_folder(start) else store.open_id(start)
    except LabError:
        return None
    about = run.about
    return run if run.read_only or may(owner, about.owner, about.shared, "look") else None


def _keep(asked: str, start: Start, kept: Path, api: HfApi) -> None:
    """Both files and what they are, each whole or not there."""
    beside = kept.with_name("start.tmp")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    if start.on_hub is not None:
        fetch_adapter(asked, start.on_hub.listed, beside, api)
        shutil.rmtree(beside / ".cache", ignore_errors=True)  # the client's notes about the download
    elif start.folder is not None:
        for name in (CONFIG, WEIGHTS):
            shutil.copyfile(start.folder / name, beside / name)
    write_json(beside / "from.json", {**start.origin, "sha256": sha256_of(beside / WEIGHTS)})
    shutil.rmtree(kept, ignore_errors=True)
    beside.replace(kept)
