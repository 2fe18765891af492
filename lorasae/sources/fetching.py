"""Files of a repository on the Hub: exactly those that are needed, of one commit, from the cache of this machine or else fetched into it.

What comes over the network is written beside its place, goes on after an interruption where it stopped (the client's own download begins
a file anew), and takes its place in the Hub's cache only if its content has the hash that the Hub states. What is in the cache needs no
network.
"""

import hashlib
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from huggingface_hub import _CACHED_NO_EXIST, constants, get_hf_file_metadata, hf_hub_download, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError
from huggingface_hub.file_download import DryRunFileInfo, http_get, repo_folder_name
from huggingface_hub.utils import WeakFileLock, build_hf_headers

from lorasae.errors import LabError
from lorasae.sources.hub_access import most_bytes, token_in_use
from lorasae.sources.hub_problems import hub_problems_told

Progress = Callable[[str, int, int], None]  # repository, bytes that are here, bytes in all
_CHUNK = 2**22


@dataclass(frozen=True)
class Fetched:
    """Files of one commit of a repository."""

    commit: str
    files: dict[str, Path]  # by name in the repository; optional ones that it lacks are left out

    @property
    def folder(self) -> Path:
        """Where the repository's files of this commit lie."""
        name, path = next(iter(self.files.items()))
        return path.parents[name.count("/")]


def fetch(
    asked: str,
    repository: str,
    names: Sequence[str],
    *,
    optional: Sequence[str] = (),
    revision: str | None = None,
    progress: Progress | None = None,
    known: Sequence[str] = (),
) -> Fetched:
    """The files `names` of a model repository, and those of `optional` that it has.

    Args:
        asked: What was asked for, as a sentence.
        repository: The Hub id.
        names: Paths in the repository.
        optional: Paths that it may lack.
        revision: Branch, tag or commit; None: the newest. All files are of the commit that it stands for when the first one is looked up.
        progress: Told as bytes arrive; never called where nothing has to be fetched.
        known: Names to suggest for a mistyped repository.

    Raises:
        LabError: For a repository that is unknown or gated, a file that it lacks, no network, more than may be
            fetched, a full disk, or content that is not what the Hub states.
    """
    with hub_problems_told(asked, repository, known):
        found = _looked_up(repository, names, optional, revision)
        missing = [each for each in found if each.will_download]
        n_bytes = sum(each.file_size or 0 for each in missing)
        _refuse_if_too_large(asked, repository, n_bytes)
        before = 0
        for each in missing:
            _download(asked, repository, each, lambda here, before=before: progress and progress(repository, before + here, n_bytes))
            before += each.file_size or 0
        files = {
            each.filename: Path(hf_hub_download(repository, each.filename, revision=each.commit_hash, token=token_in_use()))
            for each in found
        }
    _note_commit(repository, revision or constants.DEFAULT_REVISION, found[0].commit_hash)
    return Fetched(found[0].commit_hash, files)


def _note_commit(repository: str, revision: str, commit: str) -> None:
    """Keep what a branch or tag stands for, as the client does where it is not told a commit: without a network, nothing else says it."""
    note = Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repository, repo_type="model") / "refs" / revision
    if revision == commit or (note.is_file() and note.read_text(encoding="utf-8") == commit):
        return
    note.parent.mkdir(parents=True, exist_ok=True)
    note.write_text(commit, encoding="utf-8")


def _looked_up(repository: str, names: Sequence[str], optional: Sequence[str], revision: str | None) -> list[DryRunFileInfo]:
    """What is known of each file, all at the commit of the first."""
    found: list[DryRunFileInfo] = []
    for name in (*names, *optional):
        at = found[0].commit_hash if found else revision
        if name in optional and is_known_to_lack(repository, name, at):
            continue
        try:
            found.append(hf_hub_download(repository, name, revision=at, dry_run=True, token=token_in_use()))
        except EntryNotFoundError:
            if name in names:
                raise
    return found


def is_known_to_lack(repository: str, name: str, revision: str | None) -> bool:
    """Whether the cache notes that a repository has no such file at that revision: then nobody need be asked who may refuse by now."""
    return try_to_load_from_cache(repository, name, revision=revision) is _CACHED_NO_EXIST


def _refuse_if_too_large(asked: str, repository: str, n_bytes: int) -> None:
    if (most := most_bytes()) is not None and n_bytes > most:
        found = f"{repository} would bring {n_bytes / 1e9:.1f} GB; in this lab, visitors fetch up to {most / 1e9:g} GB of one repository"
        raise LabError(asked, found, "Choose a smaller one, or ask whoever runs this lab to raise LORASAE_VISITORS_FETCH_GB")
    cache = Path(constants.HF_HUB_CACHE)
    there = next((folder for folder in (cache, *cache.parents) if folder.is_dir()), cache)
    if n_bytes > (free := shutil.disk_usage(there).free):
        raise LabError(
            asked,
            f"{repository} needs {n_bytes / 1e9:.1f} GB, the disk of {cache} has {free / 1e9:.1f} GB left",
            "Make room, or set HF_HOME to a larger disk",
        )


def _download(asked: str, repository: str, file: DryRunFileInfo, arrived: Callable[[int], Any]) -> None:
    """Put a file's content into the cache, under its hash; a part that was fetched before is kept and gone on with."""
    url = hf_hub_url(repository, file.filename, revision=file.commit_hash)
    metadata = get_hf_file_metadata(url, token=token_in_use())
    headers = build_hf_headers(token=token_in_use())
    if urlsplit(metadata.location).netloc != urlsplit(url).netloc:
        headers.pop("authorization", None)  # the content lies with somebody else, who gets no token
    cache, folder = Path(constants.HF_HUB_CACHE), repo_folder_name(repo_id=repository, repo_type="model")
    blob = cache / folder / "blobs" / str(metadata.etag)
    lock = cache / ".locks" / folder / f"{metadata.etag}.lock"  # the client's own
    for parent in (blob.parent, lock.parent):
        parent.mkdir(parents=True, exist_ok=True)
    partial = blob.with_name(f"{blob.name}.partial")
    with WeakFileLock(lock):
        if blob.exists():
            return
        if partial.exists() and metadata.size is not None and partial.stat().st_size > metadata.size:
            partial.unlink()
        with partial.open("ab") as content:
            here = content.tell()
            arrived(here)
            http_get(
                metadata.location,
                content,  # type: ignore[arg-type]
                resume_size=here,
                headers=headers,
                expected_size=metadata.size,
                tqdm_class=_told(arrived, here),
            )
        if not has_hash(partial, blob.name):
            partial.unlink()
            raise LabError(
                asked, f"What arrived of {repository}/{file.filename} is not what the Hub states: it has another hash", "Fetch it again"
            )
        partial.replace(blob)


def has_hash(path: Path, stated: str) -> bool:
    """Whether a file's content has the hash by which the Hub calls it: SHA-256 of large files, git's SHA-1 of small ones."""
    if not re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", stated):
        return True  # another server's name for it, which says nothing
    digest = hashlib.sha256() if len(stated) == 64 else hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while part := file.read(_CHUNK):
            digest.update(part)
    return digest.hexdigest() == stated


def _told(arrived: Callable[[int], Any], start: int) -> Any:
    """A stand-in for the client's progress bar that tells how many bytes of the file are here."""

    class Bar:
        def __init__(self, **_options: Any) -> None:
            self.here = start

        def update(self, n: int) -> None:
            self.here += n
            arrived(self.here)

        def __enter__(self) -> "Bar":
            return self

        def __exit__(self, *_error: object) -> None:
            return None

    return Bar
