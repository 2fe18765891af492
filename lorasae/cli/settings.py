"""Settings as they are typed: a preset, a YAML file, flags."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from lorasae.config import PRESETS, RunConfig, SAERef, overlay, run_config
from lorasae.errors import LabError
from lorasae.home import home
from lorasae.identity import LOCAL_OWNER
from lorasae.planning.config_text import nested
from lorasae.planning.continuing import with_start
from lorasae.planning.flags import FLAGS
from lorasae.sources.known_datasets import known_dataset
from lorasae.store.runs import RunStore


def add_settings(parser: argparse.ArgumentParser) -> None:
    """The options that `config_from` reads, but for `--rank`, which a sweep takes several of."""
    parser.add_argument("config", nargs="?", help="YAML file with settings")
    parser.add_argument("--preset", default="default", help=f"settings to start from: {', '.join(PRESETS)}")
    parser.add_argument("--sae", nargs="+", action="append", metavar=("RELEASE", "SAE_ID"), help="an SAE; may be given several times")
    for flag in FLAGS:
        if flag.name != "rank":
            parser.add_argument(f"--{flag.name}", help=f"{flag.help} ({flag.setting})")
    parser.add_argument("--set", action="append", metavar="SETTING=VALUE", help="any other setting, e.g. train.weight_decay=0.01")


def config_from(options: argparse.Namespace) -> RunConfig:
    """The preset, then the YAML file, then the flags, each laid over the one before."""
    values: dict[str, Any] = {}
    if options.config:
        values = _read_yaml(Path(options.config))
    if options.sae:
        values = overlay(values, {"saes": [sae_ref(names).model_dump() for names in options.sae]})
    for flag in FLAGS:
        if (typed := getattr(options, flag.name, None)) is not None:
            value = typed if flag.is_word else yaml_value(f"--{flag.name} {typed}", typed)
            values = overlay(values, nested({flag.setting: value}))
    if getattr(options, "data", None) and (known := known_dataset(options.data)):
        values = overlay(values, {"data": known.settings})
    for assignment in options.set or ():
        setting, equals, value = assignment.partition("=")
        if not equals:
            raise LabError(f"--set {assignment} was given", "It has no =", "Write it as --set train.weight_decay=0.01")
        values = overlay(values, nested({setting: yaml_value(f"--set {assignment}", value)}))
    if start := overlay({"adapter": {"start": ""}}, values)["adapter"]["start"]:
        from huggingface_hub import HfApi

        values = with_start(str(start), values, LOCAL_OWNER, RunStore(home()), HfApi())
    return run_config(values, options.preset)


def sae_ref(names: Sequence[str]) -> SAERef:
    """`RELEASE SAE_ID`, or a local folder alone."""
    if len(names) > 2:
        asked = f"The SAE {' '.join(names)} was asked for"
        raise LabError(
            asked, "It has more than two parts", "Give a release and an id; write a settings file or run before --sae and --also"
        )
    return SAERef(release=names[0], sae_id=names[1] if len(names) > 1 else "")


def yaml_value(asked: str, text: str) -> Any:
    """What a text is in YAML: a number, a word, a list."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise LabError(
            f"{asked} was given", f"{text!r} is not a value in YAML", "Write a number, a word, or a list such as [3, 4]"
        ) from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise LabError(f"The settings in {path} were asked for", "There is no such file", "Check the path") from None
    except OSError as error:
        raise LabError(f"The settings in {path} were asked for", f"It cannot be read: {error.strerror}", "Give a YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise LabError(f"The settings in {path} were asked for", f"It is not YAML{where}", "Correct the file") from None
    if not isinstance(values, dict):
        raise LabError(f"The settings in {path} were asked for", "It holds no settings", "Write them as `section:` and `name: value`")
    return values
