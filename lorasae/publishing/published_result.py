"""What is believed of a published result: the fields that pages, inspection and cards read, of the types and sizes that they count on.

Whatever else a stranger's lorasae.json holds is left behind. Nothing here imports torch.
"""

import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.lib import format as npy
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from lorasae.config import FORMAT
from lorasae.errors import LabError
from lorasae.sources.hub_names import LICENCE, REPO_ID
from lorasae.store.lineage import MOST_ANCESTORS
from lorasae.store.run_folder import EXAMPLE_ID, RUN_ID

MOST_HELDOUT_BYTES = 64_000_000
MOST_BYTES = {  # of one file; a published run's own are far below
    "lorasae.json": 1_000_000,
    "adapter_config.json": 1_000_000,
    "metrics.jsonl": 50_000_000,
    "heldout.npy": MOST_HELDOUT_BYTES + 10_000,  # and its header
}
MOST_TOKENS = 2**24  # in any vocabulary
_REMEDY = "Publish it again, or open another"
_MEASURED = ("ce_original", "ce_gap_before", "ce_gap_after", "gap_closed")  # whoever shows a result counts on these

_Name = Annotated[
    str, StringConstraints(max_length=300, pattern=r"""^[^\x00-\x1f\x7f"'`\\]*$""")
]  # it may come to stand in lines of Python
_Sentence = Annotated[str, StringConstraints(max_length=500, pattern=r"^[^\x00-\x1f\x7f]*$")]  # shown, never run
_Word = Annotated[str, StringConstraints(max_length=200, pattern=r"^[A-Za-z0-9_.]+$")]
_Number = Annotated[float, Field(ge=-1e12, le=1e12, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=0, le=10**15)]
_TokenIds = Annotated[list[Annotated[int, Field(ge=0, lt=MOST_TOKENS)]], Field(max_length=10_000)]


class _Believed(BaseModel):
    model_config = ConfigDict(strict=True, extra="ignore", hide_input_in_errors=True)


class _Measured(_Believed):
    value: _Number | None
    standard_error: _Number | None


def _finite(value: Any) -> Any:
    """An SAE that nothing fired in has no share of variance: our own files say NaN there."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


_Share = Annotated[_Number | None, BeforeValidator(_finite)]


class _Activity(_Believed):
    l0: _Share = None
    fve: _Share = None
    dead_fraction: _Share = None


class _SAE(_Believed):
    release: Annotated[_Name, StringConstraints(min_length=1)]
    sae_id: _Name
    revision: Annotated[str, StringConstraints(max_length=300)] | None = None
    hook_point: Annotated[str, StringConstraints(pattern=r"^blocks\.[0-9]{1,4}\.[a-z_.]{1,40}$")]
    module: _Word
    side: Literal["input", "output"]
    normalisation: _Word
    d_in: Annotated[int, Field(ge=1, le=2**20)]
    d_sae: Annotated[int, Field(ge=1, le=2**26)]
    stated: _Activity | None = None
    original: _Activity | None = None
    adapted_sae: _Activity | None = None


class _SpecialTokens(_Believed):
    bypassed: _TokenIds
    unscored: _TokenIds


class _Heldout(_Believed):
    n_sequences: _Count
    n_tokens: _Count
    file: Literal["heldout.npy"] = "heldout.npy"


class _Ancestor(_Believed):
    """An adapter that this one was before (store/lineage.py)."""

    repo_id: Annotated[str, StringConstraints(max_length=200, pattern=rf"^{REPO_ID}$")] | None = None
    commit: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")] | None = None
    licence: Annotated[str, StringConstraints(pattern=rf"^{LICENCE}$")] | None = None
    run_id: Annotated[str, StringConstraints(pattern=rf"^({RUN_ID.pattern}|{EXAMPLE_ID})$")] | None = None
    others: bool = False
    folder: Annotated[str, StringConstraints(max_length=300)] | None = None

    @model_validator(mode="after")
    def _of_a_commit(self) -> "_Ancestor":
        if (self.repo_id is None) != (self.commit is None):
            raise ValueError("a repository goes with its commit")
        return self


class _Origin(_Ancestor):
    before: Annotated[list[_Ancestor], Field(max_length=MOST_ANCESTORS)] = []


class _Start(_Origin):
    sha256: _Word | None = None


class _Result(_Believed):
    run_id: Annotated[str, StringConstraints(pattern=rf"^{RUN_ID.pattern}$")]
    step: _Count
    n_steps: _Count
    config: dict[str, Any]
    model_revision: _Name | None = None
    saes: Annotated[list[_SAE], Field(min_length=1, max_length=64)]
    special_tokens: _SpecialTokens
    heldout: _Heldout
    corpus: _Name | None = None
    start: _Start | None = None
    origin: _Origin | None = None
    way: _Sentence | None = None
    seconds: Annotated[dict[_Word, _Number], Field(max_length=10)] = {}
    results: Annotated[dict[_Word, _Measured], Field(max_length=200)]
    versions: Annotated[dict[_Name, _Name | None], Field(max_length=200)] = {}

    @model_validator(mode="after")
    def _has_what_is_shown(self) -> "_Result":
        if lacking := [name for name in _MEASURED if name not in self.results]:
            raise ValueError(f"results lacks {', '.join(lacking)}")
        if self.results["ce_original"].value is None:
            raise ValueError("results.ce_original has no value")
        return self


def believed(asked: str, stated: Any) -> dict[str, Any]:
    """What is kept of a stranger's lorasae.json.

    Raises:
        LabError: If it is of another version, or a field is missing or not of its type.
    """
    version = stated.get("format") if isinstance(stated, dict) else "unknown"
    if version is True or version != FORMAT:
        raise LabError(asked, f"Its result has the format {str(version)[:20]}; this lab reads {FORMAT}", "Update the lab, or open another")
    try:
        result = _Result.model_validate(stated)
    except ValidationError as error:
        raise LabError(asked, _told(error), _REMEDY) from None
    return {"format": FORMAT, **_without_unset(result)}


def _without_unset(result: _Result) -> dict[str, Any]:
    kept = result.model_dump(mode="json", exclude_unset=True)
    for name in ("start", "origin"):
        if kept.get(name):
            kept[name] = {key: value for key, value in kept[name].items() if value is not None}
    return kept


def _told(error: ValidationError) -> str:
    problems = error.errors(include_input=False, include_url=False)
    missing = sorted({str(each["loc"][0]) for each in problems if each["type"] == "missing" and len(each["loc"]) == 1})
    if missing:
        return f"Its lorasae.json lacks {', '.join(missing)}"
    first = problems[0]
    where = ".".join(str(part)[:40] for part in first["loc"])
    return f"Its lorasae.json is damaged{f' at {where}' if where else ''}: {first['msg'].removeprefix('Value error, ')[:200]}"


def json_of(path: Path) -> Any:
    """A small JSON file of a stranger's.

    Raises:
        ValueError: If it is no JSON, or nested deeper than anything of ours.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError(f"{path.name} is nested too deep") from None


def check_heldout(path: Path) -> None:
    """Look at the held-out tokens: their header first, for it says how much memory would be asked for.

    Raises:
        ValueError: If they are no token sequences.
        OSError: If they cannot be read.
    """
    shape, dtype = _header_of(path)
    if len(shape) != 2 or dtype.kind not in "iu" or 0 in shape:
        raise ValueError(f"{path.name} holds no token sequences ({dtype}, {shape})")
    if (n_bytes := math.prod(shape) * dtype.itemsize) > MOST_HELDOUT_BYTES or n_bytes > path.stat().st_size:
        raise ValueError(f"{path.name} states {n_bytes / 1e6:,.1f} MB of tokens, and has {path.stat().st_size / 1e6:,.1f}")
    tokens = np.load(path, allow_pickle=False)
    if tokens.min() < 0 or tokens.max() >= MOST_TOKENS:
        raise ValueError(f"{path.name} holds what is no token of any vocabulary")


def _header_of(path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    with path.open("rb") as file:
        try:
            read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[npy.read_magic(file)]
            shape, _, dtype = read(file)
        except Exception as error:  # noqa: BLE001  # numpy parses it as Python, and passes on whatever its tokenizer raises
            raise ValueError(f"{path.name} has no header of an array ({type(error).__name__})") from None
    if not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"{path.name} has no shape")
    return shape, dtype
