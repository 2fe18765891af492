"""Which text file a run was trained on: noted when it is read, compared before the run goes on. Text from elsewhere is not noted here."""

import hashlib
import json
from pathlib import Path

from lorasae.config import RunConfig
from lorasae.sources.catalog import is_folder
from lorasae.store.durable import write_json
from lorasae.store.run_folder import Run


def record_source(run: Run, config: RunConfig) -> None:
    """Note size, time and content of the file that `data.source` names, if it names one."""
    path = Path(config.data.source).expanduser()
    if config.data.source != "pocket" and path.is_file() and not _record(run).exists():
        write_json(_record(run), {"path": str(path.resolve()), **_look(path), "sha256": _sha256(path)})


def source_changed(run: Run, config: RunConfig) -> str | None:
    """Why the run cannot read again what it read before, as a sentence; None if it can, or nothing is known."""
    for name in (config.model.model, *(ref.release for ref in config.saes)):
        if name.startswith("/") and not is_folder(name):
            return f"The folder {name} is not there any more"
    try:
        noted = json.loads(_record(run).read_text(encoding="utf-8"))
        path = Path(noted["path"])
        if not path.is_file():
            return f"The text {path.name} is not there any more"
        same = _look(path) == {key: noted[key] for key in ("n_bytes", "mtime_ns")} or _sha256(path) == noted["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return None if same else f"The text {path.name} is not what it was when the run started"


def _record(run: Run) -> Path:
    return run.folder / "source.json"


def _look(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {"n_bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
