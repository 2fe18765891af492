"""Files that are either whole or not there, whatever happens to the process that writes them."""

import json
import os
from pathlib import Path
from typing import Any


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write JSON so that a reader sees the old content or the new."""
    replace_file(path, (json.dumps(content, indent=2) + "\n").encode())


def replace_file(path: Path, content: bytes) -> None:
    """Write so that a crash at any instant leaves the old content or the new, never a part."""
    beside = path.with_name(path.name + ".tmp")
    write_durably(beside, content)
    beside.replace(path)


def write_durably(path: Path, content: bytes) -> None:
    """Write and wait until the disk has it."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` outlive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def json_lines(path: Path) -> list[dict[str, Any]]:
    """The rows of a file that is appended to, oldest first; one cut off by a crash or damaged since is left out."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    rows = []
    for line in content.splitlines():
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):  # of JSON and of UTF-8 alike, or a stranger's
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows
