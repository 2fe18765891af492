"""Who came how far in which time: the race as a table, as JSON and as curves."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lorasae.bench.race import SHARES, Point, Run
from lorasae.bench.report import FORMAT, Spread


@dataclass(frozen=True)
class Goal:
    """One share of the final improvement, over the seeds that both recipes ran."""

    share: float
    ours: list[Point]  # one per seed
    authors: list[Point]  # one per seed; where it was not reached, where the recipe was stopped
    authors_reached: list[bool]

    def times_sooner(self) -> Spread:
        """CPU-seconds of the authors' loop and recipe over ours; at least that where theirs did not reach the goal."""
        return Spread.of([theirs.cpu_s / max(1e-9, ours.cpu_s) for ours, theirs in zip(self.ours, self.authors, strict=True)])


def goals(runs: Sequence[Run]) -> list[Goal]:
    """Every share of what our recipe reaches at best, seed by seed."""
    seeds = sorted({run.seed for run in runs})
    by = {(run.recipe, run.seed): run for run in runs}
    found = []
    for share in SHARES:
        wanted = {seed: share * by["ours", seed].best for seed in seeds}
        theirs = {seed: by["authors", seed].reached(wanted[seed]) for seed in seeds}
        found.append(
            Goal(
                share,
                [by["ours", seed].reached(wanted[seed]) or by["ours", seed].points[-1] for seed in seeds],
                [theirs[seed] or by["authors", seed].points[-1] for seed in seeds],
                [theirs[seed] is not None for seed in seeds],
            )
        )
    return found


def race_table(runs: Sequence[Run]) -> str:
    """CPU-seconds and tokens to each goal: medians over the seeds, with the smallest and largest ratio."""
    lines = [f"{'of the improvement':<20}{'ours':>28}{'authors':>40}   times sooner in CPU-seconds (least – most)"]
    for goal in goals(runs):
        ratio, all_reached = goal.times_sooner(), all(goal.authors_reached)
        theirs = ("" if all_reached else "not within ") + _cell(goal.authors)
        middle = f"{'' if all_reached else 'at least '}{ratio.middle:.1f} ({ratio.low:.1f} – {ratio.high:.1f})"
        lines.append(f"{goal.share:<20.0%}{_cell(goal.ours):>28}{theirs:>40}   {middle}")
    lines.append("")
    for recipe in ("ours", "authors"):
        own = [run for run in runs if run.recipe == recipe]
        best = Spread.of([run.best for run in own])
        ends = [run.points[-1] for run in own]
        spread = f"{best.low:.1%} – {best.high:.1%}, {len(own)} seed{'s'[: len(own) > 1]}"
        lines.append(f"{recipe}: at best {best.middle:.1%} of the gap closed ({spread}), stopped after {_cell(ends)}")
    return "\n".join(lines)


def _cell(points: Sequence[Point]) -> str:
    cpu, tokens = Spread.of([point.cpu_s for point in points]), Spread.of([float(point.tokens) for point in points])
    return f"{cpu.middle:,.1f} CPU-s, {tokens.middle:,.0f} tokens"


def race_json(facts: Mapping[str, Any], runs: Sequence[Run]) -> dict[str, Any]:
    """Every evaluation of every run, and what follows from them."""
    told = [{**asdict(goal), "times_sooner": asdict(goal.times_sooner())} for goal in goals(runs)]
    return {"format": FORMAT, **facts, "runs": [asdict(run) for run in runs], "goals": told}
