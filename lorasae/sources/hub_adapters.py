"""Adapters in repositories of the Hub: which kind one is, what it is from metadata alone, and its two files. No torch."""

import hashlib
import json
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from huggingface_hub import HfApi, ModelInfo
from huggingface_hub.errors import SafetensorsParsingError

from lorasae.errors import LabError
from lorasae.sources.hub_names import LICENCE, refuse_no_name
from lorasae.sources.hub_problems import hub_problems_told
from lorasae.sources.peft_files import CONFIG, PICKLE, WEIGHTS, AdapterShape, only_a_pickle, shape_of

Kind = Literal["lorasae", "peft"]  # published from the lab; any other LoRA adapter in PEFT's files
MOST_BYTES = 4_000_000_000  # of an adapter's weights
_MOST_SETTINGS_BYTES = 1_000_000


@dataclass(frozen=True)
class Listed:
    """A repository's files at one commit, as its list says."""

    repo_id: str
    commit: str
    kind: Kind
    sizes: dict[str, int]  # bytes, by name
    hashes: dict[str, str]  # SHA-256 of large files
    licence: str | None = None  # as its card names it

    @property
    def named(self) -> dict[str, str]:
        """Which adapter it is, and under which licence, for the record."""
        known = {"licence": self.licence} if self.licence else {}
        return {"repo_id": self.repo_id, "commit": self.commit, **known}


@dataclass(frozen=True)
class SeenAdapter:
    """An adapter on the Hub, from its metadata: a few kilobytes were fetched."""

    listed: Listed
    settings: dict[str, Any]
    shape: AdapterShape


def listed(asked: str, repo_id: str, revision: str | None, api: HfApi) -> Listed:
    """Which files a repository has, and so which kind of adapter it holds.

    Raises:
        LabError: If it cannot be had, holds no adapter, or one that is only a pickle or too large.
    """
    refuse_no_name(asked, repo_id)
    with hub_problems_told(asked, repo_id, (), api):
        info = api.model_info(repo_id, revision=revision, files_metadata=True)
    files = info.siblings or []
    sizes = {each.rfilename: each.size or 0 for each in files}
    if CONFIG not in sizes:
        found = f"{repo_id} holds no adapter: it has no {CONFIG}"
        raise LabError(asked, found, "Give a repository that was published from LoRA-SAE Lab, or another LoRA adapter in PEFT's format")
    if WEIGHTS not in sizes:
        raise only_a_pickle(asked) if PICKLE in sizes else LabError(asked, f"It has no {WEIGHTS}", "Give another repository")
    if sizes[WEIGHTS] > MOST_BYTES or sizes[CONFIG] > _MOST_SETTINGS_BYTES:
        raise LabError(asked, f"Its adapter has {sizes[WEIGHTS] / 1e9:.1f} GB", "Choose a smaller one")
    hashes = {each.rfilename: str(each.lfs["sha256"]) for each in files if each.lfs}
    return Listed(repo_id, str(info.sha), "lorasae" if "lorasae.json" in sizes else "peft", sizes, hashes, licence_named(info))


def licence_named(info: ModelInfo) -> str | None:
    """The licence that a repository's card names, if it is a name."""
    licence = getattr(info.card_data, "license", None)
    return licence if isinstance(licence, str) and re.fullmatch(LICENCE, licence) else None


def seen(asked: str, found: Listed, api: HfApi) -> SeenAdapter:
    """What the adapter is: its settings, and the names and shapes of its tensors without their content.

    Raises:
        LabError: If it is no plain LoRA adapter, or damaged.
    """
    with tempfile.TemporaryDirectory(prefix="lorasae-look-") as folder, hub_problems_told(asked, found.repo_id, (), api):
        path = api.hf_hub_download(found.repo_id, CONFIG, revision=found.commit, local_dir=folder)
        try:
            settings = json.loads(Path(path).read_text(encoding="utf-8"))
            tensors = api.parse_safetensors_file_metadata(found.repo_id, WEIGHTS, revision=found.commit).tensors
        except (ValueError, RecursionError, SafetensorsParsingError) as error:
            raise LabError(asked, f"One of its files is damaged: {str(error).splitlines()[0][:200]}", "Choose another") from None
    shapes = {name: tuple(each.shape) for name, each in tensors.items()}
    return SeenAdapter(found, settings, shape_of(asked, settings, shapes))


def fetch_adapter(asked: str, found: Listed, folder: Path, api: HfApi) -> None:
    """Put the adapter's two files into a folder.

    Raises:
        LabError: If they cannot be had, or are not what the Hub states.
    """
    with hub_problems_told(asked, found.repo_id, (), api):
        for name in (CONFIG, WEIGHTS):
            path = Path(api.hf_hub_download(found.repo_id, name, revision=found.commit, local_dir=folder))
            stated = found.hashes.get(name)
            if stated and sha256_of(path) != stated:
                raise LabError(asked, f"What arrived of {found.repo_id}/{name} is not what the Hub states", "Fetch it again")


def sha256_of(path: Path) -> str:
    """A file's hash."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
