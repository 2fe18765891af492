"""The settings that have a short flag in the terminal; every other one is reached with --set section.name=value."""

from dataclasses import dataclass

from lorasae.sources.known_datasets import KNOWN_DATASETS


@dataclass(frozen=True)
class Flag:
    """`--name`, and the setting it gives."""

    name: str
    setting: str  # dotted
    help: str
    is_word: bool = False  # taken as it stands, not as YAML


FLAGS = (
    Flag("name", "name", "a name of your own for the run", is_word=True),
    Flag("model", "model.model", "pocket, a Hub id or a local folder", is_word=True),
    Flag("dtype", "model.dtype", "float32 or bfloat16", is_word=True),
    Flag("device", "model.device", "auto, cpu or cuda", is_word=True),
    Flag("rank", "adapter.rank", "rank of the adapter"),
    Flag("alpha", "adapter.alpha", "the adapter's scale is alpha / rank"),
    Flag("placement", "adapter.placement", "after (layers above the SAE) or all", is_word=True),
    Flag("layers", "adapter.layers", "named layers instead, e.g. [3, 4]"),
    Flag("modules", "adapter.modules", "attention, mlp, or projections, e.g. [q_proj, down_proj]"),
    Flag("start", "adapter.start", "begin with the adapter of a run or of a Hub repository; --tokens 0 measures it only", is_word=True),
    Flag(
        "data",
        "data.source",
        f"pocket, a .txt, .jsonl or .csv file, a dataset id, or one of: {', '.join(each.name for each in KNOWN_DATASETS)}",
        is_word=True,
    ),
    Flag("context", "data.context_length", "tokens per sequence"),
    Flag("tokens", "train.tokens", "training tokens"),
    Flag("lr", "train.learning_rate", "peak learning rate"),
    Flag("seed", "seed", "seed of adapter, data order and dropout"),
)
