"""Of which commit on the Hub each part of a run is. A branch moves; a commit does not."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lorasae.config import SAERef


@dataclass(frozen=True)
class Commits:
    """The commits that were used; nothing for what is built in or lies in a folder of this machine."""

    model: str | None = None
    saes: Mapping[str, str] = field(default_factory=dict)  # by the SAE's name, as SAERef is written

    def of(self, ref: SAERef) -> str | None:
        """The commit of an SAE."""
        return self.saes.get(str(ref))
