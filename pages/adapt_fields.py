"""The settings that the Adapt page's form has beside model and SAE: label, hint with numbers, and how a box's value becomes a setting.

Order and grouping are the form's. Every setting of a preset stands here once (tests/pages/test_adapt_form.py holds it to that).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lorasae.errors import LabError

Kind = Literal["count", "number", "text", "choice", "choices", "switch", "layers"]


@dataclass(frozen=True)
class Field:
    """One setting of RunConfig and its box."""

    setting: str
    kind: Kind
    label: str
    info: str
    choices: tuple[str, ...] = ()
    open_choices: bool = False  # other values may be typed


GROUPS: dict[str, tuple[Field, ...]] = {
    "Adapter": (
        Field(
            "adapter.rank",
            "count",
            "Rank",
            "Size of the LoRA adapter: 16 for the pocket model, 64 in the paper. Double it, double the trained numbers.",
        ),
        Field("adapter.alpha", "number", "Alpha", "The adapter's output is scaled by alpha / rank: 2 in our default, 0.5 in the paper."),
        Field(
            "adapter.dropout", "number", "Dropout", "Share of the adapter's inputs left out in training: 0 is fastest; the paper uses 0.1."
        ),
        Field(
            "adapter.placement",
            "choice",
            "Placement",
            "after: only layers above the lowest SAE, so its features cannot change. all: every layer.",
            ("after", "all"),
        ),
        Field("adapter.layers", "layers", "Named layers", "For example 3, 5-7. Empty: as the placement says."),
        Field(
            "adapter.modules",
            "choices",
            "Linear maps",
            "attention and mlp mean all of theirs; single ones go by name.",
            ("attention", "mlp", "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
            open_choices=True,
        ),
        Field(
            "adapter.start",
            "text",
            "Begins with",
            "Empty: a fresh adapter. Else a run's id, or an adapter on the Hub: name/adapter. Rank, alpha and places must be its own.",
        ),
    ),
    "Training": (
        Field(
            "train.tokens_per_step",
            "count",
            "Tokens per step",
            "One step of the optimizer: 1024 is 8 sequences of 128. A whole number of sequences.",
        ),
        Field(
            "train.micro_batch_size",
            "count",
            "Sequences at once",
            "Smaller needs less memory and changes no result. Must divide the sequences of a step.",
        ),
        Field(
            "train.learning_rate",
            "number",
            "Learning rate",
            "Peak: 0.004 for the pocket model, 0.001 for large ones, 0.00005 in the paper. 0.05 is far too high.",
        ),
        Field(
            "train.schedule",
            "choice",
            "Schedule",
            "After the warm-up: cosine and linear fall towards zero.",
            ("cosine", "linear", "constant"),
        ),
        Field("train.warmup_fraction", "number", "Warm-up", "Share of the steps in which the learning rate rises: 0.05 is 7 of 144."),
        Field("train.weight_decay", "number", "Weight decay", "AdamW's: 0 here, 0.01 in the paper."),
        Field("train.gradient_clip", "number", "Gradient clip", "Largest norm of a step's gradient: 1. Empty: none."),
        Field(
            "train.kl_reduction",
            "choice",
            "KL is",
            "mean: per token, our choice. sum: over the positions of a sequence, the authors' choice.",
            ("mean", "sum"),
        ),
        Field(
            "train.fast",
            "switch",
            "The fast step",
            "Where the model has one: the same gradient to rounding, in less time. Off: the plain reference step.",
        ),
    ),
    "Text and measuring": (
        Field(
            "data.context_length",
            "count",
            "Tokens per sequence",
            "At most what the model knows: 256 for the pocket model, 8192 for Gemma 2.",
        ),
        Field(
            "data.heldout_tokens",
            "count",
            "Held-out tokens",
            "Text never trained on, measured before and after. 24,576 gave the pocket model's gap closed to ± 1.6 %.",
        ),
        Field(
            "watch.evaluations",
            "count",
            "Evaluations while training",
            "Each measures one eighth of the held-out text, and is a point of the curve.",
        ),
        Field("watch.checkpoint_every_s", "number", "Checkpoint every … s", "What a crash can cost at most: 30 s."),
        Field("watch.checkpoint_every_steps", "count", "Checkpoint every … steps", "Whichever comes first. Empty: by time alone."),
    ),
    "Special tokens, precision, seed": (
        Field(
            "special_tokens.bypass",
            "choices",
            "Not passed through the SAE",
            "Positions of these tokens keep the model's own activation.",
            ("bos", "eos", "pad"),
        ),
        Field(
            "special_tokens.unscored",
            "choices",
            "Not scored",
            "What is predicted after these tokens counts in no loss. The authors score every position.",
            ("bos", "eos", "pad"),
        ),
        Field(
            "model.dtype",
            "choice",
            "Precision",
            "float32, or bfloat16: half the memory, and on a GPU twice the speed. The SAE stays float32.",
            ("float32", "bfloat16"),
        ),
        Field("model.device", "choice", "Device", "auto takes the GPU if there is one.", ("auto", "cpu", "cuda")),
        Field("seed", "count", "Seed", "Of the adapter's start, the order of the text and the dropout. The same seed gives the same run."),
        Field(
            "data.order_seed", "count", "Order of the text", "Its own seed, to read the text as another run does. Empty: the seed above."
        ),
        Field(
            "trust_measured",
            "switch",
            "Go on with an SAE that is not what its publisher states",
            "Else a run ends when L0 is off by more than 2 times, or variance explained by more than 0.15.",
        ),
    ),
}
TOKENS = Field(
    "train.tokens",
    "count",
    "Training tokens",
    "147,456 closes about half of the pocket model's gap in about two minutes on two cores. 0: nothing is trained, only measured.",
)
MODEL_DETAILS = (
    Field("model.revision", "text", "Revision on the Hub", "A branch, tag or commit. Empty: the newest; the commit used is recorded."),
)
DATASET = (
    Field("data.config_name", "text", "Configuration", "Of the dataset, where it has several. Empty: its default."),
    Field("data.split", "text", "Split", "Of the dataset: train."),
    Field("data.column", "text", "Column", "The field that holds the text."),
)
FIELDS: dict[str, Field] = {
    field.setting: field for field in (TOKENS, *MODEL_DETAILS, *DATASET, *(field for group in GROUPS.values() for field in group))
}
LABELS = {setting: field.label for setting, field in FIELDS.items()}
_MAY_BE_EMPTY = ("train.gradient_clip", "data.order_seed", "watch.checkpoint_every_steps", "model.revision", "data.config_name")


def shown(setting: str, value: Any) -> Any:
    """A setting as its box has it."""
    kind = FIELDS[setting].kind
    if kind == "layers":
        return ", ".join(map(str, value))
    return (value or "") if kind == "text" else list(value) if kind == "choices" else value


def hint(setting: str, form: Mapping[str, Any]) -> str:
    """What stands under a box; under Alpha with the scale that the form's own numbers make."""
    info = FIELDS[setting].info
    alpha, rank = form["adapter.alpha"], form["adapter.rank"]
    if setting != "adapter.alpha" or not alpha or not rank:
        return info
    return f"{info} Here it is {alpha:g} / {rank:g} = {alpha / rank:.3g}."


def meant(setting: str, value: Any) -> Any:
    """What a box's value means as a setting.

    Raises:
        LabError: For a list of layers that is none, and a box that must not be empty.
    """
    kind = FIELDS[setting].kind
    if kind == "layers":
        return _layers(str(value or ""))
    if kind == "text":
        text = str(value or "").strip()
        return text or (None if setting in _MAY_BE_EMPTY else text)
    if value is None and setting not in _MAY_BE_EMPTY:
        raise LabError(f"{FIELDS[setting].label} is empty", "The run needs a number there", "Fill it in, or take the preset's")
    if kind == "count" and value is not None:
        if not float(value).is_integer():
            raise LabError(f"{FIELDS[setting].label} = {value} was given", "It must be a whole number", "Give one without a fraction")
        return int(value)
    return value


def _layers(text: str) -> list[int]:
    """`3, 5-7` as 3, 5, 6, 7."""
    layers: list[int] = []
    for part in filter(None, re.split(r"[\s,;]+", text.strip().strip("[]"))):
        match = re.fullmatch(r"(\d{1,4})(?:[-–](\d{1,4}))?", part)
        if not match:
            raise LabError(f"Named layers {text!r} were given", f"{part!r} is no layer", "Write them as 3, 5-7; the first layer is 0")
        first, last = int(match[1]), int(match[2] or match[1])
        layers += [layer for layer in range(first, last + 1) if layer not in layers]
    return layers
