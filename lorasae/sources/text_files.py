"""Text in files of three kinds, without torch: .txt (documents between blank lines), .jsonl (one object a line), .csv (a line of names)."""

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from lorasae.errors import LabError

SUFFIXES = (".txt", ".jsonl", ".csv")


def refuse_other_files(asked: str, suffix: str) -> None:
    """Refuse what is not read at all, by the ending of its name."""
    if suffix not in SUFFIXES:
        found = f"Files ending in {suffix or 'nothing'} are not read"
        raise LabError(asked, found, "Give a .txt file (documents between blank lines), .jsonl or .csv")


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
        with path.open(encoding="utf-8-sig", newline="" if path.suffix == ".csv" else None) as lines:  # a byte-order mark is no text
            yield from paragraphs(lines, asked) if path.suffix == ".txt" else _column(rows(lines, path.suffix, asked), column, asked)
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


def rows(lines: Iterable[str], suffix: str, asked: str) -> Iterator[tuple[int, Any]]:
    """What a table of either kind holds, row by row, with the number of the line that it ends on.

    Raises:
        LabError: For a line that is not of its kind.
    """
    yield from csv_rows(lines, asked) if suffix == ".csv" else json_rows(lines, asked)


def csv_rows(lines: Iterable[str], asked: str) -> Iterator[tuple[int, dict[str, str]]]:
    """The rows under a first line of names; quoted fields may hold commas and line breaks. `lines` keep their own line ends."""
    reader = csv.reader(lines, strict=True)
    names: list[str] = []
    try:
        for fields in reader:
            if not fields:
                continue
            if not names:
                names = fields
                if twice := sorted({name for name in names if names.count(name) > 1}):
                    raise LabError(asked, f"Two of its columns are called {twice[0]!r}", "Give each column a name of its own")
            elif len(fields) != len(names):
                found = f"Line {reader.line_num} has {len(fields)} fields, the first line names {len(names)}"
                raise LabError(asked, found, "Separate fields by commas, and put those that hold commas or line breaks in double quotes")
            else:
                yield reader.line_num, dict(zip(names, fields, strict=True))
    except csv.Error as error:
        found = f"Line {reader.line_num} is not CSV ({error})"
        raise LabError(
            asked, found, "Write each row as fields separated by commas, a document of more than 100,000 characters as .jsonl"
        ) from None


def _column(table: Iterable[tuple[int, Any]], column: str, asked: str) -> Iterator[str]:
    for number, row in table:
        text = row.get(column) if isinstance(row, dict) else None
        if not isinstance(text, str):
            there = ", ".join(row) if isinstance(row, dict) else type(row).__name__
            found = f"Line {number} has no text under {column!r}; it has: {there}"
            raise LabError(asked, found, "Set data.column to the field with the text")
        yield text
