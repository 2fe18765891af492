"""RunConfig -> model, tokenizer and SAEs, checked against each other: by metadata before weights are fetched, by measurement after."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from lorasae.config import RunConfig, SpecialTokensConfig
from lorasae.core.adapter import fitting_modules, placed_layers, refuse_without_place
from lorasae.core.hook_points import HookPoint, parse_hook_point, place, refuse_another_place, text_config
from lorasae.core.sae import FrozenSAE
from lorasae.core.special_tokens import SpecialTokens
from lorasae.core.statistics import SiteStatistics
from lorasae.errors import LabError
from lorasae.sources.catalog import resolve
from lorasae.sources.commits import Commits
from lorasae.sources.fetching import Progress
from lorasae.sources.language_model import chosen_device, load_architecture, load_model, load_tokenizer, pinned, skeleton
from lorasae.sources.peft_files import AdapterShape, refuse_other_settings
from lorasae.sources.sae_card import SAECard
from lorasae.sources.sae_weights import fetch_sae, read_sae
from lorasae.sources.same_model import may_be_same_model, short_name

L0_FACTOR = 2.0  # measured L0 may differ from the stated one by this factor: other text, other special tokens
FVE_SLACK = 0.15  # and variance explained by this much, in absolute terms


@dataclass(frozen=True)
class Loaded:
    """All that a run holds in memory before its adapter."""

    model: PreTrainedModel
    tokenizer: Any
    saes: dict[HookPoint, FrozenSAE]
    cards: dict[HookPoint, SAECard]
    special_tokens: SpecialTokens
    device: torch.device
    commits: Commits  # on the Hub, of what came from there


def load(config: RunConfig, commits: Commits | None = None, progress: Progress | None = None, start: AdapterShape | None = None) -> Loaded:
    """Everything the run needs, on its device.

    Args:
        config: What is asked for.
        commits: Those that a run was begun with; where they say nothing, the config's revision, or the newest.
        progress: Told of bytes that have to be fetched.
        start: The adapter that the run begins with, if it is not a fresh one; it must fit the model and be what the config says.

    Raises:
        LabError: For whatever is unknown, unreachable, damaged or does not fit; misfits that metadata shows, before weights are fetched.
    """
    commits = commits or Commits()
    device = chosen_device(config.model.device)
    cards = [resolve(ref) for ref in config.saes]
    wanted = pinned(config.model.model_copy(update={"revision": commits.model or config.model.revision}))
    architecture = load_architecture(wanted)
    bare = skeleton(wanted, architecture)
    placed = check_pairs(cards, wanted.model, bare)
    check_context(config.data.context_length, architecture)
    layers = placed_layers(config.adapter.placement, config.adapter.layers, list(placed), text_config(bare).num_hidden_layers)
    modules = fitting_modules(bare, layers, config.adapter.modules, config.adapter.rank)
    if start is not None:
        refuse_other_settings(config.adapter, start, layers, modules)
        refuse_without_place(bare, config.adapter.start, start.blocks, start.layers, start.sizes)
    tokenizer = load_tokenizer(wanted)
    saes = {hook_point: load_sae(card, device, commits.of(card.ref), progress) for hook_point, card in placed.items()}
    for hook_point, loaded in saes.items():
        check_size(str(placed[hook_point].ref), hook_point, loaded.sae.d_in, bare)
    model = load_model(wanted, architecture, progress)
    of_saes = {str(placed[hook_point].ref): loaded.commit for hook_point, loaded in saes.items() if loaded.commit}
    return Loaded(
        model=model,
        tokenizer=tokenizer,
        saes={hook_point: loaded.sae for hook_point, loaded in saes.items()},
        cards=placed,
        special_tokens=special_tokens(config.special_tokens, tokenizer),
        device=device,
        commits=Commits(wanted.revision, of_saes),
    )


def check_context(context_length: int, architecture: Any) -> None:
    """Refuse sequences longer than the model knows positions for: past them its numbers mean nothing."""
    known = getattr(architecture.get_text_config(), "max_position_embeddings", None)
    if known is not None and context_length > known:
        asked = f"Sequences of {context_length} tokens were asked for"
        raise LabError(asked, f"The model knows positions up to {known}", f"Set data.context_length to at most {known}")


@dataclass(frozen=True)
class LoadedSAE:
    """An SAE with the place it belongs to, and the commit it is of if it came from the Hub."""

    hook_point: HookPoint
    sae: FrozenSAE
    commit: str | None


def load_sae(card: SAECard, device: torch.device, revision: str | None = None, progress: Progress | None = None) -> LoadedSAE:
    """The SAE of a card; one from the Hub is of the commit `revision`, or of the newest."""
    hook_point = hook_point_of(card)
    if card.folder is not None:
        return LoadedSAE(hook_point, read_sae(card.folder).to(device), None)
    fetched = fetch_sae(card.ref, revision, progress)
    return LoadedSAE(hook_point, fetched.sae.to(device), fetched.commit)


def special_tokens(config: SpecialTokensConfig, tokenizer: Any) -> SpecialTokens:
    """The policy by token id; names for which the tokenizer has no token are passed over."""
    ids = {name: getattr(tokenizer, f"{name}_token_id") for name in ("bos", "eos", "pad")}

    def of(names: tuple[str, ...]) -> tuple[int, ...]:
        return tuple(sorted({ids[name] for name in names} - {None}))

    return SpecialTokens(bypassed=of(config.bypass), unscored=of(config.unscored))


def hook_point_of(card: SAECard) -> HookPoint:
    """The place the SAE belongs to.

    Raises:
        LabError: If its publisher does not state one, or it cannot be spliced.
    """
    if card.hook_point is None:
        raise LabError(f"The SAE {card.ref} was asked for", "Its hook point is not stated", "Write metadata.hook_name into its cfg.json")
    return parse_hook_point(card.hook_point)


def check_pairs(cards: list[SAECard], model_name: str, model: nn.Module) -> dict[HookPoint, SAECard]:
    """Each card at its place in the model, checked by `check_pair`.

    Raises:
        LabError: As check_pair, and for two SAEs at one place.
    """
    placed: dict[HookPoint, SAECard] = {}
    for card in cards:
        hook_point = check_pair(card, model_name, model)
        if hook_point in placed:
            asked = f"The SAEs {placed[hook_point].ref} and {card.ref} were asked for together"
            raise LabError(asked, f"Both sit at {hook_point}", "Keep one SAE per hook point")
        placed[hook_point] = card
    return placed


def check_pair(card: SAECard, model_name: str, model: nn.Module) -> HookPoint:
    """The place in `model` that the SAE belongs to, from metadata alone; the model may be a skeleton on the meta device.

    Raises:
        LabError: If the model lacks the layer or site, its stream there has another size, or the SAE was trained on another model.
    """
    hook_point = hook_point_of(card)
    place(model, hook_point)
    refuse_another_place(model, card.hook_point or "")
    if card.d_in is not None and not _belongs_to(card, model_name):
        check_size(str(card.ref), hook_point, card.d_in, model)
    if card.model is not None and not may_be_same_model(card.model, model_name):
        raise LabError(
            f"The SAE {card.ref} was asked for in the model {model_name}",
            f"It was trained on {card.model}",
            f"Choose the model {card.model}, or an SAE of {model_name}",
        )
    return hook_point


def _belongs_to(card: SAECard, model_name: str) -> bool:
    """Whether a published SAE is asked for in the very model it was published for: then its weights say what its size is, not a table."""
    return card.repository is not None and card.model is not None and short_name(card.model) == short_name(model_name)


def check_size(name: str, hook_point: HookPoint, d_in: int, model: nn.Module) -> None:
    """Refuse the SAE `name` if the stream at `hook_point` is not d_in wide."""
    size = stream_size(model, hook_point)
    if d_in != size:
        raise LabError(
            f"The SAE {name} was asked for at {hook_point}",
            f"It reads {d_in} dimensions, the model has {size} there",
            "Choose an SAE that was trained on this model",
        )


def stream_size(model: nn.Module, hook_point: HookPoint) -> int:
    """Width of the stream: the model's, or that of all attention heads together."""
    config = text_config(model)
    if hook_point.site != "attn_z":
        return config.hidden_size
    return config.num_attention_heads * (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def check_measured(hook_point: HookPoint, card: SAECard, statistics: SiteStatistics) -> None:
    """Hold what an SAE was measured to do against what its publisher states.

    Raises:
        LabError: If L0 is off by more than a factor of 2, variance explained by more than 0.15, or the reconstruction is worse than a
            constant.
    """
    wrong = []
    if card.l0 and not card.l0 / L0_FACTOR <= statistics.l0 <= card.l0 * L0_FACTOR:
        wrong.append(f"L0 is {statistics.l0:.3g}, stated {card.l0:.3g}")
    if statistics.fve < 0 or (card.fve is not None and abs(statistics.fve - card.fve) > FVE_SLACK):
        stated = "not stated" if card.fve is None else f"stated {card.fve:.3f}"
        wrong.append(f"variance explained is {statistics.fve:.3f}, {stated}")
    if wrong:
        raise LabError(
            f"The SAE {card.ref} was measured at {hook_point} on {statistics.n_tokens} tokens",
            f"There its {' and its '.join(wrong)}",
            "Usual causes: text unlike the text it was trained on, another layer or site than it was trained at, another model or "
            "revision, a normalisation folded into the model it was trained on, or special tokens passed through it. "
            "To go on all the same, set trust_measured (in a terminal: --set trust_measured=true)",
        )
