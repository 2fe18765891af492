"""A config as text that people copy: YAML, the command line, and what differs from a preset. Everything here can be read back."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from lorasae.config import RunConfig, SAERef, overlay, run_config
from lorasae.errors import LabError
from lorasae.planning.flags import FLAGS

CHOICES = ("name", "model.model", "model.revision", "saes", "data.source", "data.config_name", "data.split", "data.column")
"""Settings that say what is adapted and on which text; a preset is about all the others: how."""

_FLAGS = {flag.setting: flag for flag in FLAGS}


@dataclass(frozen=True)
class Difference:
    """A setting that is not what the preset has."""

    setting: str
    preset: Any
    value: Any


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings under dotted names, in order."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= {f"{name}.{inner}": each for inner, each in value.items()} if isinstance(value, Mapping) else {name: value}
    return found


def nested(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The opposite of `flat`."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        section, dot, inner = name.partition(".")
        found = overlay(found, {section: {inner: value}} if dot else {section: value})
    return found


def preset_settings(preset: str) -> dict[str, Any]:
    """Every setting of a preset, by dotted name, as JSON has it."""
    return flat(run_config({}, preset).model_dump(mode="json"))


def differences(config: RunConfig, preset: str) -> list[Difference]:
    """How the config goes about it otherwise than its preset; what is adapted, and on which text, is not compared."""
    of_preset = preset_settings(preset)
    settings = flat(config.model_dump(mode="json"))
    return [
        Difference(name, of_preset[name], value) for name, value in settings.items() if name not in CHOICES and value != of_preset[name]
    ]


def yaml_of(config: RunConfig) -> str:
    """Every setting of the config as YAML, which `python -m lorasae adapt FILE` and the page both read."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def config_of_yaml(text: str) -> RunConfig:
    """The config that a YAML or JSON text holds; what it leaves out is as in the default preset.

    Raises:
        LabError: If it is not YAML, holds no settings, or holds one that is unknown or out of range. Nothing is passed over.
    """
    asked = "Settings were given as YAML"
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise LabError(asked, f"It is not YAML{where}", "Correct it there") from None
    if not isinstance(values, dict) or not values:
        raise LabError(asked, "It holds no settings", "Write them as `section:` and `name: value`, as the text on this page does")
    if isinstance(values.get("config"), dict) and "format" in values:  # config.json or lorasae.json of a run
        values = values["config"]
    return run_config(values)


def command_line(config: RunConfig, preset: str = "default") -> str:
    """The shell command that starts the same run from a terminal: the preset, and what differs from it.

    A run that begins with an adapter would take what is not said from that adapter's run: there everything about model, SAE, adapter and
    text is said.
    """
    words = ["python", "-m", "lorasae", "adapt"]
    if preset != "default":
        words.append(f"--preset={preset}")
    of_preset = preset_settings(preset)
    for name, value in flat(config.model_dump(mode="json")).items():
        said = config.adapter.start and name.startswith(("model.", "saes", "adapter.", "data."))
        if value == of_preset[name] and not said:
            continue
        if name == "saes":
            words += _sae_words(config.saes)
        elif name in _FLAGS and value is not None:
            words.append(f"--{_FLAGS[name].name}={value if _FLAGS[name].is_word else _inline(value)}")
        else:
            words.append(f"--set={name}={_inline(value)}")
    return " ".join(map(shlex.quote, words))


def _sae_words(saes: tuple[SAERef, ...]) -> list[str]:
    if any(not part or part.startswith("-") for ref in saes for part in (ref.release, ref.sae_id or "x")):
        return [f"--set=saes={_inline([ref.model_dump() for ref in saes])}"]
    return [word for ref in saes for word in ("--sae", ref.release, *([ref.sae_id] if ref.sae_id else []))]


def _inline(value: Any) -> str:
    """A value as YAML on one line."""
    return (
        yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=float("inf")).strip(" \n").removesuffix("...").strip(" \n")
    )
