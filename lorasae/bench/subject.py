"""What is measured: a model, its SAEs and some text, without an adapter; every way of training starts from here."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from lorasae.bench.shapes import SHAPES, architecture_of, random_model, random_sae
from lorasae.config import DataConfig, Dtype, RunConfig, SAERef, run_config
from lorasae.core.hook_points import HookPoint, text_config
from lorasae.core.sae import FrozenSAE
from lorasae.core.special_tokens import SpecialTokens
from lorasae.costs.estimates import PlacedSAE, memory, placement
from lorasae.costs.machine import this_machine
from lorasae.costs.model_sizes import sizes_from, sizes_of
from lorasae.errors import LabError, nearest
from lorasae.sources.catalog import POCKET_MODEL, is_folder
from lorasae.sources.data import prepare
from lorasae.sources.language_model import chosen_device, load_architecture, load_model, load_tokenizer, pinned
from lorasae.sources.loading import check_context, load, special_tokens
from lorasae.sources.published_models import ModelSizes
from lorasae.training.room import placed_sae

PAPERS_CONTEXT = 1024  # tokens per sequence, of the paper's runs
N_SEQUENCES = 64  # of text; more steps go through them again
_DEFAULT_WIDTH, _DEFAULT_L0 = 16_384, 64  # of a random SAE in a model that no table knows


@dataclass(frozen=True)
class Asked:
    """What to measure, as it was asked for; None: as the model's table row, or the project's defaults, say."""

    model: str = POCKET_MODEL
    context: int | None = None
    dtype: Dtype | None = None
    device: str = "auto"
    sae: SAERef | None = None
    layer: int | None = None
    width: int | None = None
    l0: float | None = None
    rank: int = 64
    placement: str = "after"
    sequences: int = 1
    dropout: float = 0.0
    seed: int = 0

    @property
    def wants_random_sae(self) -> bool:
        return any(each is not None for each in (self.layer, self.width, self.l0))


@dataclass
class Subject:
    """Model, SAEs and text. The model is bare, frozen and in eval mode between two ways."""

    name: str
    model: PreTrainedModel
    sizes: ModelSizes
    saes: dict[HookPoint, FrozenSAE]
    l0: float | None  # that a random SAE was made for
    special_tokens: SpecialTokens
    chunks: Tensor  # (n, context), on the device
    config: RunConfig  # the authors' optimisation, at the asked rank and placement

    @property
    def device(self) -> torch.device:
        return self.chunks.device

    @property
    def placed_saes(self) -> list[PlacedSAE]:
        return [placed_sae(hook_point, sae.d_in, sae.d_sae) for hook_point, sae in self.saes.items()]

    def step_tokens(self, step: int, sequences: int) -> Tensor:
        """`(sequences, context)`: the tokens of one step, the same in every way."""
        return self.chunks[(torch.arange(sequences) + step * sequences) % len(self.chunks)]

    @contextmanager
    def held_as(self, dtype: torch.dtype, attention: str | None = None) -> Iterator[PreTrainedModel]:
        """The model with its weights in `dtype` and, if named, another attention; as before when the block ends."""
        own, own_attention = self.model.dtype, text_config(self.model)._attn_implementation
        _cast(self.model, dtype)
        if attention and attention != own_attention:
            self.model.set_attn_implementation(attention)
        try:
            yield self.model
        finally:
            self.model.set_attn_implementation(own_attention)
            _cast(self.model, own)


def _cast(model: nn.Module, dtype: torch.dtype) -> None:
    """Weights alone, one at a time: buffers such as rotary frequencies stay in fp32 in every model."""
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)


def subject(asked: Asked) -> Subject:
    """Everything in memory, after it was reckoned that it fits.

    Raises:
        LabError: For an unknown model or layer, a context it does not know, or more than this machine can hold.
    """
    if asked.model in SHAPES:
        return _random_subject(asked)
    if asked.model != POCKET_MODEL and not is_folder(asked.model) and "/" not in asked.model:
        raise LabError(
            f"A benchmark of the model {asked.model} was asked for",
            "There is no shape of that name, and it is neither a folder nor a Hub id",
            f"Nearest: {nearest(asked.model, [POCKET_MODEL, *SHAPES])}",
        )
    return _loaded_subject(asked)


def _random_subject(asked: Asked) -> Subject:
    shape = SHAPES[asked.model]
    device = chosen_device(asked.device)
    asked = replace(
        asked, layer=shape.layer if asked.layer is None else asked.layer, width=asked.width or shape.width, l0=asked.l0 or shape.l0
    )
    config = _config(asked, shape.published, asked.context or PAPERS_CONTEXT, device)
    architecture = architecture_of(shape.sizes)
    check_context(config.data.context_length, architecture)
    hook_point = _checked_place(asked, shape.sizes)
    refuse_too_large(config, shape.sizes, [placed_sae(hook_point, shape.sizes.d_model, asked.width or 0)], device)
    model = random_model(architecture, getattr(torch, config.model.dtype), device, asked.seed)
    specials = tuple(sorted({each for each in (architecture.bos_token_id, architecture.eos_token_id) if each is not None}))
    chunks = torch.randint(
        0, shape.sizes.vocab, (N_SEQUENCES, config.data.context_length), generator=torch.Generator().manual_seed(asked.seed)
    )
    chunks[:, 0] = architecture.bos_token_id
    return _with_random_sae(
        asked, f"{asked.model} (random weights)", model, shape.sizes, SpecialTokens(specials), chunks.to(device), config
    )


def _loaded_subject(asked: Asked) -> Subject:
    device = chosen_device(asked.device)
    shortest = _config(asked, asked.model, 8, device)
    model_config = pinned(shortest.model)
    architecture = load_architecture(model_config)
    sizes = sizes_of(model_config) or sizes_from(architecture.to_dict())
    embeds_positions = hasattr(architecture, "n_positions")  # GPT-2: it has no others; turned ones go on for ever, and cost the same
    context = asked.context or (min(PAPERS_CONTEXT, architecture.n_positions) if embeds_positions else PAPERS_CONTEXT)
    config = _config(asked, asked.model, context, device)
    if embeds_positions:
        check_context(context, architecture)
    hook_point = _checked_place(asked, sizes)
    refuse_too_large(config, sizes, [placed_sae(hook_point, sizes.d_model, asked.width or 2048)], device)
    if not asked.wants_random_sae and (asked.sae or asked.model == POCKET_MODEL):
        loaded = load(shortest)
        model, saes, specials, tokenizer = loaded.model, loaded.saes, loaded.special_tokens, loaded.tokenizer
    else:
        model, saes, tokenizer = load_model(model_config, architecture), None, load_tokenizer(model_config)
        specials = special_tokens(config.special_tokens, tokenizer)
    text = prepare(DataConfig(source="pocket", context_length=context, heldout_tokens=context + 16), tokenizer, N_SEQUENCES * context)
    chunks = torch.from_numpy(text.train.astype("int64")).to(device)
    if saes is None:
        return _with_random_sae(asked, asked.model, model, sizes, specials, chunks, config)
    return Subject(asked.model, model, sizes, saes, None, specials, chunks, config)


def _with_random_sae(
    asked: Asked, name: str, model: PreTrainedModel, sizes: ModelSizes, specials: SpecialTokens, chunks: Tensor, config: RunConfig
) -> Subject:
    hook_point, width, l0 = _checked_place(asked, sizes), asked.width or _DEFAULT_WIDTH, asked.l0 or _DEFAULT_L0
    sae = random_sae(model, hook_point, width, l0, chunks, specials, asked.seed)
    return Subject(name, model, sizes, {hook_point: sae}, l0, specials, chunks, config)


def _checked_place(asked: Asked, sizes: ModelSizes) -> HookPoint:
    layer = sizes.n_layers // 2 - 1 if asked.layer is None else asked.layer
    if not 0 <= layer < sizes.n_layers:
        found = f"The model has {sizes.n_layers} layers, 0 to {sizes.n_layers - 1}"
        raise LabError(f"An SAE after layer {layer} was asked for", found, "Choose among these layers")
    return HookPoint(layer, "resid_post")


def _config(asked: Asked, model: str, context: int, device: torch.device) -> RunConfig:
    """The authors' optimisation as a run's settings. A GPU computes in bfloat16 unless told otherwise, a CPU in float32."""
    dtype = asked.dtype or ("bfloat16" if device.type == "cuda" else "float32")
    values = {
        "model": {"model": model, "dtype": dtype, "device": device.type},
        "saes": [(asked.sae or SAERef()).model_dump()],
        "adapter": {"rank": asked.rank, "placement": asked.placement, "dropout": asked.dropout},
        "data": {"source": "pocket", "context_length": context},
        "train": {"tokens_per_step": context * asked.sequences, "micro_batch_size": asked.sequences, "fast": False},
        "seed": asked.seed,
    }
    return run_config(values, "paper")


def bytes_needed(config: RunConfig, sizes: ModelSizes, saes: list[PlacedSAE], device: torch.device) -> float:
    """The peak of the authors' step with these settings, as it is reckoned for runs."""
    placed = placement(config.adapter, sizes, saes)
    return memory(config, sizes, saes, placed, device.type == "cuda").total


def bytes_here(device: torch.device) -> int:
    """The memory there is."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return this_machine().ram_bytes


def refuse_too_large(config: RunConfig, sizes: ModelSizes, saes: list[PlacedSAE], device: torch.device) -> None:
    """Raise LabError if one step of these settings needs more memory than there is."""
    needed, there_is = bytes_needed(config, sizes, saes, device), bytes_here(device)
    if needed > there_is:
        raise LabError(
            f"A benchmark of {config.model.model} in {config.model.dtype} with {config.data.context_length} tokens was asked for",
            f"It needs about {needed / 1e9:,.1f} GB; there are {there_is / 1e9:,.1f} GB",
            "Choose a smaller model or --context, --dtype bfloat16, or a machine with more memory",
        )


def bare(model: nn.Module) -> bool:
    """Whether nothing of an adapter is left in the model."""
    return not any("lora_" in name for name, _ in model.named_parameters())
