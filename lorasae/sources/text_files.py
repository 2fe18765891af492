"""Text in files of two kinds: .txt, with documents between blank lines, and .jsonl, one object a line. No torch."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lorasae.errors import LabError

SUFFIXES = (".txt", ".jsonl")


def refuse_other_files(asked: str, suffix: str) -> None:
    """Refuse what is not read at all, by the ending of its name."""
    if suffix not in SUFFIXES:
        found = f"Files ending in {suffix or 'nothing'} are not read"
        raise LabError(asked, found, "Give a .txt file (documents between blank lines) or .jsonl")


def file_documents(path: Path, column: str) -> Iterator[str]:
    """The documents of a file.

    Raises:
        LabError: If it is missing, empty, binary, of another kind, or has no text under `column`.
    """
    asked = f"Text from the file {path} was asked for"
    if not path.is_file():
        raise LabError(asked, "There is no such file", "Check the path, or give `pocket` or a dataset id")
    refuse_other_files(asked, path.suffix)
    if path.stat().st_size == 0:
        raise LabError(asked, "The file is empty", "Give a file with text in it")
    try:
        with path.open(encoding="utf-8-sig") as lines:  # a byte-order mark is no text
            yield from _column(lines, column, asked) if path.suffix == ".jsonl" else paragraphs(lines, asked)
    except UnicodeDecodeError as error:
        raise LabError(asked, f"It is not UTF-8 text ({error.reason})", "Give plain text, saved as UTF-8") from None


def paragraphs(lines: Iterable[str], asked: str) -> Iterator[str]:
    """What stands between blank lines."""
    paragraph: list[str] = []
    for line in lines:
        if "\0" in line:
            raise LabError(asked, "It holds zero bytes: a binary file, not text", "Give plain text, saved as UTF-8")
        if line.strip():
            paragraph.append(line)
        elif paragraph:
            yield "".join(paragraph).rstrip("\n")
            paragraph = []
    if paragraph:
        yield "".join(paragraph).rstrip("\n")


def json_rows(lines: Iterable[str], asked: str) -> Iterator[tuple[int, Any]]:
    """What stands on each line that is not blank, with the line's number."""
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                yield number, json.loads(line)
            except json.JSONDecodeError as error:
                raise LabError(asked, f"Line {number} is not JSON ({error.msg})", "Give one JSON object per line") from None


def _column(lines: Iterable[str], column: str, asked: str) -> Iterator[str]:
    for number, row in json_rows(lines, asked):
        text = row.get(column) if isinstance(row, dict) else None
        if not isinstance(text, str):
            there = ", ".join(row) if isinstance(row, dict) else type(row).__name__
            found = f"Line {number} has no text under {column!r}; it has: {there}"
            raise LabError(asked, found, "Set data.column to the field with the text")
        yield text
