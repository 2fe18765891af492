"""What the turns say: speed of every way, and its ratio to what it is held against, paired round by round. As a table and as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from lorasae.bench.peak import Peak
from lorasae.bench.rounds import Turn
from lorasae.bench.ways import Way

FORMAT = 1  # of the JSON


@dataclass(frozen=True)
class Spread:
    """A figure over the rounds."""

    low: float
    middle: float
    high: float

    @staticmethod
    def of(values: Sequence[float]) -> "Spread":
        """Smallest, median and largest."""
        return Spread(min(values), median(values), max(values))


@dataclass(frozen=True)
class Row:
    """One way in figures; per adapter where it trains several."""

    key: str
    label: str
    against: str  # label of the way that the ratios are to
    tokens_per_s: Spread
    tokens_per_cpu_s: Spread
    step_s: Spread
    ratio: Spread  # of tokens per second, to the other way's of the same round
    cpu_ratio: Spread  # of tokens per CPU-second
    flops_per_token: float
    peak_bytes: int | None
    share_of_peak: float | None  # by wall time on a GPU, by CPU-seconds on a CPU
    kl: float  # of the last step of the last round


def rows(ways: Sequence[Way], turns: Sequence[Turn], flops: Mapping[str, float], peak: Peak | None, on_gpu: bool) -> list[Row]:
    """The figures of every way.

    Args:
        ways: In the order of the table.
        turns: Of all of them, in any order; every way had one in every round.
        flops: Way -> floating-point operations per token and adapter.
        peak: Of this machine, if it was measured.
        on_gpu: Whether wall time is the measure; on a CPU that others use too, CPU time is.
    """
    by_way = {way.key: sorted((turn for turn in turns if turn.way == way.key), key=lambda turn: turn.round) for way in ways}
    return [_row(way, ways, by_way, flops[way.key], peak, on_gpu) for way in ways]


def _row(way: Way, ways: Sequence[Way], by_way: Mapping[str, list[Turn]], flops: float, peak: Peak | None, on_gpu: bool) -> Row:
    own, others = by_way[way.key], by_way[way.against]
    wall, cpu = Spread.of([turn.n_tokens / turn.wall_s for turn in own]), Spread.of([_per_cpu_s(turn) for turn in own])
    speed, limit = (wall, peak.flops_per_s if peak else None) if on_gpu else (cpu, peak.flops_per_cpu_s if peak else None)
    peaks = [turn.peak_bytes for turn in own if turn.peak_bytes is not None]
    return Row(
        way.key,
        way.label,
        next(each.label for each in ways if each.key == way.against),
        wall,
        cpu,
        Spread.of([turn.wall_s / turn.n_steps for turn in own]),
        Spread.of([a.n_tokens / a.wall_s / (b.n_tokens / b.wall_s) for a, b in zip(own, others, strict=True)]),
        Spread.of([_per_cpu_s(a) / _per_cpu_s(b) for a, b in zip(own, others, strict=True)]),
        flops,
        max(peaks) if peaks else None,
        speed.middle * flops / limit if limit else None,
        own[-1].kl,
    )


def _per_cpu_s(turn: Turn) -> float:
    return turn.n_tokens / max(turn.cpu_s, 1e-9)


def as_json(
    facts: Mapping[str, Any], peak: Peak | None, table: Sequence[Row], turns: Sequence[Turn], notes: Sequence[str]
) -> dict[str, Any]:
    """Everything that was measured, and under what."""
    return {
        "format": FORMAT,
        **facts,
        "peak": asdict(peak) if peak else None,
        "ways": [asdict(row) for row in table],
        "turns": [asdict(turn) for turn in turns],
        "notes": list(notes),
    }


def as_table(table: Sequence[Row], on_gpu: bool) -> str:
    """The figures for a terminal: medians, and the ratio with its smallest and largest."""
    unit, scale = ("TFLOP/s", 1e12) if on_gpu else ("GF/CPU-s", 1e9)
    width = max(len(row.label) for row in table)
    head = f"{'':<{width}}{'tokens/s':>10}{'per CPU-s':>11}{'ms/step':>9}{'MB':>8}{unit:>10}{'of peak':>9}   "
    lines = [head + f"times the authors' loop, {'tokens/s' if on_gpu else 'tokens per CPU-second'} (least – most)"]
    for row in table:
        ratio, speed = (row.ratio, row.tokens_per_s) if on_gpu else (row.cpu_ratio, row.tokens_per_cpu_s)
        memory = "–" if row.peak_bytes is None else f"{row.peak_bytes / 1e6:,.0f}"
        share = "–" if row.share_of_peak is None else f"{row.share_of_peak:.0%}"
        against = "" if row.against == "authors' loop" else f", against {row.against}"
        lines.append(
            f"{row.label:<{width}}{row.tokens_per_s.middle:>10,.0f}{row.tokens_per_cpu_s.middle:>11,.0f}{row.step_s.middle * 1e3:>9,.0f}"
            f"{memory:>8}{speed.middle * row.flops_per_token / scale:>10,.1f}{share:>9}   "
            f"{ratio.middle:.2f} ({ratio.low:.2f} – {ratio.high:.2f}){against if row.label != row.against else ''}"
        )
    return "\n".join(lines)
