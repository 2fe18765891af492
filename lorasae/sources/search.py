"""One line of text -> the SAEs it means: words about them, or any of their names, pasted. Pure; a few milliseconds over all that exist.

Words: model, release, id, "layer 12" or "l12", "16k", "mlp", "residual", "attention", "l0 82" (nearest first).
Pasted: RELEASE / SAE_ID, a path or an address on the Hub, a Neuronpedia id or address, also of one feature.
"""

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar
from urllib.parse import unquote, urlsplit

from lorasae.config import SAERef
from lorasae.sources.sae_card import SAECard, site_of

_SITE_WORDS = {
    "mlp": ("MLP output",),
    **dict.fromkeys(("residual", "resid", "res", "stream"), ("before the layer", "after the layer")),
    **dict.fromkeys(("attention", "attn", "att"), ("attention output", "attention heads")),
    "heads": ("attention heads",),
}
_HUB_HOSTS = ("huggingface.co", "hf.co")
_NEURONPEDIA_HOST = "neuronpedia.org"
_FILLER = {"sae", "saes", "width", "features", "with", "at", "of", "the", "in", "site"}
MOST_CHARACTERS = 500


class Named(Protocol):
    """Whatever has the names of an SAE."""

    @property
    def ref(self) -> SAERef: ...
    @property
    def repository(self) -> str | None: ...
    @property
    def path(self) -> str | None: ...
    @property
    def neuronpedia(self) -> str | None: ...


AnyNamed = TypeVar("AnyNamed", bound=Named)


@dataclass(frozen=True)
class Address:
    """What a pasted text says, taken apart."""

    place: str = ""  # repository and path on the Hub, in one
    neuronpedia: str = ""
    feature: int | None = None


@dataclass(frozen=True)
class Found:
    """The SAEs that a query means, best first."""

    cards: tuple[SAECard, ...]
    by_name: bool = False  # the query is a name of these, not words about them
    feature: int | None = None  # that a pasted address names


@dataclass(frozen=True)
class _Item:
    card: SAECard
    words: str  # everything said of it, in lower case, each word with a blank before it
    widths: frozenset[str]  # as people write it: 16384, 16k


@dataclass(frozen=True)
class Shelf:
    """SAEs made ready to be searched, in the order in which they are to be shown."""

    cards: tuple[SAECard, ...]
    _items: tuple[_Item, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_items", tuple(_Item(card, _words_of(card), _widths(card.d_sae)) for card in self.cards))

    def search(self, query: str) -> Found:
        """What `query` means; everything, for an empty one."""
        query = query.strip()[:MOST_CHARACTERS]
        address = address_of(query)
        if named := by_name(query, self.cards):
            return Found(named, True, address.feature)
        tests, l0 = self._understood((address.place or query) if "://" in query else query)
        cards = tuple(item.card for item in self._items if all(test(item) for test in tests))
        if l0 is not None:
            cards = tuple(sorted((card for card in cards if card.l0), key=lambda card: abs(math.log(card.l0 or 1) - math.log(l0))))
        return Found(cards)

    def _understood(self, query: str) -> tuple[list[Callable[[_Item], bool]], float | None]:
        """What an SAE must satisfy, and the L0 it should be near."""
        text = re.sub(r"(\d),(?=\d{3}\b)", r"\1", query.lower())
        l0: float | None = None
        tests: list[Callable[[_Item], bool]] = []
        if asked := re.search(r"(?<![\w-])l0\s*[=:≈~ ]\s*(\d+(?:\.\d+)?)", text):
            l0 = max(float(asked[1]), 0.1)
            text = text[: asked.start()] + " " + text[asked.end() :]
        for layer in re.findall(r"(?<![\w-])(?:layer[\s_=:]*|l)(\d+)(?!\w)", text):
            tests.append(lambda item, layer=int(layer): item.card.layer == layer)
        text = re.sub(r"(?<![\w-])(?:layer[\s_=:]*|l)(\d+)(?!\w)", " ", text)
        known_widths = frozenset[str]().union(*(item.widths for item in self._items)) if re.search(r"\d", text) else frozenset()
        for word in text.split():
            bare = re.sub(r"^width[_=:]", "", word).strip(".,;()[]\"'")
            if bare in known_widths:
                tests.append(lambda item, width=bare: width in item.widths)
            elif sites := _SITE_WORDS.get(bare):
                tests.append(lambda item, sites=sites: site_of(item.card) in sites)
            elif bare and bare not in _FILLER:
                phrase = _spaced(bare)
                tests.append(lambda item, phrase=phrase: phrase in item.words)
        return tests, l0


def by_name(query: str, among: Iterable[AnyNamed]) -> tuple[AnyNamed, ...]:
    """Those that `query` is a name of: of one SAE, or of a release, repository or folder of several. None for words about them."""
    query, among = query.strip(), tuple(among)
    if not query:
        return ()
    address = address_of(query)
    own = re.sub(r"\s*/\s+|\s+", "/", query)  # RELEASE / ID, RELEASE ID, RELEASE/ID
    if exact := tuple(each for each in among if own in (f"{each.ref.release}/{each.ref.sae_id}", each.ref.release)):
        return exact
    if address.neuronpedia and (known := _of_neuronpedia(address.neuronpedia, among)):
        return _own_names_first(known)
    if "/" not in address.place:
        return tuple(each for each in among if query == each.ref.sae_id)
    inside = [each for each in among if each.repository and _is_within(address.place, f"{each.repository}/{each.path}")]
    around = [each for each in among if each.repository and _is_within(f"{each.repository}/{each.path}", address.place)]
    return _own_names_first(inside or around) or tuple(each for each in among if query == each.ref.sae_id)


def address_of(text: str) -> Address:
    """A pasted text taken apart: an address on the Hub or of Neuronpedia, or the same without its beginning."""
    text = text.strip()
    try:
        parts = urlsplit(text if "://" in text else f"//{text}")
        host = (parts.hostname or "").removeprefix("www.")
    except ValueError:
        return Address()
    steps = [step for step in unquote(parts.path).split("/") if step]
    if host in _HUB_HOSTS:
        return Address(place="/".join(_without_revision(steps)))
    if host == _NEURONPEDIA_HOST:
        return _neuronpedia_address(steps[2:] if steps[:1] == ["api"] else steps)
    if "://" in text or any(blank in text for blank in " \t\n"):
        return Address()
    plain = [step for step in text.split("?")[0].split("#")[0].split("/") if step]
    return replace(_neuronpedia_address(plain), place="/".join(_without_revision(plain)))


def _neuronpedia_address(steps: list[str]) -> Address:
    if len(steps) < 2:
        return Address()
    feature = int(steps[2]) if len(steps) > 2 and re.fullmatch(r"\d{1,9}", steps[2], re.ASCII) else None
    if len(steps) > 2 and feature is None:
        return Address()
    return Address(neuronpedia=f"{steps[0]}/{steps[1]}", feature=feature)


def _without_revision(steps: list[str]) -> list[str]:
    """owner/name/tree/main/a/b -> owner/name/a/b"""
    return [*steps[:2], *steps[4:]] if len(steps) > 3 and steps[2] in ("tree", "blob", "resolve", "raw") else steps


def _is_within(place: str, folder: str) -> bool:
    return place == folder or place.startswith(folder + "/")


def _of_neuronpedia(source: str, among: tuple[AnyNamed, ...]) -> list[AnyNamed]:
    """By the id itself; `…-16k__l0-22` also as the neighbour, of L0 22, of the SAE that is called `…-16k`."""
    if known := [each for each in among if each.neuronpedia == source]:
        return known
    base, _, l0 = source.partition("__l0-")
    folders = {_folder_of(each) for each in among if l0 and each.neuronpedia == base}
    return [each for each in among if (each.path or "").endswith(f"_l0_{l0}") and _folder_of(each) in folders]


def _folder_of(named: Named) -> tuple[str | None, str]:
    return named.repository, (named.path or "").rpartition("/")[0]


def _own_names_first(found: list[AnyNamed]) -> tuple[AnyNamed, ...]:
    """The entry called as its folder is before the "canonical" one that stands for the same folder."""
    return tuple(sorted(found, key=lambda each: each.ref.sae_id != each.path))


def _spaced(text: str) -> str:
    return " " + " ".join(re.findall(r"[\w.]+", text.replace("_", " ")))


def _words_of(card: SAECard) -> str:
    model = card.model or ""
    squashed = re.sub(r"[^a-z0-9.]", "", model.rpartition("/")[2].lower())  # "gemma2" finds gemma-2-2b
    names = (card.ref.release, card.ref.sae_id, card.repository, card.path, card.neuronpedia)
    said = (model, squashed, *names, card.architecture, card.hook_point, site_of(card))
    return _spaced(" ".join(filter(None, said)).lower())


def _widths(d_sae: int | None) -> frozenset[str]:
    """16384 -> 16384, 16k; 131072 -> 131k, 128k; 1048576 -> 1m."""
    if not d_sae:
        return frozenset()
    short = {f"{d_sae // 1000}k", f"{d_sae / 1024:.0f}k"} if d_sae < 1_000_000 else {f"{d_sae // 1_000_000}m"}
    return frozenset({str(d_sae), *short} - {"0k"})
