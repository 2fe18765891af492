"""What the lab takes on: how many runs of one owner, how large a visitor's run may be, and that a run names nothing foreign."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lorasae.config import RunConfig
from lorasae.errors import LabError
from lorasae.identity import LOCAL_OWNER, NOBODY
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

    def of(self, owner: str) -> Share:
        """The share of an owner."""
        return self.local if owner == LOCAL_OWNER else self.visitor


def check_admissible(config: RunConfig, owner: str, home: Path) -> None:
    """Refuse what the lab would not or could not do, before anything is stored; from metadata alone.

    Raises:
        LabError: For an unknown SAE, a visitor without a cookie, foreign files, an adapter to begin with that the
            visitor may not see or that has other settings, or a visitor's run that is too large.
    """
    if owner == NOBODY:
        found = "Your browser keeps no cookie of this lab, by which it would know your runs"
        raise LabError("A run was asked for", found, "Allow cookies and reload the page")
    refuse_foreign_files(config, owner, home)
    for ref in config.saes:
        resolve(ref)
    if config.adapter.start and (start := find_start_here(config.adapter.start, owner, RunStore(home))) is not None:
        refuse_other_adapter(config, start.shape)  # one on the Hub is looked at by the run itself, before it fetches anything large
    if owner != LOCAL_OWNER:
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
