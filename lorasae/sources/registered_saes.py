"""The SAEs of sae-lens's registry as cards: layer, site, width, L0 and Neuronpedia id filled in where a row leaves them out.

Its rows have no fields for layer, width or site; these stand in ids and paths, each family's in its own way, or nowhere.
"""

import math
import re
from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any

from lorasae.config import SAERef
from lorasae.errors import LabError, nearest
from lorasae.sources.published_models import PUBLISHED, hub_id, stream_width
from lorasae.sources.registry import registry
from lorasae.sources.sae_card import SITES, SAECard, Unspliceable, refuse_unspliceable, site_in_words

_PICKLE_LOADERS = ("connor_rob_hook_z", "dictionary_learning_1", "deepseek_r1", "goodfire", "qwen_scope")
_STATED_AT = r"blocks\.\d+\.(?:attn\.)?hook_(?:resid_pre|resid_mid|resid_post|attn_out|mlp_out|z)"
_SITE_MARKS = {  # in "repository/path" of Gemma Scope (-res/), Gemma Scope 2 (/resid_post) and Llama Scope (L12R)
    r"-res/|/resid_post|L\d+R\b": "hook_resid_post",
    r"-mlp/|/mlp_out|L\d+M\b": "hook_mlp_out",
    r"-att/|/attn_out": "attn.hook_z",
    r"L\d+A\b": "hook_attn_out",
}
_TRUE_MODEL = {"gemma-scope-9b-it-res": "gemma-2-9b-it"}  # where the registry names another than the weights were trained on
_ROUNDED = r"(?:width_|-w-|v5_)(\d+)([km])"  # 16k is 2^14, 131k 2^17, 1m 2^20; matryoshka `-w-32k-`; OpenAI's `v5_128k`
_WHOLE = r"_(\d{3,})(?:_anthropic\w*|:v\d)?$"  # `blocks.8.hook_resid_pre_768`, `…hook_mlp_out_24576:v1`, `…_16384_anthropic_fast_lr`
_WIDTHS = {  # by the start of the release, where neither id nor path says it; sizes of files as the Hub lists them, in float32
    "gpt2-small-res-jb": 24_576,  # files of the original release: …hook_resid_pre_24576.pt in jbloom/GPT2-Small-SAEs
    "gpt2-small-res_": 46_080,  # end-to-end SAEs: 60 times the stream of 768 (ApolloResearch/e2e_sae); 283 MB, sparsity of 184 kB
    "pythia-70m-deduped-": 32_768,  # 64 times the stream of 512 (saprmarks/dictionary_learning, "10_32768"); 134 MB, sparsity of 131 kB
    "llama-3-8b-it-res-jh": 65_536,  # its README: x16
    "llama_scope_r1_distill": 32_768,  # its sources on Neuronpedia: …-res-32k; 1.07 GB
    "mistral-7b-res-wg": 65_536,  # 16 times the stream of 4096 (JoshEngels/MultiDimensionalFeatures); 2.15 GB
}
_L0S = {"gpt2-small-attn-out-v5": 32.0, "gpt2-small-mlp-out-v5": 32.0}  # TopK(32), 32k and 128k alike: openai/sparse_autoencoder, paths.py
_ELSEWHERE = {  # places that cannot be spliced: the end of a hook point -> reason, sentence
    "hook_embed": ("embedding", "It reads the embedding, before any layer"),
    "hook_resid_mid": ("between attention and MLP", "It reads the stream in the middle of a layer, between attention and MLP"),
}


@dataclass(frozen=True)
class RefusedSAE:
    """A row of the registry that is not offered, under all its names, and why."""

    ref: SAERef
    repository: str
    path: str
    neuronpedia: str | None
    reason: str  # in two words
    sentence: str


@dataclass(frozen=True)
class Registered:
    """Every row of the registry: a card, or refused for a reason."""

    cards: tuple[SAECard, ...]
    refused: tuple[RefusedSAE, ...]

    @property
    def reasons(self) -> Counter[str]:
        """How many rows are refused for what."""
        return Counter(each.reason for each in self.refused)


@cache
def registered_saes() -> Registered:
    """All of them. A quarter of a second, once."""
    cards: list[SAECard] = []
    refused: list[RefusedSAE] = []
    for release, content in registry().items():
        for row in content["saes"]:
            ref = SAERef(release=release, sae_id=row["id"])
            try:
                cards.append(_card(ref, content, row))
            except Unspliceable as no:
                place = (str(content["repo_id"]), str(row["path"]))
                refused.append(RefusedSAE(ref, *place, _neuronpedia_ids().get(place), no.reason, no.found))
    return Registered(tuple(cards), tuple(refused))


def registered_card(ref: SAERef) -> SAECard:
    """The card of an SAE of the registry.

    Raises:
        LabError: For an unknown release or id; as Unspliceable, for what is no SAE of one place, and weights that exist only as a pickle.
    """
    release = registry().get(ref.release)
    if release is None:
        raise _unknown_release(ref.release)
    row = _rows(ref.release).get(ref.sae_id)
    if row is None:
        known = nearest(ref.sae_id, list(_rows(ref.release)), 5)
        found = f"The release has {len(release['saes'])} SAEs, none of that id"
        raise LabError(f"The SAE {ref} was asked for", found, f"Nearest: {known}")
    return _card(ref, release, row)


@cache
def _rows(release: str) -> dict[str, dict[str, Any]]:
    return {row["id"]: row for row in registry()[release]["saes"]}


def _card(ref: SAERef, release: dict[str, Any], row: dict[str, Any]) -> SAECard:
    loader, path, repository = release.get("conversion_func") or "sae_lens", str(row["path"]), str(release["repo_id"])
    refuse_unspliceable(ref, f"{loader} {path}")
    if loader in _PICKLE_LOADERS:
        raise Unspliceable(
            ref,
            "pickle only",
            "Its weights are published only as a pickle, which could run any code when opened",
            "Choose an SAE published as safetensors or npz, or convert it elsewhere and give the folder",
        )
    hook_point = _spliceable(ref, _hook_point(ref.sae_id, repository, path))
    model = hub_id(_TRUE_MODEL.get(ref.release) or str(release["model"]))
    sizes = PUBLISHED.get(model)
    d_in = stream_width(sizes, site_in_words(hook_point)) if sizes else None
    return SAECard(
        ref=ref,
        architecture="jumprelu" if loader.startswith(("gemma", "llama_scope")) else None,
        d_in=d_in,
        d_sae=_width(ref, repository, path, d_in),
        hook_point=hook_point,
        model=model,
        l0=_l0(ref.release, row, path),
        fve=row.get("variance_explained"),
        repository=repository,
        path=path,
        neuronpedia=_neuronpedia_ids().get((repository, path)),
    )


def _hook_point(sae_id: str, repository: str, path: str) -> str | None:
    if stated := re.match(_STATED_AT, sae_id):
        return stated[0]
    if path.startswith("embedding/"):
        return "hook_embed"
    layer = re.search(r"layer_(\d+)|L(\d+)[RMA]\b", path)
    sites = [site for mark, site in _SITE_MARKS.items() if re.search(mark, f"{repository}/{path}")]
    return f"blocks.{layer[1] or layer[2]}.{sites[0]}" if layer and sites else None


def _spliceable(ref: SAERef, hook_point: str | None) -> str:
    """The place, if it is one that an SAE can be put at."""
    if hook_point is None:
        found = "Where it belongs is stated neither in its id nor in its path"
        raise Unspliceable(ref, "place not known", found, "Save it as a folder with metadata.hook_name in its cfg.json")
    if site_in_words(hook_point) in SITES.values():
        return hook_point
    known = (told for end, told in _ELSEWHERE.items() if hook_point.endswith(end))
    reason, sentence = next(known, ("place not known", f"It reads {hook_point}, which is not known here"))
    raise Unspliceable(ref, reason, sentence, "Choose an SAE before or after a layer, or of its attention or MLP")


def _width(ref: SAERef, repository: str, path: str, d_in: int | None) -> int | None:
    if rounded := re.search(_ROUNDED, f"{repository} {path}"):
        return 2 ** round(math.log2(int(rounded[1]) * (1000 if rounded[2] == "k" else 1_000_000)))
    if whole := re.search(_WHOLE, path):
        return int(whole[1])
    if (multiple := re.search(r"-(\d+)x$", path)) and d_in:  # Llama Scope: `Llama3_1-8B-Base-L12R-8x`
        return int(multiple[1]) * d_in
    return next((width for start, width in _WIDTHS.items() if ref.release.startswith(start)), None)


def _l0(release: str, row: dict[str, Any], path: str) -> float | None:
    """As stated; of "canonical" entries, which state none, as the folder they stand for says; of TopK, its k."""
    if stated := row.get("l0"):
        return float(stated)
    if named := re.search(r"average_l0_(\d+)", path):
        return float(named[1])
    return next((l0 for start, l0 in _L0S.items() if release.startswith(start)), None)


@cache
def _neuronpedia_ids() -> dict[tuple[str, str], str]:
    """By place on the Hub: an entry that names none may stand beside a "canonical" one of the same file that does."""
    return {
        (str(release["repo_id"]), str(row["path"])): row["neuronpedia"]
        for release in registry().values()
        for row in release["saes"]
        if isinstance(row.get("neuronpedia"), str) and re.fullmatch(r"[\w.@-]+/[\w.@-]+", row["neuronpedia"])
    }


def _unknown_release(name: str) -> LabError:
    releases = registry()
    asked, found = f"The release {name!r} was asked for", "It is neither a release of sae-lens's registry nor a local folder"
    if of_repository := [release for release, row in releases.items() if row["repo_id"] == name]:
        return LabError(asked, "It is a repository; sae-lens knows its SAEs under releases", f"Choose among: {', '.join(of_repository)}")
    return LabError(asked, found, f"Nearest: {nearest(name, ['pocket-scope', *releases], 5)}")
