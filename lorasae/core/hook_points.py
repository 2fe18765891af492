"""Named places in a Hugging Face causal LM: `blocks.12.hook_resid_post` <-> a module's input or output.

Two naming schemes exist: TransformerLens's (`blocks.L.hook_resid_post`, used by most publishers) and module paths
(`model.layers.L.output`, used by Gemma Scope 2). Both are read; everything of ours is written in the first.
"""

import re
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from lorasae.errors import LabError

Site = Literal["resid_pre", "resid_post", "attn_out", "attn_z", "mlp_out"]
Side = Literal["input", "output"]


@dataclass(frozen=True)
class HookPoint:
    """A site in a layer. Ordered as the forward pass meets them."""

    layer: int
    site: Site

    def __str__(self) -> str:
        return f"blocks.{self.layer}.{_TRANSFORMER_LENS[self.site]}"

    def __lt__(self, other: "HookPoint") -> bool:
        return (self.layer, _ORDER[self.site]) < (other.layer, _ORDER[other.site])

    @property
    def first_layer_after(self) -> int:
        """The lowest layer that lies wholly above this place."""
        return self.layer if self.site == "resid_pre" else self.layer + 1


_TRANSFORMER_LENS: dict[Site, str] = {
    "resid_pre": "hook_resid_pre",
    "attn_z": "attn.hook_z",
    "attn_out": "hook_attn_out",
    "mlp_out": "hook_mlp_out",
    "resid_post": "hook_resid_post",
}
_ORDER: dict[Site, int] = {site: order for order, site in enumerate(_TRANSFORMER_LENS)}

# A module path's end -> its site. What a path means depends on the family, so the place in the model is compared: `refuse_another_place`.
_MODULE_PATHS: dict[str, Site] = {
    "input": "resid_pre",
    "output": "resid_post",
    "self_attn.o_proj.input": "attn_z",
    "attn.c_proj.input": "attn_z",
    "attention.dense.input": "attn_z",
    "post_attention_layernorm.output": "attn_out",
    "self_attn.output": "attn_out",
    "attn.output": "attn_out",
    "attention.output": "attn_out",
    "post_feedforward_layernorm.output": "mlp_out",
    "mlp.output": "mlp_out",
}
_BLOCK_PATH = (
    r"(?:model\.language_model\.layers|language_model\.(?:model\.)?layers|model\.layers|transformer\.h|gpt_neox\.layers)\.(\d+)(?:\.(.+))?"
)

# Places that publishers name and that nothing can be spliced into, and why.
_NO_PLACES = {
    r"hook_embed|model\.embed_tokens.*": "It is the embedding, below the first layer",
    r".*hook_resid_mid": "It lies between attention and MLP, where no module of the model begins or ends",
    r".*ln\d\.hook_normalized|.*hook_mlp_in|.*pre_feedforward_layernorm\.output": "It is what an MLP reads, the input of a transcoder: "
    "what is written back there leaves the stream as it was",
    r".*mlp\.hook_(pre|post)|.*hook_(q|k|v|pattern|attn_scores)": "It lies inside attention or MLP",
}

# Where each site is, relative to a block; the first path that exists in the block is the place. "" is the block itself. The Gemma norms
# come first because there the sub-layer's contribution is what leaves the norm behind it.
_PLACES: dict[Site, tuple[tuple[str, Side], ...]] = {
    "resid_pre": (("", "input"),),
    "resid_post": (("", "output"),),
    "attn_z": (("self_attn.o_proj", "input"), ("attn.c_proj", "input"), ("attention.dense", "input")),
    "attn_out": (("self_attn", "output"), ("attn", "output"), ("attention", "output")),
    "mlp_out": (("post_feedforward_layernorm", "output"), ("mlp", "output")),
}


def parse_hook_point(name: str) -> HookPoint:
    """The place that `name` names, in either scheme.

    Raises:
        LabError: For a name of neither scheme, or a site that cannot be spliced.
    """
    if match := re.fullmatch(r"blocks\.(\d+)\.(.+)", name):
        layer, tail = match.groups()
        for site, written in _TRANSFORMER_LENS.items():
            if tail == written:
                return HookPoint(int(layer), site)
    if match := re.fullmatch(_BLOCK_PATH, name):
        layer, tail = match.groups()
        if site := _MODULE_PATHS.get(tail or "output"):
            return HookPoint(int(layer), site)
    known = ", ".join(f"blocks.L.{written}" for written in _TRANSFORMER_LENS.values())
    why = next((f"{reason}. " for pattern, reason in _NO_PLACES.items() if re.fullmatch(pattern, name)), "")
    found = f"{why}Places that can be spliced are: {known}"
    raise LabError(f"The hook point {name!r} was asked for", found, "Choose an SAE at one of these")


def refuse_another_place(model: nn.Module, name: str) -> None:
    """Refuse a module path that means another place in this family than the site it is read as.

    `model.layers.3.mlp.output` is what the MLP adds to the stream in Llama; in Gemma 2 a norm stands behind it.

    Raises:
        LabError: Naming the path of the site in this model.
    """
    match = re.fullmatch(_BLOCK_PATH, name)
    if not match or match[2] in (None, "input", "output"):
        return
    hook_point = parse_hook_point(name)
    module, side = place(model, hook_point)
    block = decoder_blocks(model)[hook_point.layer]
    path, _, named_side = match[2].rpartition(".")
    meant = dict(block.named_modules()).get(path)
    if meant is not module or named_side != side:
        there = next((path for path, each in block.named_modules() if each is module), "")
        raise LabError(
            f"The hook point {name!r} was asked for",
            f"In this model, {hook_point} is {there}.{side} of the layer, another place",
            "Choose an SAE of this model",
        )


def decoder_blocks(model: nn.Module) -> nn.ModuleList:
    """The list of decoder blocks of a causal LM, bare or wrapped by PEFT.

    Raises:
        LabError: If no module list has as many entries as the model has layers.
    """
    return unwrapped(model).get_submodule(decoder_blocks_path(model))  # type: ignore[return-value]


def decoder_blocks_path(model: nn.Module) -> str:
    """Dotted path of the decoder blocks inside the bare model, e.g. `model.layers` or `transformer.h`."""
    bare = unwrapped(model)
    n_layers = text_config(bare).num_hidden_layers
    paths = [
        path
        for path, module in bare.named_modules()
        if isinstance(module, nn.ModuleList) and len(module) == n_layers and "vision" not in path and "experts" not in path
    ]
    if not paths:
        raise LabError(
            f"The decoder blocks of {type(bare).__name__} were looked for",
            f"No list of {n_layers} blocks was found in it",
            "Use a causal language model whose blocks sit in one list (Gemma, Llama, Qwen, Mistral, GPT-2, GPT-NeoX …)",
        )
    return min(paths, key=lambda path: path.count("."))


def unwrapped(model: nn.Module) -> Any:
    """The transformers model itself: PEFT's wrapper, if there is one, taken off."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model  # type: ignore[operator]


def text_config(model: nn.Module) -> Any:
    """The configuration of the language part (Gemma 3 keeps it inside a multi-modal one)."""
    config = unwrapped(model).config
    return config.get_text_config() if hasattr(config, "get_text_config") else config


def place(model: nn.Module, hook_point: HookPoint) -> tuple[nn.Module, Side]:
    """The module at `hook_point`, and whether the stream is its input or its output.

    Raises:
        LabError: For a layer beyond the model, or a site that this family's blocks do not have.
    """
    blocks = decoder_blocks(model)
    if hook_point.layer >= len(blocks):
        raise LabError(
            f"The hook point {hook_point} was asked for",
            f"The model has {len(blocks)} layers, 0 to {len(blocks) - 1}",
            "Choose an SAE of one of these layers",
        )
    block = blocks[hook_point.layer]
    places: tuple[tuple[str, Side], ...] = _PLACES[hook_point.site]
    if hook_point.site == "attn_out" and hasattr(block, "pre_feedforward_layernorm"):  # Gemma 2 and 3: a norm behind the attention
        places = (("post_attention_layernorm", "output"), *places)
    for path, side in places:
        try:
            return block.get_submodule(path), side
        except AttributeError:
            continue
    raise LabError(
        f"The hook point {hook_point} was asked for",
        f"The blocks of {type(unwrapped(model)).__name__} have none of: {', '.join(path for path, _ in places)}",
        "Use an SAE of the residual stream for this model",
    )


def module_path(model: nn.Module, hook_point: HookPoint) -> str:
    """Dotted path, in the bare model, of the module at `hook_point`: for those who hook it themselves."""
    module, _ = place(model, hook_point)
    return next(path for path, each in unwrapped(model).named_modules() if each is module)


def stream_of(outputs: Any) -> Tensor:
    """The hidden state in what a module returned: blocks answer a tensor in some families and versions, a tuple in others."""
    return outputs if isinstance(outputs, Tensor) else outputs[0]


def with_stream(outputs: Any, stream: Tensor) -> Any:
    """`outputs` with its hidden state replaced."""
    return stream if isinstance(outputs, Tensor) else (stream, *outputs[1:])
