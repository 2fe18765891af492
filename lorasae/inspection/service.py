"""The process that holds opened runs and answers for any text, feature and prompt: `python -m lorasae.inspection.service HOME`.

One JSON line per request on standard input, JSON lines with its number on standard output (inspector.py is the other end). It ends when its
input does, which is when the app ends, however that came about.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # before torch: spinning threads would slow a training job beside us

import json
import sys
import threading
import time
import warnings
from pathlib import Path
from typing import Any, TextIO

from lorasae.errors import LabError
from lorasae.inspection.activity import ActivityCache
from lorasae.inspection.comparison import heldout_ce, notes
from lorasae.inspection.desk import Desk, Desks
from lorasae.inspection.feature_details import decoder_side, text_side
from lorasae.inspection.opened_run import OpenedSAE
from lorasae.inspection.room import device_for
from lorasae.inspection.rows import change_rows, rounded, sae_row, token_rows
from lorasae.inspection.run_saes import above, chosen, offered, opening
from lorasae.inspection.steered_texts import steered_texts
from lorasae.inspection.turns import Message, Pieces, Request, Turns
from lorasae.sources.language_model import chosen_device
from lorasae.sources.neuronpedia import feature_links, neuronpedia_id, source_address
from lorasae.store.device_turns import turn_at
from lorasae.store.run_folder import Run

IDLE_S = 900.0
N_FEATURES = 60
_LIMITS_S = {"saes": 120.0, "compare": 120.0, "feature": 120.0, "activity": 3600.0, "steer": 900.0}
_LONG = ("activity", "steer")


class Service:
    """The answers, by method name. Parameters come from the app, which has checked who may look at the run."""

    def __init__(self, home: Path) -> None:
        self.device = chosen_device("auto")
        self.turn = turn_at(self.device, home)
        self.desks = Desks(ActivityCache(home), self._device_for)
        self._beside: str | None = None  # the job that was at work when something was last opened on the device
        self._holds_memory = False

    def work(self, method: str, params: dict[str, Any]) -> Message | Pieces:
        """The answer to one request, or its pieces."""
        return {"saes": self.saes, "compare": self.compare, "feature": self.feature, "activity": self.activity, "steer": self.steer}[
            method
        ](**params)

    def saes(self, run: str) -> Message:
        """The SAEs through which the run can be looked at, and the one to begin with."""
        opened = self.desks.at(run).opened
        return {"saes": offered(opened), "opening": opening(opened)}

    def compare(self, run: str, text: str, release: str, sae_id: str, folders: bool) -> Message:
        """A text under the three conditions, seen through one SAE."""
        started = time.monotonic()
        desk, observed = self._seat(run, release, sae_id, folders)
        comparison = desk.comparison(observed, text)
        activity = desk.activity(observed)
        features = change_rows(comparison, observed.hook_point, N_FEATURES)
        for row in features:
            feature = row["feature"]
            row["density"] = rounded(max(activity.density(feature))) if activity else None
            row["label"] = activity.label(feature) if activity else None
            row["status"] = activity.status(feature) if activity else None
        return {
            "run_id": desk.opened.run.run_id,
            "text": text,
            "sae": sae_row(observed, source_address(observed.card)),
            "above": above(desk.opened, observed),
            "notes": notes(desk.opened, comparison, observed.hook_point),
            "means": {name: None if value is None else rounded(value) for name, value in comparison.means.items()},
            "heldout_ce_original": rounded(heldout_ce(desk.opened)),
            "tokens": token_rows(comparison),
            "features": features,
            "activity": desk.progress(observed),
            "elapsed_s": round(time.monotonic() - started, 4),
        }

    def feature(self, run: str, feature: int, text: str, release: str, sae_id: str, folders: bool) -> Message:
        """One feature: on the text, on held-out text, and by its decoder row."""
        desk, observed = self._seat(run, release, sae_id, folders)
        _check_feature(observed, feature)
        activity = desk.activity(observed)
        on_text: dict[str, Any] = {"before": [], "after": []}
        if text.strip():
            found = desk.comparison(observed, text).firings(observed.hook_point)
            on_text = {
                side: rounded(found[name].on([feature])[:, 0]) for side, name in (("before", "original_sae"), ("after", "adapted_sae"))
            }
        nothing: dict[str, Any] = dict.fromkeys(("density", "fired", "histogram", "examples", "correlation", "status", "label"))
        return {
            "feature": feature,
            **on_text,
            "sae": sae_row(observed, source_address(observed.card)),
            "activity": desk.progress(observed),
            **(text_side(activity, desk.opened, feature) if activity else nothing),
            **decoder_side(desk.opened, observed, feature, activity),
            "neuronpedia": feature_links(neuronpedia_id(observed.card), feature),
        }

    def activity(self, run: str, release: str, sae_id: str, folders: bool) -> Pieces:
        """The pass over held-out text, told as it goes."""
        desk, observed = self._seat(run, release, sae_id, folders)
        while desk.activity(observed) is None:
            done, total = desk.go_on(observed)
            yield {"done": done, "total": total}
        return {"ready": True}

    def steer(
        self,
        run: str,
        prompt: str,
        feature: int,
        release: str,
        sae_id: str,
        folders: bool,
        strength: float,
        n_tokens: int,
        temperature: float,
        seed: int,
        with_sae: bool,
    ) -> Pieces:
        """The four texts, token by token."""
        desk, observed = self._seat(run, release, sae_id, folders)
        _check_feature(observed, feature)
        typical = desk.typical_maximum(observed, feature)
        return (
            yield from steered_texts(
                desk.opened,
                observed,
                prompt,
                feature,
                typical,
                strength=strength,
                n_tokens=n_tokens,
                temperature=temperature,
                seed=seed,
                with_sae=with_sae,
            )
        )

    def is_in_the_way(self) -> bool:
        """Whether a job has come since that needs the memory of the device which is held here."""
        return self._holds_memory and self.turn.job() not in (None, self._beside)

    def _device_for(self, run: Run) -> str | None:
        job = self.turn.job()
        device = device_for(run, self.turn, self.device.type)
        if chosen_device(device or run.config.model.device) == self.device:  # else what lies there was not opened beside this job
            self._beside = job
        return device

    def _seat(self, run: str, release: str, sae_id: str, folders: bool) -> tuple[Desk, OpenedSAE]:
        """The run and the SAE, opened; from here on the device is this request's until its step ends."""
        desk = self.desks.at(run)
        observed = chosen(desk.opened, release, sae_id, folders=folders)
        if desk.opened.loaded.device == self.device:
            self._holds_memory = True
            self.turn.take()
        return desk, observed


def _check_feature(observed: OpenedSAE, feature: int) -> None:
    if not 0 <= feature < observed.sae.d_sae:
        raise LabError(
            f"The feature {feature} was asked for",
            f"The SAE has {observed.sae.d_sae:,} features, 0 to {observed.sae.d_sae - 1}",
            "Choose one of these",
        )


def main() -> None:
    """Answer until the input ends or nothing was asked for a while."""
    home, idle_s = Path(sys.argv[1]), float(sys.argv[2]) if len(sys.argv) > 2 else IDLE_S
    answers = _own_output()
    warnings.simplefilter("ignore", FutureWarning)
    service = Service(home)
    turns = Turns(lambda message: _write(answers, message), service.turn, service.is_in_the_way)
    threading.Thread(target=_listen, args=(turns, service), daemon=True).start()
    turns.run(idle_s)


def _own_output() -> TextIO:
    """Standard output for the answers alone: whatever a library prints goes to the log with the errors."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


def _write(answers: TextIO, message: Message) -> None:
    answers.write(json.dumps(message) + "\n")
    answers.flush()


def _listen(turns: Turns, service: Service) -> None:
    for line in sys.stdin:
        message = json.loads(line)
        turns.orders.put(message["cancel"] if "cancel" in message else _request(service, message))
    os._exit(0)  # the app is gone; whatever is under way is for nobody


def _request(service: Service, message: dict[str, Any]) -> Request:
    method = message["method"]
    return Request(message["id"], lambda: service.work(method, message["params"]), limit_s=_LIMITS_S[method], is_long=method in _LONG)


if __name__ == "__main__":
    main()
