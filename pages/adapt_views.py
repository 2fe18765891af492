"""The live views of the Adapt page, from a reading of its form: map of SAEs, picture of the model, estimate, differences, address."""

import html
import json
from typing import Any

from lorasae.config import PRESETS, RunConfig
from lorasae.errors import LabError
from lorasae.identity import LOCAL_OWNER
from lorasae.jobs.admission import VISITORS_BOUNDS
from lorasae.lab import Lab
from lorasae.planning.config_text import command_line, differences, yaml_of
from lorasae.planning.estimates import Placement, placement
from lorasae.planning.forecast import forecast, why_not_measured
from lorasae.planning.model_sizes import sizes_of
from lorasae.planning.probing import Probing, placed_saes
from lorasae.planning.uploads import Upload
from lorasae.sources.catalog import POCKET_MODEL, ModelOffer, models, site_of
from lorasae.sources.published_models import SMALL_AND_OPEN, is_gated
from lorasae.sources.sae_card import SAECard
from pages.adapt_fields import LABELS
from pages.adapt_form import Reading, card_of
from pages.parts import island

PRESET_NAMES = {"quick": "Quick look", "default": "Default", "thorough": "Thorough", "paper": "As in the paper"}
PRESET_SENTENCES = {
    "quick": "Enough to see the gap begin to close: 40 steps of the pocket model, half a minute on two cores.",
    "default": "Sized for the pocket model: 144 steps, a minute and a half on two cores, about half of the gap closed.",
    "thorough": "Our recipe for models of a billion parameters and more: 15 million tokens, a gentler learning rate, hours on a GPU.",
    "paper": "What the authors ran, to compare with their tables: rank 64, one sequence of 1024 tokens per step, KL summed.",
}
_SHOWN_IN_MAP = 160  # SAEs of one layer


def model_choices() -> list[tuple[str, str]]:
    """Labels and values of the model box: built in, then small and open to everybody, then the others by name."""

    def label(offer: ModelOffer) -> str:
        n_saes = _count(offer.n_saes, "SAE")
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
    return [(f"Layer {layer} · {_count(n, 'SAE')}", layer) for layer, n in sorted(counts.items())]


def sae_choices(offered: tuple[SAECard, ...], layer: int | None) -> list[tuple[str, str]]:
    """Labels and values of the SAE box: those of the layer."""
    return [(sae_label(card), str(card.ref)) for card in offered if card.layer == layer]


def sae_label(card: SAECard) -> str:
    """An SAE in a line: width, L0, place, name."""
    width = f"{card.d_sae:,} features" if card.d_sae else "width not stated"
    l0 = f"L0 {card.l0:.3g}" if card.l0 else "L0 not stated"
    return f"{width} · {l0} · {site_of(card)} · {card.ref}"


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


def estimate(reading: Reading, probing: Probing, training: bool) -> str:
    """Steps, memory and time."""
    if reading.config is None or reading.problem:
        return island("estimate", problem="An estimate appears as soon as the settings fit together.")
    found = forecast(reading.config, probing)
    fits = found["memory"]["verdict"] if found.get("memory") else ""
    why_not = found["unknown"] or why_not_measured(reading.config, fits, training)
    return island("estimate", forecast={**found, "cannot_measure": why_not}, config=reading.config.model_dump(mode="json"))


def preset_differences(reading: Reading) -> str:
    """What is not as the preset has it, each resettable."""
    preset = reading.form["preset"]
    rows = differences(reading.config, preset) if reading.config else []
    return island(
        "presetdiff",
        preset=PRESET_NAMES.get(preset, preset),
        sentence=PRESET_SENTENCES.get(preset, ""),
        readable=reading.config is not None,
        rows=[
            {"setting": row.setting, "label": LABELS.get(row.setting, row.setting), "preset": row.preset, "value": row.value}
            for row in rows
        ],
    )


def text_preview(reading: Reading) -> str:
    """A look at the text, on demand."""
    ready = reading.config is not None and not reading.problem
    config = reading.config.model_dump(mode="json") if reading.config and ready else None
    return island("textpreview", config=config)


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


def problem_note(reading: Reading) -> str:
    """The one sentence that keeps the run from starting, and a button that mends it where one setting would."""
    return island("formproblem", problem=reading.problem, fix=reading.fix, labels={name: LABELS[name] for name in reading.fix})


def texts(reading: Reading) -> tuple[str, str]:
    """YAML and command line of the form; empty while it means nothing."""
    config = reading.config
    return (yaml_of(config), command_line(config, reading.form["preset"])) if config else ("", "")


def note(sentence: str) -> str:
    """A plain sentence."""
    return f'<p class="lab-note">{html.escape(sentence)}</p>' if sentence else ""


def kept_note(sentence: str, kept: Upload, context_length: Any) -> str:
    """What was kept, and a warning where it cannot fill a sequence on the training and one on the held-out side."""
    if kept.n_documents > 1 and kept.n_tokens >= 2 * float(context_length or 0):
        return note(sentence)
    few = (
        f"That is about {kept.n_tokens:,} tokens. A run needs documents to train on and others to measure on, {context_length} tokens each"
    )
    return alert(f"{sentence} {few}: give more text, or fewer tokens per sequence.")


def preset_choices() -> list[tuple[str, str]]:
    """Labels and values of the presets, the shortest first."""
    known = [name for name in PRESET_NAMES if name in PRESETS]
    return [(PRESET_NAMES[name], name) for name in known] + [(name, name) for name in PRESETS if name not in known]


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def alert(sentence: str) -> str:
    """A problem that a handler met."""
    return island("formproblem", problem=sentence, fix={}, labels={})


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
        f"{_count(running + waiting, 'run')} of this lab {'is' if running + waiting == 1 else 'are'} before yours: it waits in the queue."
        if running
        else ""
    )
    if visitor == LOCAL_OWNER:
        return note(busy)
    share = lab.jobs.limits.of(visitor)
    most = f"up to {VISITORS_BOUNDS['train.tokens']:,} training tokens and rank {VISITORS_BOUNDS['adapter.rank']}"
    return note(f"{busy} In this lab, you may have {share.running} run at work and {share.queued} waiting, each of {most}.".strip())
