"""The live views of the Adapt page, from a reading of its form: map of SAEs, picture of the model, estimate, differences, address."""

import html
import json
from typing import Any

import gradio as gr

from lorasae.config import RunConfig
from lorasae.costs.estimates import Placement, placement
from lorasae.costs.model_sizes import sizes_of
from lorasae.errors import LabError
from lorasae.identity import NOBODY
from lorasae.jobs.admission import VISITORS_BOUNDS
from lorasae.lab import Lab
from lorasae.planning.config_text import command_line, differences, yaml_of
from lorasae.planning.forecast import forecast
from lorasae.planning.probing import Probing, placed_saes
from lorasae.sources.catalog import POCKET_MODEL, ModelOffer, models, site_of
from lorasae.sources.known_datasets import KNOWN_DATASETS
from lorasae.sources.published_models import SMALL_AND_OPEN, is_gated
from lorasae.sources.sae_card import SAECard
from lorasae.web.adapt_routes import with_reason
from pages.adapt_form import Reading, card_of
from pages.parts import island

_SHOWN_IN_MAP = 160  # SAEs of one layer


def model_choices() -> list[tuple[str, str]]:
    """Labels and values of the model box: built in, then small and open to everybody, then the others by name."""

    def label(offer: ModelOffer) -> str:
        n_saes = count(offer.n_saes, "SAE")
        if offer.model == POCKET_MODEL:
            return f"Pocket model (built in) · {n_saes}"
        kind = "real, small" if offer.model in SMALL_AND_OPEN else "gated" if is_gated(offer.model) else "open"
        return f"{offer.model} · {n_saes} · {kind}, needs the Hub"

    offers = sorted(models(), key=lambda offer: (offer.needs_hub, offer.model not in SMALL_AND_OPEN))
    return [(label(offer), offer.model) for offer in offers]


def layer_choices(offered: tuple[SAECard, ...]) -> list[tuple[str, int]]:
    """Labels and values of the layer box."""
    counts: dict[int, int] = {}
    for card in offered:
        counts[card.layer] = counts.get(card.layer, 0) + 1
    return [(f"{layer} · {count(n, 'SAE')}", layer) for layer, n in sorted(counts.items())]


def sae_choices(offered: tuple[SAECard, ...], layer: int | None) -> list[tuple[str, str]]:
    """Labels and values of the SAE box: those of the layer."""
    return [(sae_label(card), str(card.ref)) for card in offered if card.layer == layer]


def sae_label(card: SAECard) -> str:
    """An SAE in a line, what tells it from its neighbours first: width, L0, name, place, release."""
    width = f"{card.d_sae:,} features" if card.d_sae else "width not stated"
    l0 = f"L0 {card.l0:.3g}" if card.l0 else "L0 not stated"
    names = filter(None, (card.ref.sae_id, site_of(card), card.ref.release))
    return " · ".join((width, l0, *names))


def chosen_label(text: str) -> str:
    """A chosen SAE as the box of several shows it."""
    card = card_of(text)
    return f"layer {card.layer} · {sae_label(card)}" if card else text


def sae_map(reading: Reading) -> str:
    """Width against L0 of the chosen layer's SAEs."""
    layer = reading.form["layer"]
    cards = [card for card in reading.offered if card.layer == layer][:_SHOWN_IN_MAP]
    points = [
        {"name": str(card.ref), "d_sae": card.d_sae, "l0": card.l0, "fve": card.fve, "site": site_of(card)}
        for card in cards
        if card.d_sae and card.l0
    ]
    return island("saemap", layer=layer, points=points, chosen=reading.form["saes"], n_unplaced=len(cards) - len(points))


def picture(reading: Reading) -> str:
    """The model as a column of layers, with SAEs and adapter in it."""
    config = reading.config
    sizes = sizes_of(config.model) if config else None
    if config is None or sizes is None:
        why = "The picture needs the number of layers, which is in the model's config.json on the Hub." if config else None
        return island("modelpicture", unknown=why or "The picture is drawn as soon as the settings mean something.")
    cards = [card for text in reading.form["saes"] if (card := card_of(text))]
    try:
        placed = placement(config.adapter, sizes, placed_saes(config, sizes))
    except LabError:
        placed = None
    saes = [{"layer": card.layer, "site": site_of(card), "name": str(card.ref)} for card in cards]
    return island(
        "modelpicture",
        title=config.model.model,
        n_layers=sizes.n_layers,
        saes=saes,
        adapted=placed.layers if placed else [],
        caption=caption(config, cards, placed, sizes.n_parameters),
    )


def caption(config: RunConfig, cards: list[SAECard], placed: Placement | None, n_parameters: int) -> str:
    """The picture in words."""
    places = [
        f"at layer {card.layer} ({site_of(card)})" if site_of(card) != "after the layer" else f"after layer {card.layer}" for card in cards
    ]
    sits = (
        f"The SAE sits {places[0]}."
        if len(places) == 1
        else f"{len(places)} SAEs sit {', '.join(places)}."
        if places
        else "No SAE is chosen yet."
    )
    if placed is None:
        return sits
    share = placed.n_trained / n_parameters
    adapter = f"LoRA of rank {config.adapter.rank} on {layers_in_words(placed.layers)}"
    sentence = f"{sits} {adapter}: {placed.n_trained:,} trained numbers, {share:.1%} of the model."
    below = [card for card in cards if min(placed.layers) <= card.layer - (site_of(card) == "before the layer")]
    return sentence + (" It reaches below an SAE, so what that SAE reads changes too." if below else " What the SAE reads stays as it was.")


def layers_in_words(layers: tuple[int, ...] | list[int]) -> str:
    """`layers 3–5`, `layer 3`, `layers 1, 3, 5`."""
    layers = sorted(layers)
    if len(layers) == 1:
        return f"layer {layers[0]}"
    if layers == list(range(layers[0], layers[-1] + 1)):
        return f"layers {layers[0]}–{layers[-1]}"
    return f"layers {', '.join(map(str, layers))}"


def estimate(reading: Reading, probing: Probing, training: bool, visitor: str) -> str:
    """Steps, memory and time."""
    if reading.config is None or reading.problem:
        return island("estimate", problem="An estimate appears as soon as the settings fit together.")
    told = with_reason(forecast(reading.config, probing, visitor), reading.config, visitor, training)
    return island("estimate", forecast=told, config=reading.config.model_dump(mode="json"))


def start_button(reading: Reading) -> Any:
    """The button as it stands: pressed only where a run would be taken on."""
    ready = reading.config is not None and not reading.problem and not reading.nobody
    return gr.update(interactive=ready, value="Start the adaptation" if ready else "Not ready yet: see above")


def text_preview(reading: Reading) -> str:
    """A look at the text, on demand."""
    config = reading.config.model_dump(mode="json") if reading.config and not reading.problem else None
    return island("textpreview", config=config)


def dataset_choices() -> list[tuple[str, str]]:
    """Labels and ids of the datasets offered by name, with their licences."""
    return [("Another one, named below", ""), *((f"{each.label} · licence: {each.licence}", each.source) for each in KNOWN_DATASETS)]


def address(reading: Reading) -> str:
    """Keeps the form in the address bar, so that a link restores it."""
    form = reading.form
    parameters: dict[str, str | None] = {
        "model": form["model"] if form["model"] != POCKET_MODEL else None,
        "saes": "|".join(form["saes"]),
        "preset": form["preset"],
        "with": None,
    }
    if reading.config:
        changed: dict[str, Any] = {row.setting: row.value for row in differences(reading.config, form["preset"])}
        data = reading.config.data
        changed |= {
            f"data.{name}": value
            for name, value in data.model_dump(include={"config_name", "split", "column"}).items()
            if form["source"] == "hub"
        }
        if form["source"] != "pocket":
            changed["data.source"] = data.source
        parameters["with"] = json.dumps(changed, separators=(",", ":")) if changed else None
    return island("formaddress", parameters=parameters)


def texts(reading: Reading) -> tuple[str, str]:
    """YAML and command line of the form; empty while it means nothing."""
    config = reading.config
    return (yaml_of(config), command_line(config, reading.form["preset"])) if config else ("", "")


def note(sentence: str) -> str:
    """A plain sentence."""
    return f'<p class="lab-note">{html.escape(sentence)}</p>' if sentence else ""


def count(n: int, noun: str) -> str:
    """`1 SAE`, `2,048 SAEs`."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def pinned_note(pinned: list[dict[str, Any]] | None) -> str:
    """Which pinned features come along."""
    if not pinned:
        return ""
    names = ", ".join(f"{each['release']} / {each['sae_id']} #{each['feature']}" for each in pinned[:6])
    more = f" and {len(pinned) - 6} more" if len(pinned) > 6 else ""
    return note(f"Pinned features that are recorded too: {names}{more}.")


def limits_note(lab: Lab, visitor: str) -> str:
    """What waits before a new run, and what visitors may ask of this lab, before they meet it."""
    running = len(lab.index.with_job("running"))
    waiting = len(lab.index.with_job("queued"))
    busy = (
        f"{count(running + waiting, 'run')} of this lab {'is' if running + waiting == 1 else 'are'} before yours: it waits in the queue."
        if running
        else ""
    )
    if lab.jobs.limits.trusts(visitor) or visitor == NOBODY:
        return note(busy)
    share = lab.jobs.limits.of(visitor)
    most = f"up to {VISITORS_BOUNDS['train.tokens']:,} training tokens and rank {VISITORS_BOUNDS['adapter.rank']}"
    return note(f"{busy} In this lab, you may have {share.running} run at work and {share.queued} waiting, each of {most}.".strip())
