"""Datasets on the Hub that are offered by name: where their text is, how large they are, whose they are. Metadata only.

All are files (Parquet, or JSON Lines packed with zstd) that are streamed: a run fetches as much as it reads. Datasets made by a script of
their publisher's cannot be read, because no code is fetched: RedPajama's own repositories are such, so its cleaned sample stands for it.
Where each fact was found: docs/decisions.md.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class KnownDataset:
    """A dataset, and where in it the text is."""

    name: str  # to type
    source: str  # its id on the Hub
    label: str
    about: str
    licence: str
    config_name: str | None = None
    split: str = "train"
    column: str = "text"

    @property
    def settings(self) -> dict[str, str | None]:
        """As DataConfig has them."""
        return {"source": self.source, "config_name": self.config_name, "split": self.split, "column": self.column}


KNOWN_DATASETS = (
    KnownDataset(
        "pile",
        "monology/pile-uncopyrighted",
        "The Pile, uncopyrighted (the paper's)",
        "What the paper and Gemma Scope's authors measure on: web, papers, code, law and more, mixed. JSON Lines in large parts.",
        "“other”, see its card",
    ),
    KnownDataset(
        "redpajama",
        "DKYoon/SlimPajama-6B",
        "RedPajama, cleaned (SlimPajama, 6 billion tokens)",
        "A sample of RedPajama without its doubles; the paper's timing runs used RedPajama itself. Parquet, 14 GB in all.",
        "none stated",
    ),
    KnownDataset(
        "fineweb",
        "HuggingFaceFW/fineweb",
        "FineWeb, 10 billion tokens of the web",
        "Filtered web pages in English. Parquet, parts of 2 GB.",
        "ODC-By 1.0",
        config_name="sample-10BT",
    ),
    KnownDataset(
        "tinystories",
        "roneneldan/TinyStories",
        "TinyStories",
        "Two million very short stories in simple words, for a quick look. Parquet, 1 GB in all.",
        "CDLA-Sharing 1.0",
    ),
)


def known_dataset(name: str) -> KnownDataset | None:
    """The dataset of that name or id."""
    return next((each for each in KNOWN_DATASETS if name in (each.name, each.source)), None)
