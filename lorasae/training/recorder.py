"""Records what the pinned features do, at the start of a run, at every evaluation and at its end (lorasae/store/replay.py).

It only looks: the run's random numbers are its adapter's own, nothing of it is changed, and whatever goes wrong with a pin is a line in
the log.
"""

from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch

from lorasae.config import SAERef
from lorasae.core.adapter import in_use
from lorasae.core.features import TextActivity, text_activity
from lorasae.core.hook_points import HookPoint
from lorasae.core.sae import FrozenSAE
from lorasae.errors import LabError
from lorasae.sources.catalog import resolve
from lorasae.sources.loading import check_pair, load_sae
from lorasae.store.replay import Frame, add_frame
from lorasae.store.run_records import FeatureRef, Pins
from lorasae.training.workbench import Workbench

MAX_TOKENS = 192
_DIGITS = 5  # of an activation, as recorded


class Recorder:
    """The recorder of one run. Pins that are added meanwhile are seen at the next evaluation."""

    def __init__(self, bench: Workbench, remark: Callable[[str], None]) -> None:
        self._bench, self._remark = bench, remark
        self._opened: dict[SAERef, tuple[HookPoint, FrozenSAE] | None] = {}  # None: it could not be opened

    def record(self, step: int) -> None:
        """Add the frame of `step`."""
        try:
            with in_use(self._bench.model, self._bench.adapter):
                add_frame(self._bench.run, self._frame(step))
        except OSError:  # a full disk is the run's own affair
            raise
        except Exception as error:  # noqa: BLE001  # a curiosity must never end a run that takes hours
            self._remark(f"replay: nothing recorded at step {step}: {error}")

    def _frame(self, step: int) -> Frame:
        pins = self._bench.run.pins
        ids = self._encoded(pins.text)
        wanted = {SAERef(release=pin.release, sae_id=pin.sae_id): pin for pin in pins.features}
        saes = {ref: opened for ref in wanted if (opened := self._sae(ref)) is not None}
        activity: TextActivity | None = None
        seen: dict[SAERef, TextActivity] = {}
        for together in _one_per_place(saes):
            activity = self._activity(ids, {saes[ref][0]: saes[ref][1] for ref in together})
            seen |= dict.fromkeys(together, activity)
        activity = activity or self._activity(ids, {})
        decode = self._bench.loaded.tokenizer.decode
        return {
            "step": step,
            "text": pins.text,
            "tokens": [decode([token]) for token in ids[0].tolist()],
            "kl": _numbers(activity.kl.float().cpu().numpy()),
            "pins": self._recorded(pins, saes, seen, step),
        }

    def _recorded(
        self, pins: Pins, saes: dict[SAERef, tuple[HookPoint, FrozenSAE]], seen: dict[SAERef, TextActivity], step: int
    ) -> list[dict[str, Any]]:
        found = []
        for pin in pins.features:
            ref = SAERef(release=pin.release, sae_id=pin.sae_id)
            if ref not in seen:
                continue
            hook_point, sae = saes[ref]
            if pin.feature >= sae.d_sae:
                self._remark(f"replay: feature {pin.feature} is not recorded at step {step}: {ref} has {sae.d_sae}")
                continue
            acts = seen[ref].firings[hook_point].on(np.array([pin.feature]))[:, 0]
            found.append(_pin(pin, hook_point, acts))
        return found

    def _activity(self, ids: torch.Tensor, observed: dict[HookPoint, FrozenSAE]) -> TextActivity:
        """The adapted model with the run's SAEs in its stream; other SAEs are in the device's memory only while they look."""
        loaded = self._bench.loaded
        own = {id(sae) for sae in loaded.saes.values()}
        with ExitStack() as moved_back:
            for sae in observed.values():
                if id(sae) not in own:
                    sae.to(loaded.device)
                    moved_back.callback(sae.to, "cpu")
            return text_activity(self._bench.model, ids, "adapted_sae", loaded.saes, observed, loaded.special_tokens)

    def _encoded(self, text: str) -> torch.Tensor:
        loaded = self._bench.loaded
        ids = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
        bos = loaded.tokenizer.bos_token_id
        most = min(MAX_TOKENS, self._bench.config.data.context_length)
        return torch.tensor([[*([] if bos is None else [bos]), *ids][:most]], device=loaded.device)

    def _sae(self, ref: SAERef) -> tuple[HookPoint, FrozenSAE] | None:
        """The SAE with its place: one of the run's own, or opened once and kept. A broken one is told once."""
        for hook_point, card in self._bench.loaded.cards.items():
            if card.ref == ref or (ref in self._bench.config.saes and resolve(ref).ref == card.ref):
                return hook_point, self._bench.loaded.saes[hook_point]
        if ref not in self._opened:
            try:
                card = resolve(ref)
                check_pair(card, self._bench.config.model.model, self._bench.loaded.model)
                loaded = load_sae(card, torch.device("cpu"))
                self._opened[ref] = loaded.hook_point, loaded.sae
            except LabError as error:
                self._opened[ref] = None
                self._remark(f"replay: the features pinned of {ref} are not recorded: {error}")
        return self._opened[ref]


def _one_per_place(saes: dict[SAERef, tuple[HookPoint, FrozenSAE]]) -> list[list[SAERef]]:
    """Groups of SAEs that can look at one pass together: no two at one place."""
    groups: list[dict[HookPoint, SAERef]] = []
    for ref, (hook_point, _) in saes.items():
        group = next((each for each in groups if hook_point not in each), None)
        if group is None:
            groups.append(group := {})
        group[hook_point] = ref
    return [list(group.values()) for group in groups]


def _pin(pin: FeatureRef, hook_point: HookPoint, acts: np.ndarray) -> dict[str, Any]:
    return {
        "release": pin.release,
        "sae_id": pin.sae_id,
        "feature": pin.feature,
        "hook_point": str(hook_point),
        "acts": _numbers(acts),
    }


def _numbers(values: np.ndarray) -> list[float]:
    return [round(float(value), _DIGITS) for value in values]
