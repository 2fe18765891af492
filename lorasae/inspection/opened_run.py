"""A finished run held in memory: its model with the adapter, its SAEs and any other SAE of that model, its tokenizer, its held-out text."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from torch import Tensor

from lorasae.config import SAERef
from lorasae.core.adapter import adapted_layers
from lorasae.core.features import adapter_reaches
from lorasae.core.hook_points import HookPoint
from lorasae.core.sae import FrozenSAE
from lorasae.errors import LabError
from lorasae.inspection.token_text import token_text
from lorasae.sources.catalog import resolve
from lorasae.sources.data import Chunks
from lorasae.sources.loading import check_pair, check_size, load, load_sae
from lorasae.sources.sae_card import SAECard
from lorasae.store.commit_record import recorded_commits
from lorasae.store.run_folder import Run

MAX_CHARACTERS = 20_000
MAX_TOKENS = 512
_SAE_BYTES = 2 * 2**30  # SAEs kept besides the run's own; the latest is kept whatever its size
_ADAPTER_FILE = "adapter_model.safetensors"


@dataclass(frozen=True)
class OpenedSAE:
    """An SAE to look through, and what the run has to do with it."""

    card: SAECard
    hook_point: HookPoint
    sae: FrozenSAE
    spliced: bool  # whether the run was adapted to it
    can_change: bool  # whether any part of the adapter lies below it

    @cached_property
    def fingerprint(self) -> str:
        """A hash of its weights: all biases, a part of the matrices, and what the matrices sum to."""
        digest = hashlib.sha256(f"{self.hook_point} {self.sae.normalisation} {self.sae.subtract_b_dec}".encode())
        for name, tensor in sorted(self.sae.state_dict().items()):
            part = tensor if tensor.ndim == 1 else torch.cat([tensor[:32, :2048].flatten(), tensor.sum(dim=0)[:2048]])
            digest.update(f"{name} {tuple(tensor.shape)}".encode() + part.float().cpu().numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class EncodedText:
    """A text as the model reads it."""

    ids: Tensor  # (1, pos): the model's own BOS first
    n_left_out: int  # tokens beyond what can be read at once


class OpenedRun:
    """The model, SAEs and adapter of a run, held in memory."""

    def __init__(self, run: Run, device: str | None = None) -> None:
        """`device`: cpu or cuda, where that is not for the run's own settings to say."""
        self.run = run
        self.result = run.result
        self.config = run.config
        if device is not None:
            self.config = self.config.model_copy(update={"model": self.config.model.model_copy(update={"device": device})})
        if not (run.adapter / _ADAPTER_FILE).exists():
            raise LabError(
                f"The adapter of the run {run.run_id} was asked for", f"It is not in {run.adapter}", "Restore it, or do the run again"
            )
        self.version = adapter_version(run)
        self.loaded = load(self.config, recorded_commits(run))
        self.model = PeftModel.from_pretrained(self.loaded.model, str(run.adapter))  # type: ignore[arg-type]
        self.model.eval().requires_grad_(False)
        self.special_tokens = self.loaded.special_tokens
        self._reached: dict[HookPoint, bool] = {}
        self._shown: dict[int, str] = {}
        self._others: OrderedDict[SAERef, OpenedSAE] = OrderedDict()

    @property
    def n_bytes(self) -> int:
        """Memory of the model and all SAEs."""
        saes = [*self.loaded.saes.values(), *(each.sae for each in self._others.values())]
        return sum(tensor.nbytes for module in (self.model, *saes) for tensor in module.state_dict().values())

    @property
    def n_positions(self) -> int:
        """Tokens of one text at most, BOS included."""
        known = getattr(self.loaded.model.config.get_text_config(), "max_position_embeddings", None)
        return min(MAX_TOKENS, known or MAX_TOKENS)

    @cached_property
    def own_saes(self) -> list[OpenedSAE]:
        """Those that the run was adapted to, lowest first."""
        return [self._opened(self.loaded.cards[place], place, self.loaded.saes[place], True) for place in sorted(self.loaded.saes)]

    def sae(self, ref: SAERef | None) -> OpenedSAE:
        """An SAE of the run's model; the run's lowest own one if none is named.

        Raises:
            LabError: If it is unknown, damaged, or belongs to another model.
        """
        own = self.own_saes
        if ref is None:
            return own[0]
        card = resolve(ref)
        for each in own:
            if card.ref == each.card.ref:
                return each
        if card.ref not in self._others:
            check_pair(card, self.config.model.model, self.loaded.model)
            loaded = load_sae(card, self.loaded.device)
            check_size(str(card.ref), loaded.hook_point, loaded.sae.d_in, self.loaded.model)
            self._others[card.ref] = self._opened(card, loaded.hook_point, loaded.sae, False)
        self._others.move_to_end(card.ref)
        while len(self._others) > 1 and sum(tensor.nbytes for each in self._others.values() for tensor in each.sae.buffers()) > _SAE_BYTES:
            self._others.popitem(last=False)
        return self._others[card.ref]

    @cached_property
    def adapted_layers(self) -> list[int]:
        """Layers that hold a part of the adapter."""
        return adapted_layers(self.model)

    def can_change(self, hook_point: HookPoint) -> bool:
        """Whether the adapter can change what an SAE reads there."""
        if hook_point not in self._reached:
            self._reached[hook_point] = adapter_reaches(self.model, hook_point)
        return self._reached[hook_point]

    def encode(self, text: str) -> EncodedText:
        """The text's tokens, BOS first; what is too long to be read at once is left out from the end.

        Raises:
            LabError: For no text at all, or far too much.
        """
        if len(text) > MAX_CHARACTERS:
            raise LabError(
                "A text to inspect was given", f"It has {len(text):,} characters", f"Give at most {MAX_CHARACTERS:,}: a page or two"
            )
        tokenizer = self.loaded.tokenizer
        ids = tokenizer(text.encode("utf-8", "replace").decode(), add_special_tokens=False, verbose=False)["input_ids"]
        if not ids:
            raise LabError("A text to inspect was asked for", "It holds no token", "Give a sentence")
        head = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
        kept = ids[: self.n_positions - len(head)]
        return EncodedText(torch.tensor([[*head, *kept]], device=self.loaded.device), len(ids) - len(kept))

    def show(self, token: int) -> str:
        """A token as text; a piece of a letter as its bytes."""
        if token not in self._shown:
            self._shown[token] = token_text(self.loaded.tokenizer, int(token))
        return self._shown[token]

    def bypassed(self, ids: Tensor) -> NDArray[np.bool_]:
        """Flat: positions that no SAE sees."""
        return (~self.special_tokens.spliced_positions(ids)).flatten().cpu().numpy()

    def special(self, ids: Tensor) -> NDArray[np.bool_]:
        """Flat: positions of BOS, EOS and padding, whatever the run's policy is: their activations spoil pictures and rankings."""
        tokenizer = self.loaded.tokenizer
        special = {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id} - {None}
        return np.isin(ids.cpu().numpy().flatten(), list(special))

    def heldout(self) -> Chunks:
        """The held-out text that the run was measured on.

        Raises:
            LabError: If it is not there, or is no text of this model: a stranger may have written it.
        """
        asked, remedy = f"The held-out text of the run {self.run.run_id} was asked for", "Measure on another text: --data FILE"
        if not self.run.heldout.exists():
            raise LabError(asked, f"It is not in {self.run.folder}", remedy)
        chunks = np.load(self.run.heldout, allow_pickle=False)
        n_tokens = int(self.loaded.model.get_input_embeddings().weight.shape[0])  # type: ignore[union-attr]
        if chunks.size and not 0 <= chunks.min() <= chunks.max() < n_tokens:
            found = f"It holds the token {int(chunks.max())}; the model knows tokens up to {n_tokens - 1}"
            raise LabError(asked, found if chunks.max() >= n_tokens else "It holds a token below 0", remedy)
        return chunks

    def _opened(self, card: SAECard, hook_point: HookPoint, sae: FrozenSAE, spliced: bool) -> OpenedSAE:
        return OpenedSAE(card, hook_point, sae, spliced, self.can_change(hook_point))


def adapter_version(run: Run) -> str:
    """A hash of the saved adapter; changes when a run was done again in the same folder."""
    path = run.adapter / _ADAPTER_FILE
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""
