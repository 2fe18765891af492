"""The files of a published adapter, made in a folder: what one commit holds. The same run gives the same bytes."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from lorasae.publishing.card import model_card
from lorasae.publishing.pictures import curves_picture, gap_picture
from lorasae.publishing.publication import Publication
from lorasae.sources.catalog import is_folder
from lorasae.store.lineage import OWN_FOLDER

HELDOUT_BYTES = 4_000_000  # of held-out tokens that are published; the first sequences where there are more


def make_package(what: Publication, repo_id: str, folder: Path, checked: dict[str, Any] | None = None) -> list[str]:
    """Write everything a repository holds; returns the names, sorted.

    Args:
        what: The run.
        repo_id: Where it will lie; the card names it.
        folder: An empty folder.
        checked: As in `model_card`.
    """
    run = what.run
    adapter = json.loads((run.adapter / "adapter_config.json").read_text(encoding="utf-8"))
    _write(folder / "adapter_config.json", json.dumps(adapter, indent=2, sort_keys=True))
    shutil.copyfile(run.adapter / "adapter_model.safetensors", folder / "adapter_model.safetensors")
    settings = _without_own_names(what)
    _write(folder / "config.yaml", yaml.safe_dump(settings, sort_keys=False, allow_unicode=True))
    versions = {name: version for name, version in run.described.get("versions", {}).items() if name != "platform"}  # the machine's own
    _write(folder / "lorasae.json", json.dumps({**what.result, "config": settings, "versions": versions}, indent=1))
    _write(folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in what.rows))
    (folder / "heldout.npy").write_bytes(_heldout(run.heldout))
    (folder / "pictures").mkdir()
    (folder / "pictures" / "gap.png").write_bytes(gap_picture(what))
    (folder / "pictures" / "curves.png").write_bytes(curves_picture(what))
    _write(folder / "README.md", model_card(what, repo_id, checked))
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def _without_own_names(what: Publication) -> dict[str, Any]:
    """The settings, without names that only their author has: of a file, or of the run as which a published adapter was opened."""
    settings = what.config.model_dump(mode="json")
    if what.has_own_text:
        settings["data"]["source"] = f"your-text{Path(what.config.data.source).suffix}"
    if is_folder(what.config.adapter.start):
        settings["adapter"]["start"] = OWN_FOLDER
    elif not what.is_opened and what.ancestors and "repo_id" in what.ancestors[0]:  # by whatever name it was called here
        settings["adapter"]["start"] = "{repo_id}@{commit}".format_map(what.ancestors[0])
    return settings


def _heldout(path: Path) -> bytes:
    chunks = np.load(path, allow_pickle=False)
    kept = chunks[: max(1, HELDOUT_BYTES // chunks[0].nbytes)]
    content = io.BytesIO()
    np.save(content, kept, allow_pickle=False)
    return content.getvalue()


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
