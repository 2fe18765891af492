"""sae-lens's registry of published SAEs, read from the installed package without importing it: no torch, no network.

Its YAML takes most of a second to parse, so what was read is kept as JSON, which takes ten milliseconds.
"""

import json
import os
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lorasae.errors import LabError
from lorasae.home import home

Registry = dict[str, dict[str, Any]]  # release -> its keys, among them `saes`, a list of rows


@cache
def registry() -> Registry:
    """sae-lens's table of releases. Locating the package does not run it, which would take seconds."""
    spec = find_spec("sae_lens")
    if spec is None or spec.origin is None:
        raise LabError("An SAE of sae-lens's registry was asked for", "sae-lens is not installed", "pip install sae-lens")
    return read_registry(Path(spec.origin).with_name("pretrained_saes.yaml"), home() / "cache" / "registry.json")


def read_registry(source: Path, kept: Path) -> Registry:
    """The table in `source`, from `kept` where that was made of this very file; else parsed, and kept there if the disk lets us."""
    stat = source.stat()
    version = [1, str(source), stat.st_size, stat.st_mtime_ns]
    with suppress(OSError, ValueError, KeyError, TypeError):  # not there, or damaged: it is made anew
        content = json.loads(kept.read_bytes())
        if content["version"] == version and all(release["saes"] for release in content["releases"].values()):
            return content["releases"]
    import yaml  # here, because it is seldom needed

    with source.open(encoding="utf-8") as file:
        releases = yaml.load(file, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    _keep(kept, json.dumps({"version": version, "releases": releases}).encode())
    return releases


def _keep(path: Path, content: bytes) -> None:
    """Whole or not at all; a disk that is full or not ours costs time later, nothing else."""
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        try:
            beside.write_bytes(content)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
