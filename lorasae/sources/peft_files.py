"""A LoRA adapter in PEFT's files, as far as metadata tells: what it was made for, where it sits, how large it is. No torch.

adapter_config.json is believed only where it is understood; where an adapter really sits is read from the names and shapes of its tensors.
"""

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorasae.config import AdapterConfig
from lorasae.errors import LabError
from lorasae.sources.same_model import may_be_same_model

CONFIG, WEIGHTS, PICKLE = "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"
MOST_HEADER_BYTES = 10_000_000
_MOST_TENSORS, _LONGEST_NAME = 20_000, 300  # what a pattern is ever tried on
Shapes = Mapping[str, tuple[int, ...]]  # of tensors, by name

_SAY_NOTHING = {  # settings that change nothing of what saved weights compute
    *("peft_type", "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode"),
    *("r", "lora_alpha", "lora_dropout", "use_rslora", "fan_in_fan_out", "init_lora_weights", "eva_config", "runtime_config"),
    *("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern"),  # the tensors themselves say where they sit
    *("megatron_core", "qalora_group_size", "ensure_weight_tying"),  # each without effect unless another one, refused below, is set
}
_REFUSED = {  # settings that do, and how to say so; one that is not known here is refused too
    "use_dora": "It is a DoRA adapter, which also rescales the model's own weights",
    "modules_to_save": "It replaces whole modules of the model (modules_to_save)",
    "rank_pattern": "Its ranks differ from module to module (rank_pattern)",
    "alpha_pattern": "Its scales differ from module to module (alpha_pattern)",
    "trainable_token_indices": "It changes embeddings of the model (trainable_token_indices)",
    "layer_replication": "It repeats layers of the model (layer_replication)",
    "loftq_config": "It was made for a model whose weights were changed first (LoftQ)",
    "bias": "It changes biases of the model",
    "lora_bias": "It has biases of its own (lora_bias)",
}
_PLAIN_STARTS = (None, True, False, "gaussian", "eva", "orthogonal")  # others change the model's own weights when they begin
_TENSOR = re.compile(r"base_model\.model\.(.+?)\.(\d{1,4})\.(.+)\.lora_([AB])\.weight")


@dataclass(frozen=True)
class AdapterShape:
    """What an adapter is, from its metadata. Its output is scaled by alpha / rank."""

    base_model: str  # as the adapter names it
    rank: int
    alpha: float
    blocks: str  # path of the decoder blocks in the model
    layers: tuple[int, ...]
    modules: tuple[str, ...]  # paths inside a block
    sizes: Mapping[str, tuple[int, int]]  # of each of them: inputs and outputs


def shape_of_files(asked: str, folder: Path) -> AdapterShape:
    """The shape of an adapter in a folder.

    Raises:
        LabError: As `shape_of`, and for files that are missing or damaged.
    """
    if not (folder / WEIGHTS).is_file() and (folder / PICKLE).is_file():
        raise only_a_pickle(asked)
    try:
        settings = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        shapes = tensor_shapes(folder / WEIGHTS)
    except FileNotFoundError as error:
        raise LabError(asked, f"It has no {Path(error.filename).name}", "Give a LoRA adapter as PEFT saves it") from None
    except (OSError, ValueError, RecursionError) as error:
        raise LabError(asked, f"One of its files is damaged: {str(error).splitlines()[0][:200]}", "Copy or fetch it again") from None
    return shape_of(asked, settings, shapes)


def only_a_pickle(asked: str) -> LabError:
    """What is said of an adapter that exists in no other form."""
    remedy = "Ask its author for adapter_model.safetensors, or save it so with PEFT yourself"
    return LabError(asked, f"Its weights are only a pickle ({PICKLE}), which could run any code and is not opened", remedy)


def shape_of(asked: str, settings: Any, shapes: Shapes) -> AdapterShape:
    """The shape that settings and tensors state together.

    Raises:
        LabError: For anything but a plain LoRA adapter of one rank on the same linear maps of each of its layers.
    """
    _refuse_what_is_not_plain(asked, settings)
    rank, alpha = settings.get("r"), settings.get("lora_alpha")
    if not isinstance(rank, int) or rank < 1 or not isinstance(alpha, int | float) or not 0 < alpha < 1e9:
        raise _refusal(asked, f"Its {CONFIG} states the rank {rank!r} and the alpha {alpha!r}")
    base_model = settings.get("base_model_name_or_path")
    if not isinstance(base_model, str) or not base_model:
        raise _refusal(asked, f"Its {CONFIG} does not say of which model it is")
    blocks, sizes = _places(asked, shapes, rank)
    layers = tuple(sorted({layer for layer, _ in sizes}))
    modules = tuple(sorted({module for _, module in sizes}))
    if len(sizes) != len(layers) * len(modules):
        raise _refusal(asked, "It sits on different linear maps in different layers")
    of_modules = {module: sizes[layers[0], module] for module in modules}
    if any(of_modules[module] != size for (_, module), size in sizes.items()):
        raise _refusal(asked, "The linear maps that it sits on differ in size from layer to layer")
    scaled = alpha * math.sqrt(rank) if settings.get("use_rslora") else alpha  # rsLoRA's scale is alpha / sqrt(rank)
    return AdapterShape(base_model, rank, float(scaled), blocks, layers, modules, of_modules)


def plain_settings(settings: Mapping[str, Any], shape: AdapterShape) -> dict[str, Any]:
    """adapter_config.json by which PEFT finds the same places: by their names, not by a pattern of somebody else's that it would run."""
    revision = settings.get("revision")
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": shape.base_model,
        "revision": revision if isinstance(revision, str) else None,
        "r": shape.rank,
        "lora_alpha": shape.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": settings.get("fan_in_fan_out") is True,
        "inference_mode": True,
        "target_modules": [f"{shape.blocks}.{layer}.{module}" for layer in shape.layers for module in shape.modules],
    }


def refuse_other_model(asked: str, shape: AdapterShape, model: str) -> None:
    """An adapter belongs to one model.

    Raises:
        LabError: If the adapter names another one.
    """
    if not may_be_same_model(shape.base_model, model):
        remedy = f"Choose the model {shape.base_model}, or an adapter of {model}"
        raise LabError(asked, f"It is an adapter of {shape.base_model}, the run is about {model}", remedy)


def refuse_other_settings(settings: AdapterConfig, shape: AdapterShape, layers: Sequence[int], modules: Sequence[str]) -> None:
    """A run that begins with an adapter keeps its rank, scale and places.

    Args:
        settings: Of the run.
        shape: The adapter that it begins with.
        layers: What the settings mean in the run's model,
        modules: as paths inside a block.

    Raises:
        LabError: If a setting is not the adapter's own.
    """
    own: dict[str, tuple[Any, Any]] = {
        "adapter.rank": (settings.rank, shape.rank),
        "adapter.layers": (sorted(set(layers)), list(shape.layers)),
        "adapter.modules": (sorted(modules), list(shape.modules)),
    }
    if not math.isclose(settings.alpha, shape.alpha, rel_tol=1e-9):
        own["adapter.alpha"] = (settings.alpha, shape.alpha)
    for setting, (asked, is_so) in own.items():
        if asked != is_so:
            begun = f"The run was to begin with the adapter {settings.start}, with {setting} = {asked}"
            raise LabError(begun, f"That adapter has {is_so}", f"Set {setting} to {is_so}")


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes in a safetensors file, from its header alone: eight bytes that say how long it is, then JSON.

    Raises:
        ValueError: If it is no safetensors file.
        OSError: If it cannot be read.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= MOST_HEADER_BYTES:
            raise ValueError(f"{path.name} is no safetensors file")
        header = json.loads(file.read(length))
    if not isinstance(header, dict):
        raise ValueError(f"{path.name} has no list of tensors")
    try:
        return {name: tuple(map(int, each["shape"])) for name, each in header.items() if name != "__metadata__"}
    except (KeyError, TypeError, OverflowError):
        raise ValueError(f"{path.name} has no list of tensors") from None


def _refuse_what_is_not_plain(asked: str, settings: Any) -> None:
    if not isinstance(settings, dict):
        raise _refusal(asked, f"Its {CONFIG} holds no settings")
    if settings.get("peft_type") != "LORA":
        raise _refusal(asked, f"It is no LoRA adapter: its type is {settings.get('peft_type')!r}")
    if settings.get("task_type") not in (None, "CAUSAL_LM"):
        raise _refusal(asked, f"It is not for predicting text: its task is {settings['task_type']!r}")
    if settings.get("init_lora_weights") not in _PLAIN_STARTS:
        raise _refusal(asked, f"It was made for a model whose weights were changed first ({settings['init_lora_weights']})")
    for name, value in settings.items():
        if name not in _SAY_NOTHING and value not in (None, False, "none", "") and value != {} and value != []:
            raise _refusal(asked, _REFUSED.get(name, f"It has the setting {name}, which this lab does not know"))


def _places(asked: str, shapes: Shapes, rank: int) -> tuple[str, dict[tuple[int, str], tuple[int, int]]]:
    """Where the blocks are, and by layer and path inside it the inputs and outputs of each linear map that has a part of the adapter."""
    if len(shapes) > _MOST_TENSORS or any(len(name) > _LONGEST_NAME for name in shapes):
        raise _refusal(asked, f"It holds more than {_MOST_TENSORS:,} tensors, or one with a name of more than {_LONGEST_NAME} letters")
    matches = {name: _TENSOR.fullmatch(name) for name in shapes}
    if foreign := next((name for name, match in matches.items() if match is None), None):
        raise _refusal(asked, f"It holds the tensor {foreign[:120]}, which is no LoRA matrix in a layer")
    found: dict[tuple[int, str], dict[str, tuple[int, ...]]] = {}
    for name, match in matches.items():
        found.setdefault((int(match[2]), match[3]), {})[match[4]] = shapes[name]  # type: ignore[index]
    blocks = {match[1] for match in matches.values()}  # type: ignore[index]
    if len(blocks) != 1:
        raise _refusal(asked, "It holds no tensors" if not blocks else "It sits in more than one stack of layers")
    sizes = {}
    for (layer, module), pair in found.items():
        a, b = pair.get("A", ()), pair.get("B", ())
        if len(a) != 2 or len(b) != 2 or a[0] != rank or b[1] != rank:
            raise _refusal(asked, f"In layer {layer} the matrices of {module} are not two of rank {rank}: {a} and {b}")
        sizes[layer, module] = (a[1], b[0])
    return blocks.pop(), sizes


def _refusal(asked: str, found: str) -> LabError:
    return LabError(asked, found, "Choose a plain LoRA adapter of one rank on attention or MLP projections")
