"""The plan of the pocket world's build: every size, seed and budget, in one frozen record per stage."""

from dataclasses import dataclass, field

PAD, EOS, BOS, UNK = range(4)
"""Ids of the special tokens, in Gemma's order."""

TRAINING_SEED = 0
"""Seed of the documents that the tokenizer, the model and the SAEs are trained on."""
HELD_OUT_SEED = 1
"""Seed of the documents that everything is measured on; it shares no document with the training seed."""


@dataclass(frozen=True)
class ModelPlan:
    """Shape and training of the pocket language model, a small Gemma-2."""

    vocab: int = 2048
    d_in: int = 192
    d_mlp: int = 512
    n_layers: int = 6
    n_heads: int = 4
    n_key_value_heads: int = 2
    head_dim: int = 48
    context_length: int = 128
    max_positions: int = 256
    sliding_window: int = 64
    batch_size: int = 32
    """Sequences per optimizer step."""
    matrix_learning_rate: float = 8e-3
    """Peak, of Muon on the matrices inside the blocks."""
    learning_rate: float = 3e-3
    """Peak, of AdamW on the embedding and the norms."""
    weight_decay: float = 0.1
    warm_up_share: float = 0.03
    """Share of all steps in which the learning rate climbs to its peak; a cosine takes it down to zero afterwards."""
    max_tokens: int = 40_000_000
    """Training stops here even where the machine could do more in its minutes."""


@dataclass(frozen=True)
class ScopePlan:
    """Which SAEs make up the Pocket Scope, and how each is trained."""

    layers: tuple[int, ...] = (2, 1, 4)
    """In training order, so that the default SAE exists first."""
    widths: tuple[tuple[str, int], ...] = (("512", 512), ("2k", 2048))
    target_l0s: tuple[int, ...] = (5, 16, 40)
    default: tuple[int, str, int] = (2, "2k", 16)
    """Layer, width name and target L0 of the SAE that the app opens with."""
    n_samples: int = 1_500_000
    """Activation vectors each SAE sees."""
    n_cached_tokens: int = 1_500_000
    """Tokens whose activations are kept on hand, and visited in random order."""
    batch_size: int = 512
    learning_rate: float = 2e-3
    l0_coefficient: float = 1.0
    l0_warm_up_share: float = 0.2
    bandwidth: float = 1.0
    dead_feature_coefficient: float = 0.05
    dead_feature_window: int = 200
    """Training steps without firing after which a feature counts as dead and is pulled back."""
    n_held_out_tokens: int = 65_536


@dataclass(frozen=True)
class BuildPlan:
    """The whole build. The default values make the world that is stored in assets/demo."""

    seed: int = 0
    """Of the initial weights and the order of training."""
    lm_minutes: float = 40.0
    lm_steps: int | None = None
    """Optimizer steps of the language model; None: as many as a speed probe says fit into `lm_minutes`."""
    compile: bool = False
    """Run the language model's training through `torch.compile`: a third faster on a CPU, but needs a C++ compiler."""
    n_tokenizer_documents: int = 20_000
    n_logged_chunks: int = 64
    """Held-out chunks in the loss that is logged during training."""
    n_card_samples: int = 6
    n_processes: int = 2
    """SAEs trained side by side on a CPU, one thread each."""
    model: ModelPlan = field(default_factory=ModelPlan)
    scope: ScopePlan = field(default_factory=ScopePlan)
