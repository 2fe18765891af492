"""What the terminal shows: the progress of a run, and its numbers as tables."""

import sys
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from lorasae.inspection.comparison import Comparison, FeatureRow
from lorasae.metrics import LEARNED, METRICS, has_learned

_CONDITIONS = ("original", "original_sae", "adapted_sae", "adapted", "zero")
_SUMMARY = ("ce_gap_before", "ce_gap_after", "gap_closed", "ce_change_adapted", "loss_recovered_original_sae", "loss_recovered_adapted_sae")


class ProgressBar:
    """A run's listener: phases as lines, training as a bar with speed and time left."""

    def __init__(self) -> None:
        self.bar: tqdm[Any] | None = None

    def phase(self, name: str, message: str) -> None:
        self.close()
        print(f"{name}: {message}", file=sys.stderr, flush=True)

    def row(self, row: dict[str, Any], n_steps: int) -> None:
        if "kl_train" not in row:
            return
        if self.bar is None:
            pause = 0.2 if sys.stderr.isatty() else 5.0
            self.bar = tqdm(total=n_steps, initial=row["step"] - 1, unit="step", mininterval=pause, dynamic_ncols=True)
        self.bar.set_postfix_str(f"KL {row['kl_train']:.4f}, {row['tokens_per_s']:,.0f} tokens/s", refresh=False)
        self.bar.update(1)
        if row.get("gap_closed") is not None:
            closed = METRICS["gap_closed"].show(row["gap_closed"])
            tqdm.write(
                f"  step {row['step']}: gap closed {closed} on an eighth of the held-out text{_above(row['gap_closed'])}", file=sys.stderr
            )

    def close(self) -> None:
        """End the bar's line."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None


class SharedProgress:
    """Of runs that are trained together: the phases of each as lines, and one bar for the steps that they take together."""

    def __init__(self, names: Sequence[str]) -> None:
        self.listeners = [_OneOfSeveral(self, name) for name in names]
        self.bar: tqdm[Any] | None = None

    def stepped(self, row: dict[str, Any], n_steps: int) -> None:
        """One of the runs took a step, the first of them to take it moves the bar."""
        if self.bar is None:
            pause = 0.2 if sys.stderr.isatty() else 5.0
            self.bar = tqdm(total=n_steps, initial=row["step"] - 1, unit="step", mininterval=pause, dynamic_ncols=True)
        self.bar.set_postfix_str(
            f"{len(self.listeners)} run{'s' * (len(self.listeners) > 1)}, {row['tokens_per_s']:,.0f} tokens/s each", refresh=False
        )
        self.bar.update(max(0, row["step"] - self.bar.n))

    def __enter__(self) -> "SharedProgress":
        return self

    def __exit__(self, *_error: object) -> None:
        if self.bar is not None:
            self.bar.close()


class _OneOfSeveral:
    """The listener of one of them."""

    def __init__(self, progress: SharedProgress, name: str) -> None:
        self._progress, self._name = progress, name

    def phase(self, name: str, message: str) -> None:
        tqdm.write(f"{self._name}: {name}: {message}", file=sys.stderr)

    def row(self, row: dict[str, Any], n_steps: int) -> None:
        if "kl_train" in row:
            self._progress.stepped(row, n_steps)


def result_table(results: dict[str, dict[str, float | None]]) -> str:
    """The conditions, the gap before and after, and the gap closed, each with its standard error; above 100 %, what that means."""
    lines = [f"{'condition':<22}{'CE, nats/token':>20}{'KL to original':>20}"]
    for name in _CONDITIONS:
        if f"ce_{name}" in results:
            label = METRICS[f"ce_{name}"].label.removeprefix("CE, ")
            lines.append(f"{label:<22}{value_with_error(results, f'ce_{name}'):>20}{value_with_error(results, f'kl_{name}'):>20}")
    lines.append("")
    for key in _SUMMARY:
        if key in results:
            metric = METRICS[key]
            unit = "" if metric.unit == "fraction" else f" {metric.unit}"
            lines.append(f"{metric.label:<22}{value_with_error(results, key):>20}{unit}   {metric.formula}")
    if has_learned(results.get("gap_closed", {}).get("value")):
        lines += ["", LEARNED]
    return "\n".join(lines)


def computed(result: dict[str, Any]) -> list[str]:
    """How a run's steps were computed, and how long it took, as far as that was recorded."""
    took = ", ".join(f"{doing} took {seconds:,.1f} s" for doing, seconds in result.get("seconds", {}).items())
    return [f"{sentence}." for sentence in (result.get("way"), took.capitalize()) if sentence]


def value_with_error(results: dict[str, dict[str, float | None]], key: str) -> str:
    """A metric as printed: its value ± its standard error, or why there is none."""
    if key not in results:
        return "–"
    value, error = results[key]["value"], results[key]["standard_error"]
    show = METRICS[key].show
    return "undefined" if value is None else show(value) if error is None else f"{show(value)} ± {show(error).removesuffix(' %')}"


def comparison_table(comparison: Comparison, features: list[FeatureRow], notes: list[str]) -> str:
    """Features and tokens of a text, side by side."""
    lines = ["", f"{'feature':<36}{'fires most on':<18}{'original':>10}{'orig.+SAE':>11}{'adapt.+SAE':>11}"]
    for row in features:
        name = f"{row.hook_point} #{row.feature}"
        lines.append(f"{name:<36}{row.token!r:<18}{row.original:>10.2f}{row.original_sae:>11.2f}{row.adapted_sae:>11.2f}")
    lines += [f"Note: {note}" for note in notes]
    lines += ["", f"{'token':<14}{'KL before':>10}{'KL after':>10}   next token: original | original+SAE | adapted+SAE"]
    before, after = comparison.conditions["original_sae"].kl, comparison.conditions["adapted_sae"].kl
    for position, token in enumerate(comparison.tokens):
        guesses = " | ".join(repr(guess) for guess in comparison.likeliest_next(position))
        lines.append(f"{token!r:<14}{before[position]:>10.3f}{after[position]:>10.3f}   {guesses}")
    means = (comparison.means[name] or 0.0 for name in ("kl_before", "kl_after"))
    figures = "".join(f"{mean:>10.3f}" for mean in means)
    lines.append(f"{'mean':<14}{figures}   KL to the original model: what the SAE did here, and what is left of it")
    return "\n".join(lines)


def sweep_table(rows: dict[str, dict[int, str]], ranks: list[int]) -> str:
    """Gap closed by SAE, what else was varied, and rank."""
    wide = max(map(len, rows), default=0) + 2
    lines = [f"{'gap closed':<{wide}}" + "".join(f"{f'r = {rank}':>16}" for rank in ranks)]
    lines += [f"{name:<{wide}}" + "".join(f"{cells.get(rank, '–'):>16}" for rank in ranks) for name, cells in rows.items()]
    return "\n".join(lines)


def _above(gap_closed: float) -> str:
    return " (above 100 % the text is learned, not the gap repaired)" if has_learned(gap_closed) else ""
