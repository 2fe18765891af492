"""A world in a temporary folder for the tests of the services: a little text, a tiny Gemma-2 that learned it, two lossy SAEs."""

import json
import random
import string
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import nn
from transformers import PreTrainedTokenizerFast

from lorasae.config import DataConfig, RunConfig, run_config
from lorasae.sources.data import Corpus, prepare, step_chunks
from lorasae.training.supervision import Nobody
from tests.core.toys import D_IN, tiny_model

ALPHABET = string.ascii_lowercase + " .,\n"


def make_world(folder: Path) -> Path:
    """Write `model/`, `sae_1/`, `sae_2/` and `text.txt` into the folder."""
    rng = random.Random(0)
    words = ["".join(rng.choices(ALPHABET[:26], k=rng.randint(2, 6))) for _ in range(40)]
    (folder / "text.txt").write_text("\n\n".join(" ".join(rng.choices(words, k=rng.randint(4, 12))) + "." for _ in range(300)))
    tokenizer().save_pretrained(folder / "model")
    model = tiny_model("gemma2")
    learn(model, prepare(DataConfig(source=str(folder / "text.txt"), context_length=16), tokenizer(), 16_384))
    model.save_pretrained(folder / "model")
    for layer in (1, 2):
        write_lossy_sae(folder / f"sae_{layer}", layer)
    return folder


def learn(model: nn.Module, corpus: Corpus) -> None:
    """Enough next-token training that losing a part of the stream costs something."""
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(150):
        ids = step_chunks(corpus.train, 0, step, 16)
        optimizer.zero_grad()
        model(input_ids=ids, labels=ids, use_cache=False).loss.backward()
        optimizer.step()


def tokenizer() -> PreTrainedTokenizerFast:
    """One token per letter; ids as in tests.core.toys."""
    vocabulary = {token: i for i, token in enumerate(["<pad>", "<bos>", "<eos>", "<unk>", *ALPHABET])}
    letters = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    letters.pre_tokenizer = pre_tokenizers.Split(Regex("."), "isolated")  # type: ignore[assignment]
    letters.decoder = decoders.Fuse()  # type: ignore[assignment]
    return PreTrainedTokenizerFast(tokenizer_object=letters, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>")


def write_lossy_sae(folder: Path, layer: int, hook_point: str | None = None) -> None:
    """A JumpReLU SAE whose features are the stream's axes and their negatives; it loses what lies below the threshold."""
    eye = torch.eye(D_IN)
    weights = {
        "W_enc": torch.cat([eye, -eye], dim=1).contiguous(),
        "W_dec": torch.cat([eye, -eye]).contiguous(),
        "b_enc": torch.zeros(2 * D_IN),
        "b_dec": torch.zeros(D_IN),
        "threshold": torch.full((2 * D_IN,), 2.0),
    }
    folder.mkdir(parents=True)
    save_file(weights, folder / "sae_weights.safetensors")
    metadata = {"hook_name": hook_point or f"blocks.{layer}.hook_resid_post"}
    settings = {"apply_b_dec_to_input": False, "normalize_activations": "none", "reshape_activations": "none"}
    shape = {"architecture": "jumprelu", "d_in": D_IN, "d_sae": 2 * D_IN, "dtype": "float32", "device": "cpu"}
    (folder / "cfg.json").write_text(json.dumps({**shape, **settings, "metadata": metadata}))


def tiny_run(world: Path, **sections: Any) -> RunConfig:
    """Twelve steps of four sequences of sixteen tokens, at once; `sections` are laid over it."""
    values = {
        "model": {"model": str(world / "model")},
        "saes": [{"release": str(world / "sae_1")}],
        "adapter": {"rank": 2, "alpha": 4, "dropout": 0.1},
        "data": {"source": str(world / "text.txt"), "context_length": 16, "heldout_tokens": 256},
        "train": {"tokens": 12 * 64, "tokens_per_step": 64, "micro_batch_size": 4, "learning_rate": 1e-2},
        "watch": {"evaluations": 2, "checkpoint_every_steps": 1},
    }
    for name, changes in sections.items():
        values[name] = {**values[name], **changes} if isinstance(changes, dict) else changes
    return run_config(values)


class CrashAt(Nobody):
    """Fails while step `step` is reported: as sudden as the process can be to itself."""

    def __init__(self, step: int) -> None:
        self.step = step

    def row(self, row: dict[str, Any], n_steps: int) -> None:
        if row["step"] == self.step:
            raise RuntimeError("the lights went out")
