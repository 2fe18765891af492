"""Language models that SAEs were published for: sizes as their config.json on the Hub states them, names, who may fetch them."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Projection:
    """One linear map of a decoder block, which an adapter can be put on."""

    path: str  # inside the block
    group: str  # attention or mlp
    n_in: int
    n_out: int

    @property
    def name(self) -> str:
        return self.path.rpartition(".")[2]


@dataclass(frozen=True)
class ModelSizes:
    """The numbers that memory and time follow from."""

    family: str
    n_layers: int
    d_model: int
    d_mlp: int
    n_heads: int
    n_kv_heads: int
    d_head: int
    vocab: int
    max_context: int | None = None
    tied: bool = True  # the output matrix is the embedding
    stored_bytes: int = 2  # of a weight in the files on the Hub

    @property
    def projections(self) -> tuple[Projection, ...]:
        """The linear maps of one block, by family."""
        d, heads, kv = self.d_model, self.n_heads * self.d_head, self.n_kv_heads * self.d_head
        if self.family == "gpt2":
            return (
                Projection("attn.c_attn", "attention", d, 3 * heads),
                Projection("attn.c_proj", "attention", heads, d),
                Projection("mlp.c_fc", "mlp", d, self.d_mlp),
                Projection("mlp.c_proj", "mlp", self.d_mlp, d),
            )
        if self.family == "gpt_neox":
            return (
                Projection("attention.query_key_value", "attention", d, 3 * heads),
                Projection("attention.dense", "attention", heads, d),
                Projection("mlp.dense_h_to_4h", "mlp", d, self.d_mlp),
                Projection("mlp.dense_4h_to_h", "mlp", self.d_mlp, d),
            )
        return (
            Projection("self_attn.q_proj", "attention", d, heads),
            Projection("self_attn.k_proj", "attention", d, kv),
            Projection("self_attn.v_proj", "attention", d, kv),
            Projection("self_attn.o_proj", "attention", heads, d),
            Projection("mlp.gate_proj", "mlp", d, self.d_mlp),
            Projection("mlp.up_proj", "mlp", d, self.d_mlp),
            Projection("mlp.down_proj", "mlp", self.d_mlp, d),
        )

    @property
    def layer_parameters(self) -> int:
        """Weights of one block's linear maps; norms and biases are nothing beside them."""
        return sum(projection.n_in * projection.n_out for projection in self.projections)

    @property
    def n_parameters(self) -> int:
        return self.n_layers * self.layer_parameters + (1 if self.tied else 2) * self.vocab * self.d_model


def _published(family: str, *sizes: int, context: int, tied: bool = True, stored_bytes: int = 2) -> ModelSizes:
    return ModelSizes(family, *sizes, max_context=context, tied=tied, stored_bytes=stored_bytes)


# layers, width, mlp, heads, key-value heads, head width, vocabulary: as their config.json on the Hub states them
PUBLISHED = {
    "openai-community/gpt2": _published("gpt2", 12, 768, 3072, 12, 12, 64, 50257, context=1024, stored_bytes=4),
    "EleutherAI/pythia-70m-deduped": _published("gpt_neox", 6, 512, 2048, 8, 8, 64, 50304, context=2048, tied=False),
    "google/gemma-2b": _published("gemma", 18, 2048, 16384, 8, 1, 256, 256000, context=8192),
    "google/gemma-2b-it": _published("gemma", 18, 2048, 16384, 8, 1, 256, 256000, context=8192),
    "google/gemma-2-2b": _published("gemma2", 26, 2304, 9216, 8, 4, 256, 256000, context=8192, stored_bytes=4),
    "google/gemma-2-9b": _published("gemma2", 42, 3584, 14336, 16, 8, 256, 256000, context=8192, stored_bytes=4),
    "google/gemma-2-9b-it": _published("gemma2", 42, 3584, 14336, 16, 8, 256, 256000, context=8192),
    "google/gemma-2-27b": _published("gemma2", 46, 4608, 36864, 32, 16, 128, 256000, context=8192, stored_bytes=4),
    **{f"google/gemma-3-270m{end}": _published("gemma3", 18, 640, 2048, 4, 1, 256, 262144, context=32768) for end in ("", "-it")},
    **{f"google/gemma-3-1b-{end}": _published("gemma3", 26, 1152, 6912, 4, 1, 256, 262144, context=32768) for end in ("pt", "it")},
    **{f"google/gemma-3-4b-{end}": _published("gemma3", 34, 2560, 10240, 8, 4, 256, 262208, context=131072) for end in ("pt", "it")},
    **{f"google/gemma-3-12b-{end}": _published("gemma3", 48, 3840, 15360, 16, 8, 256, 262208, context=131072) for end in ("pt", "it")},
    **{f"google/gemma-3-27b-{end}": _published("gemma3", 62, 5376, 21504, 32, 16, 128, 262208, context=131072) for end in ("pt", "it")},
    "meta-llama/Llama-3.1-8B": _published("llama", 32, 4096, 14336, 32, 8, 128, 128256, context=131072, tied=False),
    "meta-llama/Meta-Llama-3-8B-Instruct": _published("llama", 32, 4096, 14336, 32, 8, 128, 128256, context=8192, tied=False),
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B": _published("llama", 32, 4096, 14336, 32, 8, 128, 128256, context=131072, tied=False),
    "mistralai/Mistral-7B-v0.1": _published("mistral", 32, 4096, 14336, 32, 8, 128, 32000, context=32768, tied=False),
}

_HUB_IDS = {  # where sae-lens's registry names a model in TransformerLens's way
    "gpt2-small": "openai-community/gpt2",
    "gpt2": "openai-community/gpt2",
    "pythia-70m-deduped": "EleutherAI/pythia-70m-deduped",
    "mistral-7b": "mistralai/Mistral-7B-v0.1",
}
_GATED = ("google/gemma-", "meta-llama/")  # the Hub gives them to people who accepted their licence; SAEs of them are open
SMALL_AND_OPEN = ("openai-community/gpt2", "EleutherAI/pythia-70m-deduped")  # nobody to ask, and a laptop is enough


def hub_id(model: str) -> str:
    """The Hub's name of a model, where it was called by another: `gpt2-small`, `gemma-2-2b`."""
    if model in _HUB_IDS:
        return _HUB_IDS[model]
    return f"google/{model}" if re.match(r"gemma-\d", model) else model


def is_gated(model: str) -> bool:
    """Whether the Hub asks for a login and an accepted licence before it gives this model out."""
    return hub_id(model).startswith(_GATED)


def stream_width(sizes: ModelSizes, site: str) -> int:
    """How many numbers stand at a site (`attention heads`, `after the layer` …) for each token."""
    return sizes.n_heads * sizes.d_head if site == "attention heads" else sizes.d_model
