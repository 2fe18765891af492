"""`python -m lorasae sweep`: many runs from one command, trained together where they can be, and a table of what each closed."""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lorasae.cli.settings import add_settings, config_from, yaml_value
from lorasae.config import RunConfig, overlay, run_config
from lorasae.errors import LabError
from lorasae.home import home
from lorasae.planning.variations import varied
from lorasae.store.runs import RunStore

_RANK = "adapter.rank"


@dataclass(frozen=True)
class Cell:
    """One run of the sweep, and where its result stands in the table."""

    row: str  # SAE, and what is varied besides the rank
    config: RunConfig

    @property
    def rank(self) -> int:
        return self.config.adapter.rank

    @property
    def title(self) -> str:
        return f"{self.row}, r = {self.rank}"


def sweep_command(options: argparse.Namespace) -> None:
    """One run per SAE, rank and combination of varied settings, and the table of what each closed."""
    from lorasae.cli.terminal import sweep_table, value_with_error
    from lorasae.training.together import groups

    cells = _cells(options)
    rows: dict[str, dict[int, str]] = {cell.row: {} for cell in cells}
    problems: list[tuple[Cell, Exception]] = []
    try:
        for group in groups([cell.config for cell in cells]):
            for cell, outcome in _adapted_together([cells[index] for index in group]):
                if isinstance(outcome, Exception):
                    problems.append((cell, outcome))
                    rows[cell.row][cell.rank] = "not finished"
                else:
                    rows[cell.row][cell.rank] = value_with_error(outcome["results"], "gap_closed")
            _end_if_stopped(problems)
    finally:
        print(f"\n{sweep_table(rows, sorted({cell.rank for cell in cells}))}")
    for _, problem in problems[:1]:
        raise problem


def _cells(options: argparse.Namespace) -> list[Cell]:
    """What was asked for, run by run."""
    values = _values_to_try(options.vary)
    if options.rank and _RANK in values:
        raise LabError("A sweep over ranks was asked for", f"Both --rank and --vary {_RANK} name them", "Leave one of them out")
    bases = [
        config_from(argparse.Namespace(**{**vars(options), "sae": sae, "rank": None}))
        for sae in ([[names] for names in options.sae] if options.sae else [None])
    ]
    cells = []
    for base in bases:
        for chosen, config in varied(base, values):
            said = {setting.rpartition(".")[2]: value for setting, value in chosen.items() if setting != _RANK}
            row = ", ".join([*map(str, base.saes), *(f"{setting} {_said(value)}" for setting, value in said.items())])
            ranks = dict.fromkeys(options.rank)
            cells += [Cell(row, each) for each in ([_at_rank(config, rank) for rank in ranks] if ranks else [config])]
    return list({cell.config.model_dump_json(): cell for cell in reversed(cells)}.values())[::-1]  # what was written twice is done once


def _values_to_try(assignments: Sequence[str]) -> dict[str, list[Any]]:
    """Each `setting=value,value` as its parts; a value can be a list: `adapter.layers=[3, 4],[5]`."""
    found: dict[str, list[Any]] = {}
    for assignment in assignments:
        setting, equals, text = (part.strip() for part in assignment.partition("="))
        asked, remedy = f"--vary {assignment} was given", "Write it as --vary train.learning_rate=1e-3,4e-3"
        values = yaml_value(f"--vary {assignment}", f"[{text}]") if text else []
        if not equals or not setting or not values or text.endswith(","):
            raise LabError(asked, "A name or a value is missing" if equals else "It has no =", remedy)
        if setting in found:
            raise LabError(asked, f"{setting} was to be varied already", "Give all its values at once, with commas between them")
        found[setting] = [value for place, value in enumerate(values) if value not in values[:place]]
    return found


def _said(value: Any) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)


def _at_rank(base: RunConfig, rank: int) -> RunConfig:
    """The same settings at another rank, with the scale alpha / rank kept."""
    adapter = {"rank": rank, "alpha": base.adapter.alpha / base.adapter.rank * rank}
    return run_config(overlay(base.model_dump(mode="json"), {"adapter": adapter}))


def _adapted_together(cells: Sequence[Cell]) -> Iterator[tuple[Cell, dict[str, Any] | Exception]]:
    """Train these together; of each, as one line, what it reached."""
    from lorasae.cli.terminal import SharedProgress
    from lorasae.training.together import adapt_together

    runs = [RunStore(home()).create(cell.config) for cell in cells]
    for run, cell in zip(runs, cells, strict=True):
        print(f"run: {run.folder} ({cell.title})", file=sys.stderr, flush=True)
    with SharedProgress([cell.title for cell in cells]) as progress:
        outcomes = adapt_together(runs, progress.listeners)
    for run, cell, outcome in zip(runs, cells, outcomes, strict=True):
        print(f"{cell.title}: {_reached(outcome)}\n  run: {run.folder}", flush=True)
        yield cell, outcome


def _reached(outcome: Mapping[str, Any] | Exception) -> str:
    from lorasae.cli.terminal import value_with_error

    if isinstance(outcome, Exception):
        return str(outcome)
    before, after, closed = (value_with_error(outcome["results"], key) for key in ("ce_gap_before", "ce_gap_after", "gap_closed"))
    return f"CE gap {before} -> {after} nats/token, gap closed {closed}"


def _end_if_stopped(problems: Sequence[tuple[Cell, Exception]]) -> None:
    """A run that was told to stop ends the sweep; one that failed leaves the others their turn."""
    from lorasae.training.supervision import Stopped

    for _, problem in problems:
        if isinstance(problem, Stopped):
            raise problem


def add_sweep_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The sweep's options."""
    sweep = commands.add_parser("sweep", help="one run per SAE, rank and varied setting, trained together where they can be, and a table")
    add_settings(sweep)
    sweep.add_argument(
        "--rank", nargs="+", type=int, default=[], help="ranks, with alpha / rank as it is; the settings' own if none is given"
    )
    sweep.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="SETTING=VALUE,VALUE",
        help="more to try: train.learning_rate=1e-3,4e-3, or seed=0,1,2, or adapter.layers=[3],[3,4]; a rank so given keeps alpha",
    )
    sweep.set_defaults(command=sweep_command)
