"""Checksums of the stored assets: sha256 and size of every file, written by the build and checked before anything is trusted."""

import hashlib
import json
from pathlib import Path
from typing import TypedDict

NAME = "checksums.json"


class File(TypedDict):
    """What is noted of a file."""

    bytes: int
    sha256: str


def write(folder: Path) -> int:
    """Note every file below the folder; total size in bytes."""
    files: dict[str, File] = {path: fingerprint(folder / path) for path in _files(folder)}
    (folder / NAME).write_text(json.dumps(files, indent=1) + "\n")
    return sum(file["bytes"] for file in files.values())


def differences(folder: Path) -> list[str]:
    """One line per file that is missing, changed or not in the list; empty if all is well."""
    noted = json.loads((folder / NAME).read_text())
    present = _files(folder)
    missing = [f"{path} is missing" for path in noted if path not in present]
    unknown = [f"{path} is not in {NAME}" for path in present if path not in noted]
    changed = [f"{path} has changed" for path in present if path in noted and fingerprint(folder / path) != noted[path]]
    return missing + unknown + changed


def fingerprint(path: Path) -> File:
    """Size and sha256 of one file."""
    content = path.read_bytes()
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def _files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name != NAME)
