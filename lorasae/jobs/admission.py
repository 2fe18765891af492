"""What the lab takes on: how many runs of one owner, how large a visitor's run may be, and that a run names nothing foreign."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lorasae.config import RunConfig
from lorasae.errors import LabError
from lorasae.identity import LOCAL_OWNER, refuse_nobody
from lorasae.jobs.workers import has_zero_gpu
from lorasae.planning.continuing import refuse_other_adapter
from lorasae.planning.uploads import refuse_foreign_files
from lorasae.sources.catalog import resolve
from lorasae.store.runs import RunStore
from lorasae.store.started_from import find_start_here

VISITORS_BOUNDS: Mapping[str, int] = {  # a run of minutes on the pocket model, of an hour on a large one
    "train.tokens": 4_000_000,
    "train.tokens_per_step": 16_384,
    "adapter.rank": 256,
    "data.context_length": 1024,
    "data.heldout_tokens": 262_144,
    "watch.evaluations": 100,
}
VISITORS_SAES = 4
VISITORS_STEPS = 20_000


@dataclass(frozen=True)
class Share:
    """How many runs an owner may have under way at once."""

    running: int
    queued: int


@dataclass(frozen=True)
class Limits:
    """What one owner may ask of the lab."""

    local: Share = Share(running=64, queued=500)  # the machine's own user; only a slip of a script would queue more
    visitor: Share = Share(running=1, queued=2)
    operators: frozenset[str] = frozenset()  # owners who run this lab, though they come as others do
    visitors_fetch_bytes: int = 60_000_000_000  # that one repository may bring for a visitor: a model of 27 billion weights is 54 GB
    no_runs: str = ""  # why this lab takes on no run of anybody, as a sentence; "" where it does

    def trusts(self, owner: str) -> bool:
        """Whether no bounds are set to an owner's runs."""
        return owner == LOCAL_OWNER or owner in self.operators

    def fetch_bound(self, owner: str) -> int | None:
        """How many bytes one repository may bring for an owner; None: as many as the disk takes."""
        return None if self.trusts(owner) else self.visitors_fetch_bytes

    def of(self, owner: str) -> Share:
        """The share of an owner."""
        return self.local if self.trusts(owner) else self.visitor


ON_ZERO_GPU = (
    "This Space runs on ZeroGPU, which lends a GPU to one click for about a minute and takes it back, "
    "and a run needs one for as long as it takes"
)
ELSEWHERE = "Duplicate the Space and choose a GPU of its own, or run the lab on your machine; finished runs can be inspected here"


def limits_here(operators: frozenset[str] = frozenset(), environment: Mapping[str, str] = os.environ) -> Limits:
    """What this machine and its settings (LORASAE_VISITORS_FETCH_GB) allow, and who runs the lab on it.

    Raises:
        LabError: For a setting that means nothing.
    """
    gigabytes = environment.get("LORASAE_VISITORS_FETCH_GB") or f"{Limits.visitors_fetch_bytes / 1e9:g}"
    if not re.fullmatch(r"\d{1,6}(\.\d{1,3})?", gigabytes, re.ASCII):
        asked = f"LORASAE_VISITORS_FETCH_GB={gigabytes} was given"
        raise LabError(asked, "It is the number of gigabytes that a visitor's model may have", "Give a number, such as 60")
    return Limits(
        operators=operators, visitors_fetch_bytes=int(float(gigabytes) * 1e9), no_runs=ON_ZERO_GPU if has_zero_gpu(environment) else ""
    )


def refuse_where_nothing_runs(limits: Limits) -> None:
    """Refuse every run, whosever it is, in a lab that can do none.

    Raises:
        LabError: With the reason.
    """
    if limits.no_runs:
        raise LabError("A run was asked for", limits.no_runs, ELSEWHERE)


def check_admissible(config: RunConfig, owner: str, home: Path, limits: Limits) -> None:
    """Refuse what the lab would not or could not do, before anything is stored; from metadata alone.

    Raises:
        LabError: For an unknown SAE, foreign files, an adapter to begin with that the visitor may not see or that has other settings, or a
            visitor's run that is too large.
        NotSignedIn: If nobody is known to ask.
    """
    refuse_nobody("A run was asked for", owner)
    refuse_foreign_files(config, owner, home)
    for ref in config.saes:
        resolve(ref)
    if config.adapter.start and (start := find_start_here(config.adapter.start, owner, RunStore(home))) is not None:
        refuse_other_adapter(config, start.shape)  # one on the Hub is looked at by the run itself, before it fetches anything large
    if not limits.trusts(owner):
        _check_size(config)


def _check_size(config: RunConfig) -> None:
    for setting, most in VISITORS_BOUNDS.items():
        section, _, name = setting.partition(".")
        value = getattr(getattr(config, section), name)
        if value > most:
            raise LabError(f"{setting} = {value:,} was given", f"In this lab, visitors' runs go up to {most:,}", "Choose less")
    if len(config.saes) > VISITORS_SAES:
        found = f"In this lab, visitors' runs take up to {VISITORS_SAES}"
        raise LabError(f"{len(config.saes)} SAEs at once were asked for", found, "Choose fewer")
    if config.n_steps > VISITORS_STEPS:
        found = f"In this lab, visitors' runs take up to {VISITORS_STEPS:,}"
        raise LabError(f"{config.n_steps:,} steps were asked for", found, "Choose fewer tokens, or more tokens per step")
