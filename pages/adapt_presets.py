"""The presets in words, and how a form differs from the one it started from; problems and warnings as the page shows them."""

from typing import Any

from lorasae.config import PRESETS, RunConfig
from lorasae.planning.config_text import differences, preset_settings
from lorasae.planning.fitting import max_context
from lorasae.sources.catalog import POCKET_MODEL
from pages.adapt_fields import LABELS
from pages.adapt_form import Reading
from pages.adapt_mending import warnings
from pages.parts import island

PRESET_NAMES = {"quick": "Quick look", "default": "Default", "thorough": "Thorough", "paper": "As in the paper"}
PRESET_SENTENCES = {
    "quick": "Enough to see the gap begin to close: 40 steps of the pocket model, under a minute on two cores.",
    "default": "Sized for the pocket model: 144 steps, about two minutes on two cores, about half of the gap closed.",
    "thorough": "Our recipe for models of a billion parameters and more: 15 million tokens, a gentler learning rate, hours on a GPU.",
    "paper": "What the authors ran, to compare with their tables: rank 64, one sequence of 1024 tokens per step, KL summed.",
}


def preset_choices() -> list[tuple[str, str]]:
    """Labels and values of the presets, the shortest first."""
    known = [name for name in PRESET_NAMES if name in PRESETS]
    return [(PRESET_NAMES[name], name) for name in known] + [(name, name) for name in PRESETS if name not in known]


def preset_differences(reading: Reading) -> str:
    """What is not as the preset has it, each resettable."""
    preset, config = reading.form["preset"], reading.config
    rows = differences(config, preset) if config else []
    return island(
        "presetdiff",
        preset=PRESET_NAMES.get(preset, preset),
        sentence=" ".join(filter(None, (PRESET_SENTENCES.get(preset, ""), shortened(config, preset) if config else ""))),
        readable=config is not None,
        rows=[
            {"setting": row.setting, "label": LABELS.get(row.setting, row.setting), "preset": row.preset, "value": row.value}
            for row in rows
        ],
        scale=changed_scale(config, preset) if config else None,
    )


def shortened(config: RunConfig, preset: str) -> str:
    """Says so where the preset's sequences are cut to what the model knows."""
    length, meant = config.data.context_length, preset_settings(preset)["data.context_length"]
    if length >= meant or length != max_context(config.model):
        return ""
    who = "the pocket model" if config.model.model == POCKET_MODEL else config.model.model
    return f"Shortened to {length:,} tokens per sequence, all that {who} knows."


def changed_scale(config: RunConfig, preset: str) -> dict[str, Any] | None:
    """Where alpha / rank is not the preset's: a sentence, and the alpha that would keep it if it was the rank that changed."""
    of_preset = preset_settings(preset)
    rank, alpha = config.adapter.rank, config.adapter.alpha
    scale, meant = alpha / rank, of_preset["adapter.alpha"] / of_preset["adapter.rank"]
    if scale == meant:
        return None
    sentence = f"The adapter's scale, alpha / rank, differs too: {meant:.3g} in the preset, {scale:.3g} here."
    return {"sentence": sentence, "alpha": meant * rank if rank != of_preset["adapter.rank"] else None}


def problem_note(reading: Reading) -> str:
    """What keeps the run from starting, or speaks against it, each with a button that mends it where that is known."""
    warned = warnings(reading.config, reading.form["preset"]) if reading.config else []
    nobody = [{"sentence": reading.nobody, "fix": {}, "sign_in": reading.sign_in}] if reading.nobody else []
    wrong = [{"sentence": reading.problem, "fix": reading.fix}] if reading.problem else []
    return _told(nobody, wrong + warned) if reading.still_empty else _told(nobody + wrong, warned)


def alert(sentence: str) -> str:
    """A problem that a handler met."""
    return _told([{"sentence": sentence, "fix": {}}], [])


def _told(problems: list[dict[str, Any]], warned: list[dict[str, Any]]) -> str:
    fixed = {name for each in (*problems, *warned) for name in each["fix"]}
    return island("formproblem", problems=problems, warnings=warned, labels={name: LABELS[name] for name in fixed})
