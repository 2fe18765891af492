"""The small records in a run folder: what the run is doing, whose it is, what is pinned to it, and what was wished for it."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from lorasae.config import FORMAT
from lorasae.errors import LabError

State = Literal["created", "running", "succeeded", "stopped", "failed", "interrupted"]
Wish = Literal["keep", "pause"]

MAX_NAME = 200  # characters
MAX_PINNED_TEXT = 2000  # characters
MAX_PINNED_FEATURES = 24
DEFAULT_TEXT = 'Late one morning in winter, Anna was sad. Her red kite was gone. "Have you seen my kite?" asked Anna.'


@dataclass(frozen=True)
class Status:
    """What a run is doing, as the last process to work on it said."""

    state: State = "created"
    phase: str = "waiting"
    step: int = 0
    n_steps: int = 0
    eta_s: float | None = None  # until the run is done; None while nobody can say
    message: str = ""
    pid: int | None = None
    updated: str = ""
    fraction: float | None = None  # of the phase under way, where it can be told
    step_s: float | None = None  # seconds per step, lately
    resumed_from: int | None = None  # the step of the checkpoint it was taken up from


@dataclass(frozen=True)
class About:
    """Whose a run is and how it is called: what may change about it without touching its settings."""

    owner: str
    name: str
    shared: bool
    created: str
    hidden: bool = False  # taken off the list, its folder kept
    submission: str = ""  # the token of the click that started it: a second click with the same token is the same run


@dataclass(frozen=True)
class FeatureRef:
    """One feature of one SAE."""

    release: str
    sae_id: str
    feature: int


@dataclass(frozen=True)
class Pins:
    """What is recorded at every evaluation: features of any SAE of the model, on one text."""

    text: str = DEFAULT_TEXT
    features: tuple[FeatureRef, ...] = ()


def status_from(content: Mapping[str, Any]) -> Status:
    """The status that was written; fields of a later version are passed over."""
    known = {each.name for each in fields(Status)}
    return Status(**{key: value for key, value in content.items() if key in known})


def about_from(content: Mapping[str, Any]) -> About:
    """The record that was written; fields of a later version are passed over.

    Raises:
        LabError: If it does not say whose run it is.
    """
    known = {each.name for each in fields(About)}
    try:
        return About(**{key: value for key, value in content.items() if key in known})
    except TypeError:
        raise LabError("A run was asked for", "Its about.json is damaged", "Delete about.json: the run is then the local owner's") from None


def pins_from(content: Any) -> Pins:
    """Pins from JSON, whoever sent it.

    Raises:
        LabError: If they are of another form, or too many.
    """
    asked = "Features to record were given"
    if not isinstance(content, Mapping) or not isinstance(content.get("features", []), (list, tuple)):
        raise LabError(asked, "They are not of the form text and features", "Pin features in the inspector")
    text, features = content.get("text", DEFAULT_TEXT), content.get("features", [])
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_PINNED_TEXT:
        raise LabError(asked, f"Their text is empty, or longer than {MAX_PINNED_TEXT} characters", "Give a sentence or two")
    if len(features) > MAX_PINNED_FEATURES:
        raise LabError(asked, f"There are {len(features)} of them, recorded are up to {MAX_PINNED_FEATURES}", "Unpin some")
    return Pins(text, tuple(dict.fromkeys(_feature_from(asked, each) for each in features)))


def _feature_from(asked: str, content: Any) -> FeatureRef:
    values = [content.get(key) for key in ("release", "sae_id", "feature")] if isinstance(content, Mapping) else []
    match values:
        case [str(release), str(sae_id), int(feature)] if feature >= 0 and not isinstance(feature, bool) and len(release + sae_id) < 500:
            return FeatureRef(release, sae_id, feature)
    raise LabError(asked, "One of them is not release, sae_id and feature", "Pin features in the inspector")


def pins_to_json(pins: Pins) -> dict[str, Any]:
    """The pins as they are stored and sent."""
    return {"text": pins.text, "features": [asdict(each) for each in pins.features]}


def checked_name(name: str) -> str:
    """A name for a run, on one line.

    Raises:
        LabError: If it is too long.
    """
    name = " ".join(name.split())
    if len(name) > MAX_NAME:
        raise LabError("A name for a run was given", f"It has {len(name)} characters, {MAX_NAME} are kept", "Shorten it")
    return name


def read_record(folder: Path, name: str) -> dict[str, Any]:
    """A JSON file of a run folder.

    Raises:
        LabError: If it is not there, damaged, or written by a newer version.
    """
    asked = f"The run {folder} was asked for"
    try:
        content = json.loads((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LabError(asked, f"It has no {name}", "Give the folder of a run") from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        content = None
    if not isinstance(content, dict) or (name == "config.json" and not isinstance(content.get("config"), dict)):
        raise LabError(asked, f"Its {name} is damaged", "Start the run again from its settings")
    if content.get("format", FORMAT) > FORMAT:
        found = f"It was written by a newer version (format {content['format']}; this one reads up to {FORMAT})"
        raise LabError(asked, found, "Update LoRA-SAE Lab")
    return content
