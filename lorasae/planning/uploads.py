"""Text that people bring: checked, and kept as HOME/uploads/OWNER/NAME.HASH.txt, .jsonl or .csv. And which files here a run may name."""

import hashlib
import io
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from lorasae.config import RunConfig
from lorasae.errors import LabError
from lorasae.identity import LOCAL_OWNER, refuse_nobody
from lorasae.sources.catalog import is_folder
from lorasae.sources.text_files import SUFFIXES, file_documents, paragraphs, refuse_other_files, rows
from lorasae.store.durable import replace_file

MAX_BYTES = 20_000_000
_BYTES_PER_TOKEN = 4  # about, as in English
MAX_FILES = 20  # of one visitor


@dataclass(frozen=True)
class Upload:
    """A text that was kept."""

    path: Path
    name: str
    n_bytes: int
    n_documents: int
    columns: tuple[str, ...]  # of a table: the fields that hold text; the first one is used unless another is chosen


def keep(home: Path, owner: str, name: str, content: bytes) -> Upload:
    """Check a file and keep it; the same content is kept once.

    Raises:
        LabError: If it is no UTF-8 text, JSON Lines or CSV, is empty or too large, or the owner may keep no more.
    """
    asked = f"The file {name[:120]!r} was given as text"
    suffix = Path(name).suffix.lower()
    refuse_other_files(asked, suffix)
    if len(content) > MAX_BYTES:
        found = f"It has {len(content) / 1e6:.0f} MB, more than {MAX_BYTES // 1_000_000}"
        raise LabError(asked, found, "Give a part of it: 1 MB is enough for some 250,000 tokens")
    refuse_nobody(asked, owner)
    text = _text(asked, content)
    n_documents, columns = (sum(1 for _ in paragraphs(text.splitlines(), asked)), ()) if suffix == ".txt" else _table(asked, text, suffix)
    folder = home / "uploads" / owner
    ending = f".{hashlib.sha256(content).hexdigest()[:16]}{suffix}"
    path = next(folder.glob(f"*{ending}"), folder / f"{_plain(name)}{ending}")
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        if owner != LOCAL_OWNER and len(list(folder.iterdir())) >= MAX_FILES:
            raise LabError(asked, f"There are {MAX_FILES} texts of yours already", "Use one of them, or the pocket world")
        replace_file(path, content)
    return Upload(path, name, len(content), n_documents, columns)


def _plain(name: str) -> str:
    """A file's name without its ending, of characters that mean nothing to any disk, shell or page."""
    return re.sub(r"[^A-Za-z0-9-]+", "_", Path(name).stem).strip("_")[:40] or "text"


def _text(asked: str, content: bytes) -> str:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabError(asked, f"It is not UTF-8 text (byte {error.start}: {error.reason})", "Give plain text, saved as UTF-8") from None
    if not text.strip():
        raise LabError(asked, "It is empty", "Give a file with text in it")
    return text


def _table(asked: str, text: str, suffix: str) -> tuple[int, tuple[str, ...]]:
    """How many rows there are, and the fields that hold text in every one of them: `text` first, then those with most of it."""
    n_characters: dict[str, int] | None = None
    n_rows = 0
    for number, row in rows(io.StringIO(text, newline="" if suffix == ".csv" else None), suffix, asked):
        if not isinstance(row, dict):
            raise LabError(asked, f"Line {number} is no JSON object", 'Write each line as {"text": "…"}')
        texts = {key: len(value) for key, value in row.items() if isinstance(value, str)}
        before = texts if n_characters is None else n_characters
        n_characters = {key: before[key] + (n if n_rows else 0) for key, n in texts.items() if key in before}
        n_rows += 1
        if not n_characters:
            raise LabError(asked, f"Up to line {number} no field holds text in every line", 'Write each line as {"text": "…"}')
    if not n_characters:
        raise LabError(
            asked, "It holds no row", "Give rows under a line of names" if suffix == ".csv" else 'Write each line as {"text": "…"}'
        )
    return n_rows, tuple(sorted(n_characters, key=lambda key: (key != "text", -n_characters[key])))


def refuse_too_little_text(config: RunConfig) -> None:
    """A text file must be able to fill one sequence to train on and another to measure on. To be asked after `refuse_foreign_files`.

    Raises:
        LabError: If it cannot, is not there, or holds no text as the config reads it.
    """
    path = Path(config.data.source).expanduser()
    if path.suffix not in SUFFIXES:
        return
    length = config.data.context_length
    try:
        found = path.stat()
    except OSError:
        n_documents, n_bytes = _beginning(path, config.data.column, 0, 0, 0)  # which says what is wrong with it
    else:
        if found.st_size > MAX_BYTES:
            return
        enough = 2 * length * _BYTES_PER_TOKEN
        n_documents, n_bytes = _beginning(path, config.data.column, enough, found.st_mtime_ns, found.st_size)
    n_tokens = n_bytes // _BYTES_PER_TOKEN
    if n_documents > 1 and n_tokens >= 2 * length:
        return
    amount = f"{n_bytes:,} bytes of text in {n_documents:,} document{'' if n_documents == 1 else 's'}: about {n_tokens:,} tokens"
    raise LabError(
        f"The text {shown_name(path)} was given",
        f"It has {amount}. A run needs documents to train on and others to measure on, {length:,} tokens each at least",
        "Give more text, or fewer tokens per sequence"
        if n_documents > 1
        else "Give more documents: they are separated by blank lines in .txt files, and by rows in .jsonl and .csv files",
    )


@lru_cache(maxsize=64)
def _beginning(path: Path, column: str, enough: int, _changed: int, _size: int) -> tuple[int, int]:
    """How many documents and bytes of text a file has; read no further than to the second document and `enough` bytes."""
    n_documents = n_bytes = 0
    for document in file_documents(path, column):
        if document.strip():
            n_documents, n_bytes = n_documents + 1, n_bytes + len(document.encode("utf-8", "replace"))
        if n_documents > 1 and n_bytes >= enough:
            break
    return n_documents, n_bytes


def shown_name(path: Path) -> str:
    """A text's name as its owner knows it: of an upload without the hash."""
    return re.sub(r"\.[0-9a-f]{16}(?=\.\w+$)", "", path.name)


def refuse_foreign_files(config: RunConfig, owner: str, home: Path) -> None:
    """A visitor's run may name what is built in, what is on the Hub, and the visitor's own uploads; the local owner's may name any file.

    Raises:
        LabError: If the config names a folder or file of this machine that is not the visitor's.
    """
    if owner == LOCAL_OWNER:
        return
    names = {"model.model": config.model.model, **{f"saes.{index}": ref.release for index, ref in enumerate(config.saes)}}
    for setting, name in names.items():
        if _is_of_this_machine(name):
            raise _foreign(setting, name)
    for ref in config.saes:
        if ".." in Path(ref.sae_id).parts or Path(ref.sae_id).is_absolute():
            raise _foreign("sae_id", ref.sae_id)
    source = config.data.source
    if _is_own_upload(source, home / "uploads" / owner):
        return
    if source != "pocket" and (_is_of_this_machine(source) or Path(source).suffix in SUFFIXES):
        raise _foreign("data.source", source)


def _is_own_upload(source: str, folder: Path) -> bool:
    try:
        return Path(source).resolve().parent == folder.resolve() and Path(source).is_file()
    except (OSError, ValueError):
        return False


def _is_of_this_machine(name: str) -> bool:
    if name.startswith(("/", "~", ".", "\\")) or ".." in name or "\0" in name or ":" in name:
        return True
    try:
        return name not in ("pocket", "pocket-scope") and (is_folder(name) or Path(name).exists())
    except (OSError, ValueError):
        return True


def _foreign(setting: str, name: str) -> LabError:
    return LabError(
        f"{setting} = {name[:120]!r} was given",
        "In this lab, visitors cannot name files of the machine it runs on",
        "Choose what is built in, a name on the Hub, or upload your text",
    )
