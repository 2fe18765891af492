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
from lorasae.sources.fetching import Progress, fetch
from lorasae.sources.hub_problems import hub_problems_told
from lorasae.sources.model_files import fetch_weights

KNOWN_MODELS = (POCKET_MODEL, *HUB_MODELS)


def chosen_device(name: str) -> torch.device:
    """The device that auto, cpu or cuda stands for on this machine.

    Raises:
        LabError: If cuda is asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise LabError("model.device = cuda was asked for", "PyTorch finds no CUDA device here", "Choose auto or cpu")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")


def location(config: ModelConfig) -> str:
    """Folder or Hub id of the model."""
    return str(ASSETS / "demo" / "model") if config.model == POCKET_MODEL else config.model


def pinned(config: ModelConfig) -> ModelConfig:
    """The config with its revision made the commit that it stands for now; none for what is no repository.

    Raises:
        LabError: For an unknown or gated repository, or no network.
    """
    name = location(config)
    if config.model == POCKET_MODEL or is_folder(name):
        return config.model_copy(update={"revision": None})
    fetched = fetch(_asked(config), name, ("config.json",), revision=config.revision, known=KNOWN_MODELS)
    return config.model_copy(update={"revision": fetched.commit})


def load_architecture(config: ModelConfig) -> PretrainedConfig:
    """The model's own config.json: its family and sizes, without its weights.

    Raises:
        LabError: For an unknown or gated repository, no network, a folder that holds no model transformers can read, or a family in which
            the places of SAEs are not known.
    """
    folder = location(config)
    if (is_folder(folder) or config.model == POCKET_MODEL) and not (Path(folder) / "config.json").is_file():
        remedy = "Build it: python -m lorasae.demo.build" if config.model == POCKET_MODEL else "Give a folder that save_pretrained wrote"
        raise LabError(_asked(config), f"There is no config.json in {folder}", remedy)
    with hub_problems_told(_asked(config), folder, KNOWN_MODELS):
        architecture = AutoConfig.from_pretrained(folder, revision=config.revision, trust_remote_code=False)
    refuse_unknown_family(_asked(config), architecture)
    return architecture


def skeleton(config: ModelConfig, architecture: PretrainedConfig) -> PreTrainedModel:
    """The model's modules without weights, on the meta device: enough to see whether a place exists in it."""
    with hub_problems_told(_asked(config), location(config), KNOWN_MODELS), torch.device("meta"):
        return AutoModelForCausalLM.from_config(architecture, trust_remote_code=False)


def load_model(config: ModelConfig, architecture: PretrainedConfig, progress: Progress | None = None) -> PreTrainedModel:
    """The model on its device, frozen and in eval mode; `progress` is told of bytes that have to be fetched.

    Raises:
        LabError: If its weights are missing, damaged, incomplete or only a pickle, or cannot be fetched.
    """
    folder = location(config)
    if is_folder(folder) and not list(Path(folder).glob("*.safetensors")):
        found = "only a pickle (.bin), which is not opened" if list(Path(folder).glob("*.bin")) else "no weights"
        raise LabError(_asked(config), f"There are {found} in {folder}", "Save the model as safetensors: model.save_pretrained(folder)")
    if not is_folder(folder):
        fetch_weights(_asked(config), folder, config.revision, progress, KNOWN_MODELS)
    transformers.logging.disable_progress_bar()  # of the move into memory
    attention = {"attn_implementation": "eager"} if architecture.model_type == "gemma2" else {}  # softcapping: sdpa refuses it
    try:
        with hub_problems_told(_asked(config), folder, KNOWN_MODELS):
            model, report = AutoModelForCausalLM.from_pretrained(  # type: ignore  # a pair, because of output_loading_info
                folder,
                config=architecture,
                revision=config.revision,
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
    folder = location(config)
    if is_folder(folder) and not [*Path(folder).glob("tokenizer*"), *Path(folder).glob("vocab*")]:
        raise LabError(
            f"The tokenizer of {config.model} was asked for", f"There is none in {folder}", "Save it there: tokenizer.save_pretrained"
        )
    with hub_problems_told(f"The tokenizer of {config.model} was asked for", folder, KNOWN_MODELS):
        return AutoTokenizer.from_pretrained(folder, revision=config.revision, trust_remote_code=False)


def _asked(config: ModelConfig) -> str:
    return f"The model {config.model} was asked for"
