"""The language model and its tokenizer: the pocket model, a local folder or a Hub id. Weights are safetensors; no code is fetched."""

from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PretrainedConfig, PreTrainedModel

from lorasae.config import ModelConfig
from lorasae.errors import LabError
from lorasae.sources.architectures import refuse_unknown_family
from lorasae.sources.catalog import ASSETS, HUB_MODELS, POCKET_MODEL, is_folder
from lorasae.sources.fetching import Fetched, Progress, fetch
from lorasae.sources.hub_problems import hub_problems_told
from lorasae.sources.model_files import CONFIG, TOKENIZER, fetch_weights

KNOWN_MODELS = (POCKET_MODEL, *HUB_MODELS)


def chosen_device(name: str) -> torch.device:
    """The device that auto, cpu or cuda stands for on this machine.

    Raises:
        LabError: If cuda is asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise LabError("model.device = cuda was asked for", "PyTorch finds no CUDA device here", "Choose auto or cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def local_folder(config: ModelConfig) -> Path | None:
    """The folder of a model that lies on this machine; None for one on the Hub."""
    if config.model == POCKET_MODEL:
        return ASSETS / "demo" / "model"
    return Path(config.model) if is_folder(config.model) else None


def pinned(config: ModelConfig) -> ModelConfig:
    """The config with its revision made the commit that it stands for now; none for what lies on this machine.

    Raises:
        LabError: For an unknown or gated repository, or no network.
    """
    commit = None if local_folder(config) else _settings(config).commit
    return config.model_copy(update={"revision": commit})


def _settings(config: ModelConfig) -> Fetched:
    return fetch(_asked(config), config.model, (CONFIG,), revision=config.revision, known=KNOWN_MODELS)


def load_architecture(config: ModelConfig) -> PretrainedConfig:
    """The model's own config.json: its family and sizes, without its weights.

    Raises:
        LabError: For an unknown or gated repository, no network, a folder that holds no model transformers can read, or a family in which
            the places of SAEs are not known.
    """
    folder = local_folder(config) or _settings(config).folder
    if not (folder / CONFIG).is_file():
        remedy = "Build it: python -m lorasae.demo.build" if config.model == POCKET_MODEL else "Give a folder that save_pretrained wrote"
        raise LabError(_asked(config), f"There is no config.json in {folder}", remedy)
    with hub_problems_told(_asked(config), config.model, KNOWN_MODELS):
        architecture = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    refuse_unknown_family(_asked(config), architecture)
    return architecture


def skeleton(config: ModelConfig, architecture: PretrainedConfig) -> PreTrainedModel:
    """The model's modules without weights, on the meta device: enough to see whether a place exists in it."""
    with hub_problems_told(_asked(config), config.model, KNOWN_MODELS), torch.device("meta"):
        return AutoModelForCausalLM.from_config(architecture, trust_remote_code=False)


def load_model(config: ModelConfig, architecture: PretrainedConfig, progress: Progress | None = None) -> PreTrainedModel:
    """The model on its device, frozen and in eval mode; `progress` is told of bytes that have to be fetched.

    Raises:
        LabError: If its weights are missing, damaged, incomplete or only a pickle, or cannot be fetched.
    """
    folder = local_folder(config)
    if folder and not list(folder.glob("*.safetensors")):
        found = "only a pickle (.bin), which is not opened" if list(folder.glob("*.bin")) else "no weights"
        raise LabError(_asked(config), f"There are {found} in {folder}", "Save the model as safetensors: model.save_pretrained(folder)")
    folder = folder or fetch_weights(_asked(config), config.model, config.revision, progress).folder
    transformers.logging.disable_progress_bar()  # of the move into memory
    attention = {"attn_implementation": "eager"} if architecture.model_type == "gemma2" else {}  # softcapping: sdpa refuses it
    try:
        with hub_problems_told(_asked(config), config.model, KNOWN_MODELS):
            model, report = AutoModelForCausalLM.from_pretrained(  # type: ignore  # a pair, because of output_loading_info
                folder,
                config=architecture,
                dtype=getattr(torch, config.dtype),
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # reported, and refused below
                **attention,
            )
    except SafetensorError as error:
        raise LabError(_asked(config), f"Its weights are damaged: {error}", "Fetch or copy them again") from error
    if odd := [*sorted(report["missing_keys"]), *sorted(name for name, *_ in report["mismatched_keys"])]:
        raise LabError(
            _asked(config), f"{len(odd)} tensors are missing or of another shape, first {odd[0]}", "Fetch or copy the weights again"
        )
    return model.to(chosen_device(config.device)).eval().requires_grad_(False)


def load_tokenizer(config: ModelConfig) -> Any:
    """The model's tokenizer.

    Raises:
        LabError: If there is none, or it needs code of its own.
    """
    asked = f"The tokenizer of {config.model} was asked for"
    folder = local_folder(config)
    if folder is None:
        folder = fetch(asked, config.model, (CONFIG,), optional=TOKENIZER, revision=config.revision, known=KNOWN_MODELS).folder
    if not [*folder.glob("tokenizer*"), *folder.glob("vocab*")]:
        raise LabError(asked, f"There is none in {config.model}", "Save it there: tokenizer.save_pretrained")
    with hub_problems_told(asked, config.model, KNOWN_MODELS):
        return AutoTokenizer.from_pretrained(folder, trust_remote_code=False)


def _asked(config: ModelConfig) -> str:
    return f"The model {config.model} was asked for"
