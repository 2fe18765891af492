"""The table of metrics: plots, tables, cards and docs read their names, units and meanings here and nowhere else."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """One measured quantity."""

    key: str
    label: str
    unit: str
    better: Literal["lower", "higher", "neither"]
    formula: str  # in plain words or symbols, as shown beside the number

    def show(self, value: float) -> str:
        """The value as it is printed everywhere: fractions as per cent, counts whole, losses with four decimals."""
        if self.unit == "fraction":
            return f"{100 * value:.1f} %"
        if self.unit in ("tokens/s", "tokens", "bytes"):
            return f"{value:,.0f}"
        return f"{value:.4f}" if self.unit == "nats/token" else f"{value:.3g}"


# Of a gap that was closed by more than 100 %: the terminal and the card say it, and the pages in the same words (assets/web/words.js).
LEARNED = (
    "More than 100 % means that the adapted model with its SAE predicts this text better than the original did: it learned the text, which "
    "is no repair. The number to trust then is KL to the original."
)


def has_learned(gap_closed: float | None) -> bool:
    """Whether a gap closed, as a fraction, says that the text was learned."""
    return gap_closed is not None and gap_closed > 1


METRICS: dict[str, Metric] = {
    metric.key: metric
    for metric in (
        Metric("ce_original", "CE, original", "nats/token", "lower", "mean next-token cross-entropy of the model alone"),
        Metric("ce_original_sae", "CE, original + SAE", "nats/token", "lower", "the model with the SAE's reconstruction in its stream"),
        Metric(
            "ce_adapted_sae", "CE, adapted + SAE", "nats/token", "lower", "the adapted model with the SAE's reconstruction in its stream"
        ),
        Metric("ce_adapted", "CE, adapted", "nats/token", "lower", "adapter on, SAE off: what adaptation did to general behaviour"),
        Metric("ce_zero", "CE, stream zeroed", "nats/token", "lower", "the model with zeros in place of the stream at the SAE"),
        Metric("ce_gap_before", "CE gap before", "nats/token", "lower", "ce_original_sae - ce_original"),
        Metric("ce_gap_after", "CE gap after", "nats/token", "lower", "ce_adapted_sae - ce_original"),
        Metric("gap_closed", "gap closed", "fraction", "higher", "1 - ce_gap_after / ce_gap_before"),
        Metric("ce_change_adapted", "CE change, SAE off", "nats/token", "lower", "ce_adapted - ce_original"),
        Metric(
            "loss_recovered_original_sae",
            "loss recovered before",
            "fraction",
            "higher",
            "(ce_zero - ce_original_sae) / (ce_zero - ce_original)",
        ),
        Metric(
            "loss_recovered_adapted_sae",
            "loss recovered after",
            "fraction",
            "higher",
            "(ce_zero - ce_adapted_sae) / (ce_zero - ce_original)",
        ),
        Metric("kl_original_sae", "KL, original + SAE", "nats/token", "lower", "mean over scored tokens of KL(original || original + SAE)"),
        Metric("kl_adapted_sae", "KL, adapted + SAE", "nats/token", "lower", "mean over scored tokens of KL(original || adapted + SAE)"),
        Metric("kl_adapted", "KL, adapted", "nats/token", "lower", "mean over scored tokens of KL(original || adapted)"),
        Metric("kl_train", "KL, training text", "nats/token", "lower", "KL(original || adapted + SAE) on the tokens of one step"),
        Metric("l0", "L0", "features/token", "neither", "mean number of active features per token"),
        Metric("fve", "variance explained", "fraction", "higher", "1 - sum |x - x_hat|^2 / sum |x - mean x|^2"),
        Metric("dead_fraction", "dead features", "fraction", "lower", "share of features that fired on none of the measured tokens"),
        Metric("density", "density", "fraction", "neither", "share of tokens on which a feature fires"),
        Metric("gradient_norm", "gradient norm", "nats/token", "neither", "norm of the adapter's gradient before clipping"),
        Metric("learning_rate", "learning rate", "", "neither", "of the optimizer in this step"),
        Metric("tokens_per_s", "speed", "tokens/s", "higher", "training tokens per second, evaluation excluded"),
        Metric("peak_memory_bytes", "peak memory", "bytes", "lower", "largest memory of the process (CPU) or of its tensors (GPU)"),
    )
}
