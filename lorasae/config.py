"""What a run is asked to do: small frozen settings, checked where they are born, read from and written to YAML and JSON.

A `RunConfig` and the versions recorded beside it reproduce a run. Nothing here knows torch, the disk layout or the Hub.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from lorasae.errors import LabError

FORMAT = 1  # of config.json, lorasae.json and the run folder; raised when an older reader could misunderstand a newer run

EVALUATED_SHARE = 8  # of so many held-out sequences, the short evaluations during training measure one

Special = Literal["bos", "eos", "pad"]
Dtype = Literal["float32", "bfloat16"]


def _listed(value: Any) -> Any:
    """A lone value where a list is meant: `layers: 3` reads as `layers: [3]`."""
    return [value] if isinstance(value, (str, int)) else value


class Settings(BaseModel):
    """Base of all settings: frozen, and an unknown or mistyped key is an error rather than silence."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SAERef(Settings):
    """The two-part name of an SAE: a sae-lens release, `pocket-scope`, or a local folder (then sae_id may stay empty)."""

    release: str = "pocket-scope"
    sae_id: str = ""

    def __str__(self) -> str:
        return f"{self.release} / {self.sae_id}" if self.sae_id else self.release


class ModelConfig(Settings):
    """Which language model, and how it is held in memory."""

    model: str = "pocket"  # the pocket model, a Hub id, or a local folder
    revision: str | None = None  # commit, branch or tag on the Hub; the commit that was used is recorded with the run
    dtype: Dtype = "float32"
    device: Literal["auto", "cpu", "cuda"] = "auto"


class AdapterConfig(Settings):
    """Shape and place of the LoRA adapter. Its scale is alpha / rank."""

    # Where it begins. Empty: fresh, B = 0. Else the adapter of a run (its id or folder) or of a Hub repository (NAMESPACE/NAME or
    # NAMESPACE/NAME@REVISION); rank, alpha, layers and modules are then that adapter's own.
    start: str = Field(default="", max_length=500)

    rank: int = Field(default=16, ge=1)
    alpha: float = Field(default=32.0, gt=0)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    placement: Literal["after", "all"] = "after"  # after: only layers above the lowest SAE, so its features cannot change
    layers: Annotated[tuple[int, ...], BeforeValidator(_listed)] = ()  # named layers; when given they replace `placement`
    # Groups (attention, mlp) or single projections, e.g. q_proj.
    modules: Annotated[tuple[str, ...], BeforeValidator(_listed), Field(min_length=1)] = ("attention", "mlp")


class DataConfig(Settings):
    """Where the text comes from. Held-out documents are never shared with training documents."""

    source: str = "pocket"  # the pocket world, a .txt, .jsonl or .csv file, or a dataset id on the Hub (streamed)
    config_name: str | None = None  # configuration of a Hub dataset
    split: str = "train"
    column: str = "text"
    context_length: int = Field(default=128, ge=8)
    order_seed: int | None = Field(default=None, ge=0)  # of the order in which the text is read; None: the run's own seed
    heldout_tokens: int = Field(
        default=24_576, ge=16
    )  # measured before and after; every eighth of it (at least one sequence) during training


class TrainConfig(Settings):
    """The optimisation. One step sees tokens_per_step tokens, cut into micro-batches of micro_batch_size sequences."""

    tokens: int = Field(default=147_456, ge=0)  # 0: nothing is trained, the adapter is measured as it begins
    tokens_per_step: int = Field(default=1024, ge=1)
    micro_batch_size: int = Field(default=8, ge=1)
    learning_rate: float = Field(default=4e-3, gt=0)
    schedule: Literal["cosine", "linear", "constant"] = "cosine"  # after the warm-up; cosine and linear fall towards zero
    warmup_fraction: float = Field(default=0.05, ge=0, le=1)
    weight_decay: float = Field(default=0.0, ge=0)
    gradient_clip: float | None = Field(default=1.0, gt=0)
    kl_reduction: Literal["mean", "sum"] = "mean"  # sum over positions, mean over sequences: the authors' "batchmean"
    fast: bool = True  # steps by the fast step, where the model has one; off: by the plain reference. Evaluations are not affected


class WatchConfig(Settings):
    """How often a run measures itself and how often it can be taken up again."""

    evaluations: int = Field(default=4, ge=0)  # during training, evenly spaced, on a part of the held-out text
    checkpoint_every_s: float = Field(default=30.0, ge=0)
    checkpoint_every_steps: int | None = Field(default=50, ge=1)  # whichever comes first; None: by time alone


class SpecialTokensConfig(Settings):
    """The one policy for BOS, EOS and padding, used by training, evaluation and inspection alike."""

    bypass: Annotated[tuple[Special, ...], BeforeValidator(_listed)] = (
        "bos",
        "eos",
        "pad",
    )  # positions that keep the model's own activation
    unscored: Annotated[tuple[Special, ...], BeforeValidator(_listed)] = (
        "bos",
        "eos",
        "pad",
    )  # positions whose prediction counts in no loss


class RunConfig(Settings):
    """Everything one run is asked to do."""

    name: str = ""
    model: ModelConfig = ModelConfig()
    saes: tuple[SAERef, ...] = Field(default=(SAERef(),), min_length=1)
    adapter: AdapterConfig = AdapterConfig()
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()
    watch: WatchConfig = WatchConfig()
    special_tokens: SpecialTokensConfig = SpecialTokensConfig()
    trust_measured: bool = False  # go on with an SAE whose measured L0 or variance explained is not what its publisher states
    seed: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _steps_divide_into_micro_batches(self) -> "RunConfig":
        """A LabError passes through pydantic as it stands: these settings are each in range, and do not fit each other."""
        context, per_step, at_once = self.data.context_length, self.train.tokens_per_step, self.train.micro_batch_size
        mended = whole_steps(context, per_step, at_once)
        sequences, rest = divmod(per_step, context)
        if rest or not sequences:
            raise LabError(
                f"The setting train.tokens_per_step = {per_step} was given",
                f"That is not a whole number of sequences of {context} tokens",
                f"Set train.tokens_per_step to {mended['train.tokens_per_step']}, or change data.context_length",
            )
        if sequences % min(at_once, sequences):
            raise LabError(
                f"The setting train.micro_batch_size = {at_once} was given",
                f"The {sequences} sequences per step do not divide into micro-batches of {at_once}",
                f"Set train.micro_batch_size to {mended['train.micro_batch_size']}",
            )
        return self

    @property
    def sequences_per_step(self) -> int:
        return self.train.tokens_per_step // self.data.context_length

    @property
    def micro_batch_size(self) -> int:
        """Sequences per forward: what was asked for, or the whole step where that is less."""
        return min(self.train.micro_batch_size, self.sequences_per_step)

    @property
    def order_seed(self) -> int:
        return self.seed if self.data.order_seed is None else self.data.order_seed

    @property
    def n_steps(self) -> int:
        return max(1, self.train.tokens // self.train.tokens_per_step) if self.train.tokens else 0


def whole_steps(context_length: int, tokens_per_step: int, micro_batch_size: int) -> dict[str, int]:
    """What has to change, by dotted name, for a step to be whole sequences in whole micro-batches: to the nearest numbers, downwards
    where two are as near. Empty where nothing has to."""
    sequences = max(1, -(-(2 * tokens_per_step - context_length) // (2 * context_length)))
    at_once = min(micro_batch_size, sequences)
    few = sequences <= 1_000_000  # beyond that, looking for divisors would take seconds
    divisors = [size for size in range(1, min(sequences, 2 * at_once) + 1) if sequences % size == 0] if few else [1]
    nearest_size = at_once if sequences % at_once == 0 else min(divisors, key=lambda size: abs(size - at_once))
    whole = {"train.tokens_per_step": sequences * context_length} if sequences * context_length != tokens_per_step else {}
    return whole if nearest_size == at_once else {**whole, "train.micro_batch_size": nearest_size}


PRESETS: dict[str, dict[str, Any]] = {
    # A first look at the pocket model: a third of the default's time for two thirds of the gap it closes.
    "quick": {"data": {"heldout_tokens": 8192}, "train": {"tokens": 40_960}, "watch": {"evaluations": 3}},
    "default": {},  # sized for the pocket model: about two minutes on two cores
    # Our recipe at the paper's size, for models of a billion parameters and more; gentler than the pocket's learning rate.
    "thorough": {
        "adapter": {"rank": 64, "alpha": 64.0},
        "data": {"context_length": 1024, "heldout_tokens": 1_000_448},
        "train": {"tokens": 15_360_000, "tokens_per_step": 4096, "micro_batch_size": 4, "learning_rate": 1e-3},
    },
    # The research code's scaling configuration: one sequence of 1024 tokens per step, KL summed over positions with the gradient norm
    # clipped at 1, alpha fixed at 32, every position scored. Ours differs where theirs is a defect: dropout stays on, KL is fp32.
    "paper": {
        "adapter": {"rank": 64, "alpha": 32.0, "dropout": 0.1, "placement": "after", "modules": ["attention", "mlp"]},
        "data": {"context_length": 1024, "heldout_tokens": 1_000_448},
        "train": {
            "tokens": 15_360_000,
            "tokens_per_step": 1024,
            "micro_batch_size": 1,
            "learning_rate": 5e-5,
            "schedule": "constant",
            "warmup_fraction": 0.0,
            "weight_decay": 0.01,
            "gradient_clip": 1.0,
            "kl_reduction": "sum",
        },
        "special_tokens": {"bypass": ["bos", "eos"], "unscored": []},
    },
}


def run_config(values: Mapping[str, Any], preset: str = "default") -> RunConfig:
    """The validated config: the preset with `values` (nested, as read from YAML) laid over it.

    Raises:
        LabError: For an unknown preset, an unknown setting a value out of range, or values that do not fit each other; the first
            problem is told.
    """
    if preset not in PRESETS:
        raise LabError(f"The preset {preset!r} was asked for", f"There are: {', '.join(PRESETS)}", "Choose one of them")
    try:
        return RunConfig.model_validate(overlay(PRESETS[preset], values))
    except ValidationError as error:
        raise _first_problem(error) from None


def overlay(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`, section by section."""
    merged = dict(below)
    for key, value in above.items():
        under = merged.get(key)
        merged[key] = overlay(under, value) if isinstance(value, Mapping) and isinstance(under, Mapping) else value
    return merged


_IN_WORDS = {  # pydantic's kinds of problem, as a person would say them
    "greater_than_equal": "It must be at least {ge:g}",
    "greater_than": "It must be more than {gt:g}",
    "less_than_equal": "It must be at most {le:g}",
    "less_than": "It must be less than {lt:g}",
    "int_parsing": "It is not a whole number",
    "int_type": "It is not a whole number",
    "int_from_float": "It is not a whole number",
    "float_parsing": "It is not a number",
    "float_type": "It is not a number",
    "finite_number": "It is not a finite number",
    "literal_error": "It must be {expected}",
}


def _first_problem(error: ValidationError) -> LabError:
    problem = error.errors()[0]
    setting = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return LabError(
            f"The setting {setting} was given", "There is no such setting", f"Known there: {', '.join(_siblings(problem['loc']))}"
        )
    given = "" if isinstance(problem["input"], dict) or not problem["loc"] else f" = {problem['input']!r}"
    found = (
        _IN_WORDS[problem["type"]].format(**problem.get("ctx", {}))
        if problem["type"] in _IN_WORDS
        else problem["msg"].removeprefix("Value error, ")
    )
    return LabError(f"The setting {setting}{given} was given", found[:1].upper() + found[1:], "Change that setting and start again")


def _siblings(location: tuple[int | str, ...]) -> list[str]:
    """The settings that exist where the unknown one was written."""
    section: Any = RunConfig
    for part in location[:-1]:
        if isinstance(part, str):
            annotation = section.model_fields[part].annotation
            section = SAERef if part == "saes" else annotation
    return list(section.model_fields)
