"""What a repository on the Hub holds, compared with files here by their hashes."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from huggingface_hub import HfApi

Kind = Literal["model", "space"]


def contents_there(api: HfApi, repo_id: str, kind: Kind = "model", revision: str | None = None) -> tuple[str, dict[str, str]]:
    """The newest commit, and what lies there: name -> git blob id, or SHA-256 of a large file."""
    ask = api.space_info if kind == "space" else api.model_info
    info = ask(repo_id, revision=revision, files_metadata=True)
    found = {each.rfilename: each.lfs["sha256"] if each.lfs else each.blob_id for each in info.siblings or []}
    return info.sha or "", {name: str(content) for name, content in found.items()}


def are_there(wanted: Mapping[str, Path], there: Mapping[str, str]) -> bool:
    """Whether all these files lie there as they are here."""
    return all(there.get(name) in _identities(path) for name, path in wanted.items())


def _identities(path: Path) -> tuple[str, str]:
    """What the Hub may call this content: as a git blob, or as a large file."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest(), hashlib.sha256(content).hexdigest()
