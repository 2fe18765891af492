"""The LoRA adapter on a frozen model: where it sits, switching it off, its weights. PEFT is met in this file only.

PEFT is the file format and the reference implementation; adapters are found by a regular expression over full module paths, so that one
rule serves every family (`c_proj` of GPT-2 exists in the attention and in the MLP).
"""

import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from peft import LoraConfig, PeftModel, get_peft_model
from peft.utils import get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor, nn

from lorasae.core.hook_points import HookPoint, decoder_blocks, decoder_blocks_path
from lorasae.errors import LabError, nearest

GROUPS = ("attention", "mlp")
ALONE = "default"  # PEFT's name for an adapter that is the only one of its model


def layers_after(hook_points: Sequence[HookPoint], n_layers: int) -> tuple[int, ...]:
    """Layers wholly above the lowest hook point: the paper's `after` placement. With several SAEs, gradients pass through the upper ones.

    Raises:
        LabError: If there is none, because the SAE sits behind the last layer.
    """
    layers = tuple(range(min(hook_points).first_layer_after, n_layers))
    if not layers:
        raise LabError(
            f"An adapter after {min(hook_points)} was asked for",
            f"The model's {n_layers} layers all lie below it",
            "Choose placement: all, or an SAE at a lower layer",
        )
    return layers


def adaptable_modules(block: nn.Module) -> dict[str, str]:
    """The linear maps of a decoder block: path inside the block -> its group, attention or mlp."""
    linear = (path for path, module in block.named_modules() if isinstance(module, nn.Linear) or _is_transposed(module))
    own = (path.removesuffix(".base_layer") for path in linear if ".lora_" not in path)  # PEFT keeps an adapted map as its base_layer
    return {path: "attention" if "attn" in path or "attention" in path else "mlp" for path in own}


def _is_transposed(module: nn.Module) -> bool:
    """GPT-2's Conv1D: a linear map whose weight is stored (in, out)."""
    return type(getattr(module, "base_layer", module)).__name__ == "Conv1D"


def chosen_modules(block: nn.Module, wanted: Sequence[str]) -> list[str]:
    """Paths inside a block that `wanted` names: a group, a projection's own name, or a path.

    Raises:
        LabError: For a name that matches nothing in this model, or for no name at all.
    """
    if not wanted:
        raise LabError(
            "An adapter on no module was asked for", "Nothing could be trained", f"Name groups ({', '.join(GROUPS)}) or projections"
        )
    groups = adaptable_modules(block)
    chosen = []
    for name in wanted:
        matches = [path for path, group in groups.items() if name in (group, path, path.rpartition(".")[2])]
        if not matches:
            known = sorted({path.rpartition(".")[2] for path in groups} | set(GROUPS))
            raise LabError(
                f"An adapter on {name!r} was asked for", "No module of this model has that name", f"Nearest: {nearest(name, known, 8)}"
            )
        chosen.extend(path for path in matches if path not in chosen)
    return chosen


def placed_layers(placement: str, layers: Sequence[int], hook_points: Sequence[HookPoint], n_layers: int) -> tuple[int, ...]:
    """The layers that get an adapter: the named ones, else those above the lowest SAE (`after`), else all."""
    if layers:
        return tuple(layers)
    return layers_after(hook_points, n_layers) if placement == "after" else tuple(range(n_layers))


def fitting_modules(model: nn.Module, layers: Sequence[int], modules: Sequence[str], rank: int) -> list[str]:
    """Paths inside a block of the modules that an adapter would get; the model may be a skeleton on the meta device.

    Raises:
        LabError: For a layer beyond the model, an unknown module, or a rank larger than a module's smaller side.
    """
    blocks = decoder_blocks(model)
    for layer in layers:
        if not 0 <= layer < len(blocks):
            raise LabError(
                f"An adapter on layer {layer} was asked for",
                f"The model has {len(blocks)} layers, 0 to {len(blocks) - 1}",
                "Choose among these layers",
            )
    paths = chosen_modules(blocks[layers[0]], modules)
    for path in paths:
        smaller = min(blocks[layers[0]].get_submodule(path).weight.shape)  # type: ignore[union-attr, arg-type]
        if rank > smaller:
            raise LabError(
                f"An adapter of rank {rank} was asked for", f"{path} has a smaller side of {smaller}", f"Choose a rank of at most {smaller}"
            )
    return paths


def attach(
    model: nn.Module, layers: Sequence[int], modules: Sequence[str], rank: int, alpha: float, dropout: float, name: str = ALONE
) -> PeftModel:
    """Wrap `model` with a fresh adapter (B = 0: its output is unchanged) and freeze everything else.

    A model that has adapters gets a further one; the one in use stays in use.

    Args:
        model: A transformers causal LM, or what `attach` made of it.
        layers: Indices of the decoder blocks that get an adapter.
        modules: Groups, projections or paths, as in `chosen_modules`.
        rank: Of every adapter matrix pair.
        alpha: The adapter's output is scaled by alpha / rank.
        dropout: On the adapter's input, in training only.
        name: By which the adapter is told from others of the model; without a dot.

    Raises:
        LabError: For a layer beyond the model, an unknown module, or a rank larger than a module's smaller side.
    """
    paths = fitting_modules(model, layers, modules, rank)
    block = decoder_blocks(model)[layers[0]]
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # PEFT divides by r in floating point
        lora_dropout=dropout,
        target_modules=_module_pattern(decoder_blocks_path(model), layers, paths),
        fan_in_fan_out=_is_transposed(block.get_submodule(paths[0])),
        task_type="CAUSAL_LM",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tied embeddings: nothing of them is adapted
        if not isinstance(model, PeftModel):
            return get_peft_model(model, config, name)  # type: ignore[arg-type, return-value]
        model.add_adapter(name, config)
        model.set_adapter(_acting(model))  # which also freezes the new one
        return model


def _acting(model: PeftModel) -> str:
    """The adapter in use: here there is never more than one at a time."""
    return model.active_adapter  # type: ignore[return-value]


def adapter_in_use(model: nn.Module) -> str | None:
    """The name of the adapter that acts; None for a bare model."""
    return _acting(model) if isinstance(model, PeftModel) else None


@contextmanager
def in_use(model: nn.Module, name: str) -> Iterator[None]:
    """Inside the block the adapter `name` is the one that acts and can be trained; afterwards, the one before."""
    assert isinstance(model, PeftModel)
    before = _acting(model)
    if name == before:
        yield
        return
    model.set_adapter(name)
    try:
        yield
    finally:
        model.set_adapter(before)


def refuse_without_place(model: nn.Module, name: str, blocks: str, layers: Sequence[int], sizes: Mapping[str, tuple[int, int]]) -> None:
    """Whether an adapter that was made elsewhere has its places in `model`, which may be a skeleton on the meta device.

    Args:
        model: A transformers causal LM.
        name: What the adapter is called.
        blocks: Path of the decoder blocks in the model that it was made for.
        layers: Its layers.
        sizes: By path inside a block: inputs and outputs of the linear map that it sits on.

    Raises:
        LabError: For a layer or linear map that the model lacks, or has in another size.
    """
    asked, remedy = f"The adapter {name} was to be used", "Choose an adapter that was made for this model"
    if blocks != decoder_blocks_path(model):
        raise LabError(asked, f"It sits in {blocks}; the layers of this model are in {decoder_blocks_path(model)}", remedy)
    own = decoder_blocks(model)
    if beyond := [layer for layer in layers if layer >= len(own)]:
        raise LabError(asked, f"It sits in layer {beyond[0]}; this model has {len(own)} layers, 0 to {len(own) - 1}", remedy)
    for layer in layers:
        known = adaptable_modules(own[layer])
        for path, size in sizes.items():
            if path not in known:
                raise LabError(asked, f"It sits on {path}; layer {layer} of this model has no such linear map", remedy)
            here = _size(own[layer].get_submodule(path))
            if here != size:
                raise LabError(
                    asked, f"In layer {layer} {path} of this model is {here[0]} by {here[1]}, the adapter's {size[0]} by {size[1]}", remedy
                )


def _size(module: nn.Module) -> tuple[int, int]:
    """Inputs and outputs of a linear map."""
    rows, columns = map(int, module.weight.shape)  # type: ignore[arg-type, union-attr]
    return (rows, columns) if _is_transposed(module) else (columns, rows)


def _module_pattern(blocks_path: str, layers: Sequence[int], paths: Sequence[str]) -> str:
    layer = "|".join(str(layer) for layer in sorted(set(layers)))
    inside = "|".join(re.escape(path) for path in sorted(paths))
    return rf"(.*\.)?{re.escape(blocks_path)}\.({layer})\.({inside})"


@contextmanager
def adapter_off(model: nn.Module) -> Iterator[None]:
    """Inside the block `model` is the original model, bit for bit; a model without an adapter is so anyway."""
    if isinstance(model, PeftModel):
        with model.disable_adapter():
            yield
    else:
        yield


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Inside the block no dropout acts; afterwards every module is in the mode it was found in, also after an error.

    The research code's `evaluate()` leaves the model in eval mode, which switches its dropout off from the first evaluation on.
    """
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def train_adapter_only(model: nn.Module) -> None:
    """Adapter dropout on, every dropout of the frozen model off: the student differs from its teacher by SAE and adapter alone."""
    model.eval()
    for name, module in model.named_modules():
        if "lora_dropout" in name:
            module.train()


def adapter_parameters(model: nn.Module, name: str = ALONE) -> list[nn.Parameter]:
    """The parameters of one adapter, in a fixed order. They are trainable while it is in use."""
    return [parameter for path, parameter in model.named_parameters() if ".lora_" in path and f".{name}." in path]


def adapted_layers(model: nn.Module, name: str = ALONE) -> list[int]:
    """Indices of the decoder blocks that hold a part of one adapter."""
    return [index for index, block in enumerate(decoder_blocks(model)) if adapter_parameters(block, name)]


def adapter_weights(model: PeftModel, name: str = ALONE) -> dict[str, Tensor]:
    """One adapter's tensors under PEFT's file names, detached from the model."""
    state = get_peft_model_state_dict(
        model, adapter_name=name, save_embedding_layers=False
    )  # "auto", the default, asks the Hub for the base model's vocabulary
    return {path: tensor.detach().clone().contiguous() for path, tensor in state.items()}


def load_adapter_weights(model: PeftModel, weights: dict[str, Tensor], name: str = ALONE) -> None:
    """Put saved tensors back. Every tensor must find its place, and every place its tensor."""
    outcome = set_peft_model_state_dict(model, weights, adapter_name=name)
    if outcome.unexpected_keys:
        raise ValueError(f"adapter weights without a place in the model: {outcome.unexpected_keys[:3]}")
    if empty := [path for path in outcome.missing_keys if ".lora_" in path and f".{name}." in path]:
        raise ValueError(f"places in the model without weights: {empty[:3]}")
