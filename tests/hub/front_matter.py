"""The block of YAML at the head of a card, and the tags that the Hub makes of it."""

import json
import re
from typing import Any

import yaml

_BLOCK = re.compile(r"\A\s*---\r?\n(.*?)\r?\n?---(\r?\n|\Z)", re.DOTALL)
_PREFIXED = {"license": "license", "datasets": "dataset", "base_model": "base_model"}
_PLAIN = ("tags", "language", "library_name", "pipeline_tag")


def front_matter(card: bytes | str | None) -> dict[str, Any]:
    """The card's metadata; nothing for a card without any, or with a block that is no mapping."""
    text = card.decode(errors="replace") if isinstance(card, bytes) else card or ""
    block = _BLOCK.match(text)
    try:
        found = yaml.safe_load(block.group(1)) if block else {}
    except yaml.YAMLError:
        found = {}
    # YAML knows dates and sets, JSON does not
    return json.loads(json.dumps(found, default=str)) if isinstance(found, dict) else {}


def complaints(card: str) -> tuple[list[str], list[str]]:
    """What is wrong with a card, and what is only missing."""
    block = _BLOCK.match(card)
    if block is None:
        return [], ["empty or missing yaml metadata in repo card"]
    try:
        found = yaml.safe_load(block.group(1))
    except yaml.YAMLError as error:
        return [f"YAML metadata is not valid: {str(error).splitlines()[0]}"], []
    if found is not None and not isinstance(found, dict):
        return ["YAML metadata must be a mapping"], []
    wrong = [f'"{name}" must be a string or a list of strings' for name in (*_PLAIN, *_PREFIXED) if not _strings((found or {}).get(name))]
    if len((found or {}).get("short_description") or "") > 60:
        wrong.append('"short_description" length must be less than or equal to 60 characters long')
    return wrong, [] if found else ["empty or missing yaml metadata in repo card"]


def tags_of(metadata: dict[str, Any], paths: list[str]) -> list[str]:
    """Every word a repository can be filtered by: the card's own, and what card and files imply."""
    tags = [tag for name in _PLAIN for tag in _listed(metadata.get(name))]
    if any(path.endswith(".safetensors") for path in paths):
        tags.append("safetensors")
    for name, prefix in _PREFIXED.items():
        tags += [f"{prefix}:{value}" for value in _listed(metadata.get(name))]
    relation = metadata.get("base_model_relation") or ("adapter" if "adapter_config.json" in paths else None)
    if relation:
        tags += [f"base_model:{relation}:{base}" for base in _listed(metadata.get("base_model"))]
    return list(dict.fromkeys([*tags, "region:us"]))


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(one) for one in value] if isinstance(value, list) else [str(value)]


def _strings(value: Any) -> bool:
    return value is None or isinstance(value, str) or (isinstance(value, list) and all(isinstance(one, str) for one in value))
