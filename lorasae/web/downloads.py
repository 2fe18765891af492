"""What a run leaves, to take away: metrics as a table or as JSON, settings, result, log, adapter. Always a file, never shown as a page."""

import io
import zipfile
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import yaml
from fastapi import FastAPI
from starlette.responses import Response, StreamingResponse

from lorasae.redaction import redacted
from lorasae.store.charts import columns_of, csv_lines
from lorasae.store.metrics_file import rows_in
from lorasae.store.run_folder import Run
from lorasae.web.access import Looked, Unknown
from lorasae.web.answers import encoded

_BLOCK_CHARACTERS = 64_000
Content = Iterator[str] | Iterator[bytes]


def add_download_routes(app: FastAPI) -> None:
    """`/lab/runs/{id}/files/{name}`."""

    @app.get("/lab/runs/{run_id}/files/{name}")
    def download(run: Looked, name: str) -> Response:
        if name not in FILES:
            raise Unknown("A file of the run was asked for", "There is none of that name", f"There are: {', '.join(FILES)}")
        media_type, made = FILES[name]
        content = _begun(made(run))
        headers = {"content-disposition": f'attachment; filename="{run.run_id}-{name}"', "cache-control": "no-store"}
        return StreamingResponse(content, media_type=media_type, headers=headers)


def _begun(content: Content) -> Content:
    """The content with its first piece made: a problem is told before anything is sent."""
    first = next(iter(content), "")
    return chain([first], content)  # type: ignore[return-value]


def _metrics_csv(run: Run) -> Content:
    columns = columns_of(key for rows in rows_in(run.metrics_file) for row in rows for key in row)
    return _blocks(csv_lines((row for rows in rows_in(run.metrics_file) for row in rows), columns))


def _metrics_json(run: Run) -> Content:
    def parts() -> Iterator[str]:
        before = "[\n"
        for rows in rows_in(run.metrics_file):
            for row in rows:
                yield before + encoded(row).decode()
                before = ",\n"
        yield "\n]\n" if before == ",\n" else "[]\n"

    return _blocks(parts())


def _config_yaml(run: Run) -> Content:
    settings = run.config.model_dump(mode="json")
    yield "# The settings of a run of LoRA-SAE Lab. To run it again: python -m lorasae adapt FILE\n"
    yield yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)


def _result(run: Run) -> Content:
    if not run.has_result:
        raise Unknown("The result of the run was asked for", "It has none yet", "Let the run finish, or stop it and keep what it has")
    yield encoded(run.result)


def _log(run: Run) -> Content:
    try:
        with run.log.open(encoding="utf-8", errors="replace") as lines:
            yield from _blocks(redacted(line) for line in lines)
    except FileNotFoundError:
        yield ""


def _adapter_zip(run: Run) -> Content:
    """The adapter in PEFT format, the result beside it. Weights do not compress: they are stored as they are."""
    inside = sorted(path for path in run.adapter.glob("*") if path.is_file() and not path.is_symlink())
    if not inside:
        raise Unknown("The adapter of the run was asked for", "It has none yet", "Let the run finish, or stop it and keep what it has")
    return _zipped([(path, f"{run.run_id}/{path.name}") for path in (*inside, run.folder / "lorasae.json") if path.is_file()])


def _zipped(files: list[tuple[Path, str]]) -> Iterator[bytes]:
    written = _Written()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_STORED) as archive:  # type: ignore[arg-type]  # it only ever writes
        for path, name in files:
            with path.open("rb") as source, archive.open(zipfile.ZipInfo(name), "w", force_zip64=True) as target:
                while piece := source.read(1_000_000):
                    target.write(piece)
                    yield written.taken()
    yield written.taken()


class _Written(io.RawIOBase):
    """What an archive has written and nobody has taken yet: an adapter of gigabytes never lies in memory."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._pieces.append(bytes(piece))
        return len(piece)

    def taken(self) -> bytes:
        content = b"".join(self._pieces)
        self._pieces.clear()
        return content


def _blocks(lines: Iterator[str]) -> Iterator[str]:
    """Lines put together, so that each is not a message of its own."""
    block: list[str] = []
    size = 0
    for line in lines:
        block.append(line)
        size += len(line)
        if size >= _BLOCK_CHARACTERS:
            yield "".join(block)
            block, size = [], 0
    yield "".join(block)


FILES: dict[str, tuple[str, Callable[[Run], Content]]] = {
    "metrics.csv": ("text/csv", _metrics_csv),
    "metrics.json": ("application/json", _metrics_json),
    "config.yaml": ("application/yaml", _config_yaml),
    "lorasae.json": ("application/json", _result),
    "run.log": ("text/plain", _log),
    "adapter.zip": ("application/zip", _adapter_zip),
}
