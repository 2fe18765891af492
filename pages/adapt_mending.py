"""What is wrong with a form, in its own labels; what would mend it; what deserves a warning although it may be started. No Gradio."""

import re
from typing import Any

from lorasae.config import ModelConfig, RunConfig, whole_steps
from lorasae.errors import LabError
from lorasae.planning.config_text import preset_settings
from lorasae.planning.fitting import max_context
from pages.adapt_fields import LABELS

_NAMED = re.compile("|".join(re.escape(name) for name in sorted(LABELS, key=len, reverse=True) if "." in name))
_HIGHEST_LEARNING_RATE = 0.02  # 0.004 suits the pocket model, and at 0.05 runs get worse


def by_label(problem: LabError) -> str:
    """The problem, with every setting called as its box is."""
    asked = re.sub(r"^The setting (\S+)(?= )", lambda named: LABELS.get(named[1], named[0]), problem.asked)
    return str(LabError(*(_NAMED.sub(lambda named: f"“{LABELS[named[0]]}”", part) for part in (asked, problem.found, problem.remedy))))


def mending(form: dict[str, Any], problem: LabError) -> dict[str, Any]:
    """The settings that would mend a misfit, by dotted name: one, and what depends on it. Empty where nobody can say."""
    if problem.asked.startswith(("The setting train.tokens_per_step = ", "The setting train.micro_batch_size = ")):
        return _whole(form, form["data.context_length"])
    known = problem.found.rpartition(" ")[2]
    if not known.isdigit():
        return {}
    if problem.found.startswith("The model knows positions"):
        return {"data.context_length": int(known), **_whole(form, int(known))}
    return {"adapter.rank": int(known)} if problem.found.startswith("The smallest side") else {}


def fit_to_model(form: dict[str, Any]) -> None:
    """Shorten the sequences of the form's preset to the positions its model knows, with the steps made of them."""
    most = max_context(ModelConfig(model=form["model"]))
    if most and form["data.context_length"] == preset_settings(form["preset"])["data.context_length"] > most:
        form |= {"data.context_length": most, **_whole(form, most)}


def _whole(form: dict[str, Any], context_length: Any) -> dict[str, int]:
    numbers = [context_length, form["train.tokens_per_step"], form["train.micro_batch_size"]]
    if not all(isinstance(number, (int, float)) and number >= 1 for number in numbers):
        return {}
    return whole_steps(*map(int, numbers))


def warnings(config: RunConfig, preset: str) -> list[dict[str, Any]]:
    """What will hardly be meant, each as a sentence and the settings that would change it."""
    rate = config.train.learning_rate
    if rate <= _HIGHEST_LEARNING_RATE:
        return []
    sentence = (
        f"A learning rate of {rate:g} is far too high: the model gets worse instead of better, or the run ends because its numbers are "
        "no longer finite. 0.004 suits the pocket model, 0.001 large ones."
    )
    return [{"sentence": sentence, "fix": {"train.learning_rate": preset_settings(preset)["train.learning_rate"]}}]
