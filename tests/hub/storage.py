"""What the test Hub holds, on disk: contents by their hash, repositories with refs and commits.

    blobs/<git oid>                     a plain file
    lfs/<sha256>                        a large file
    repos/<type>/<namespace>/<name>/    repo.json (settings, refs, discussions), commits/<oid>.json (parent, title, date, files)

One lock for all changes; every file is written beside and moved into its place.
"""

import hashlib
import json
import os
import re
import shutil
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

REPO_TYPES = ("model", "dataset", "space")
MAIN = "refs/heads/main"
_LARGE = (
    *(".safetensors", ".npz", ".npy", ".bin", ".pt", ".pth", ".ckpt", ".h5", ".pkl", ".onnx", ".model"),
    *(".parquet", ".arrow", ".gz", ".zip", ".zst", ".png", ".jpg", ".mp4"),
)
_LARGE_BYTES = 10_000_000
_GITATTRIBUTES = "".join(f"*{ending} filter=lfs diff=lfs merge=lfs -text\n" for ending in _LARGE).encode()


@dataclass(frozen=True)
class Entry:
    """One file of one commit; `sha256` if it is a large file, `xet` if its chunks lie in the Xet store."""

    oid: str
    size: int
    sha256: str | None = None
    xet: str | None = None

    @property
    def etag(self) -> str:
        return self.sha256 or self.oid


@dataclass(frozen=True)
class Commit:
    """`oid` is the hash of everything else."""

    oid: str
    parent: str | None
    title: str
    message: str
    author: str
    date: str
    files: dict[str, Entry]


def is_large(path: str, size: int, sample: bytes) -> bool:
    """Whether a file goes to the large file store: by its ending, its size, or because it is not text."""
    return path.endswith(_LARGE) or size > _LARGE_BYTES or b"\0" in sample


def pointer(sha256: str, size: int) -> bytes:
    """What git holds in place of a large file."""
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()


def git_oid(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Storage:
    """The contents of all repositories, and the list of them."""

    def __init__(self, root: Path) -> None:
        self.root, self.lock = root, threading.RLock()
        for folder in ("blobs", "lfs", "incoming", *(f"repos/{kind}" for kind in REPO_TYPES)):
            (root / folder).mkdir(parents=True, exist_ok=True)

    def add_plain(self, content: bytes) -> Entry:
        entry = Entry(git_oid(content), len(content))
        _write(self.root / "blobs" / entry.oid, content)
        return entry

    def add_large(self, content: bytes) -> Entry:
        sha256 = hashlib.sha256(content).hexdigest()
        _write(self.large_path(sha256), content)
        return self.large_entry(sha256, len(content))

    def large_entry(self, sha256: str, size: int, xet: str | None = None) -> Entry:
        return Entry(git_oid(pointer(sha256, size)), size, sha256, xet)

    def large_path(self, sha256: str) -> Path:
        return self.root / "lfs" / sha256

    def path_of(self, entry: Entry) -> Path:
        return self.large_path(entry.sha256) if entry.sha256 else self.root / "blobs" / entry.oid

    def repo(self, kind: str, repo_id: str) -> "Repo | None":
        repo = Repo(self, kind, repo_id)
        return repo if (repo.folder / "repo.json").is_file() else None

    def repos(self, kind: str) -> Iterator["Repo"]:
        for path in sorted((self.root / "repos" / kind).glob("*/*/repo.json")):
            yield Repo(self, kind, f"{path.parent.parent.name}/{path.parent.name}")

    def create(self, kind: str, repo_id: str, *, author: str, date: str | None = None, **settings: Any) -> "Repo":
        """An empty repository: one commit with `.gitattributes`, as the real one makes it."""
        repo, date = Repo(self, kind, repo_id), date or now()
        (repo.folder / "commits").mkdir(parents=True)
        defaults = {
            "private": False,
            "gated": False,
            "accepted": [],
            "sdk": None,
            "by_app": False,
            "refs": {},
            "discussions": [],
            "created_at": date,
        }
        repo.write({**defaults, **settings})
        repo.commit(MAIN, {".gitattributes": self.add_plain(_GITATTRIBUTES)}, "initial commit", author=author, date=date)
        return repo


class Repo:
    """One repository; reads its file anew at each question."""

    def __init__(self, storage: Storage, kind: str, repo_id: str) -> None:
        self.storage, self.kind, self.repo_id = storage, kind, repo_id
        self.folder = storage.root / "repos" / kind / repo_id

    def read(self) -> dict[str, Any]:
        return json.loads((self.folder / "repo.json").read_text())

    def write(self, settings: Mapping[str, Any]) -> None:
        _write(self.folder / "repo.json", json.dumps(settings).encode())

    def change(self, **values: Any) -> None:
        with self.storage.lock:
            self.write({**self.read(), **values})

    def set_ref(self, ref: str, oid: str | None) -> None:
        """Point a ref somewhere; None removes it."""
        refs = {**self.read()["refs"], ref: oid}
        self.change(refs={name: target for name, target in refs.items() if target})

    def oid_of(self, revision: str) -> str | None:
        """The commit that a branch, tag, `refs/…` or (full) commit id names."""
        refs = self.read()["refs"]
        for ref in (f"refs/heads/{revision}", f"refs/tags/{revision}", revision):
            if ref in refs:
                return refs[ref]
        known = re.fullmatch(r"[0-9a-f]{40}", revision) and (self.folder / "commits" / f"{revision}.json").is_file()
        return revision if known else None

    def at(self, oid: str) -> Commit:
        held = json.loads((self.folder / "commits" / f"{oid}.json").read_text())
        return Commit(**{**held, "files": {path: Entry(**entry) for path, entry in held["files"].items()}})

    def history(self, oid: str | None) -> Iterator[Commit]:
        """Newest first."""
        while oid:
            commit = self.at(oid)
            yield commit
            oid = commit.parent

    def commit(
        self, ref: str, files: Mapping[str, Entry], title: str, *, author: str, message: str = "", date: str | None = None
    ) -> Commit:
        """Make `files` the whole content at `ref`."""
        with self.storage.lock:
            held = {"parent": self.read()["refs"].get(ref), "title": title, "message": message, "author": author, "date": date or now()}
            content = {**held, "files": {path: asdict(entry) for path, entry in sorted(files.items())}}
            oid = hashlib.sha1(json.dumps(content).encode()).hexdigest()
            _write(self.folder / "commits" / f"{oid}.json", json.dumps({"oid": oid, **content}).encode())
            self.set_ref(ref, oid)
        return self.at(oid)

    def content(self, revision: str, path: str) -> bytes | None:
        oid = self.oid_of(revision)
        entry = self.at(oid).files.get(path) if oid else None
        return self.storage.path_of(entry).read_bytes() if entry else None

    def delete(self) -> None:
        with self.storage.lock:
            shutil.rmtree(self.folder)


def _write(path: Path, content: bytes) -> None:
    beside = path.with_name(f"{path.name}.{threading.get_ident()}.new")
    beside.write_bytes(content)
    os.replace(beside, path)
