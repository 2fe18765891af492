"""The index of the Pocket Scope: what each stored SAE measures on held-out text, and where it lies."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from torch import Tensor
from transformers import Gemma2ForCausalLM

from lorasae.core.evaluate import measure
from lorasae.demo.build.corpus import SPECIAL_TOKENS
from lorasae.demo.build.plan import HELD_OUT_SEED
from lorasae.demo.build.pocket_scope import SAESpec
from lorasae.sources.sae_weights import read_sae

_BATCH_SIZE = 32
_NOTE = "entry.json"


@dataclass(frozen=True)
class Entry:
    """One SAE of the index. All figures are of the stored weights, on `n_tokens` held-out tokens that are not special."""

    sae_id: str
    path: str
    """Folder, relative to that of the index."""
    architecture: str
    layer: int
    hook_point: str
    d_in: int
    d_sae: int
    l0: float
    """Mean active features per token."""
    fve: float
    """Variance explained: 1 - sum |x - x_hat|^2 / sum |x - mean x|^2."""
    ce_original: float
    """Cross-entropy of the model alone, nats/token."""
    ce_gap: float
    """What splicing the SAE adds to it, nats/token."""
    ce_gap_error: float
    """Standard error of the gap over chunks."""
    dead_fraction: float
    """Share of features that fired on none of the tokens."""
    n_tokens: int


@dataclass(frozen=True)
class Index:
    """The contents of `index.json`."""

    format: int
    model: str
    default: str
    """Id of the SAE that the app opens with."""
    held_out_seed: int
    saes: list[Entry]


def measured(spec: SAESpec, folder: Path, model: Gemma2ForCausalLM, held_out: Tensor) -> Entry:
    """Measure the SAE stored in the folder on token chunks `(n_chunks, pos)`."""
    sae = read_sae(folder).to(model.device)
    batches = (tokens.long().to(model.device) for tokens in held_out.split(_BATCH_SIZE))
    result = measure(model, batches, {spec.hook_point: sae}, SPECIAL_TOKENS, ("original", "original_sae"))
    metrics, site = result.metrics(), result.sites[spec.hook_point]
    sae_id = f"layer_{spec.layer}/width_{spec.width}/average_l0_{round(site.l0)}"
    return Entry(
        sae_id=sae_id,
        path=sae_id,
        architecture="jumprelu",
        layer=spec.layer,
        hook_point=str(spec.hook_point),
        d_in=sae.d_in,
        d_sae=sae.d_sae,
        l0=round(site.l0, 3),
        fve=round(site.fve, 5),
        ce_original=round(metrics["ce_original"][0], 5),
        ce_gap=round(metrics["ce_gap_before"][0], 5),
        ce_gap_error=round(metrics["ce_gap_before"][1], 5),
        dead_fraction=round(site.dead_fraction, 4),
        n_tokens=site.n_tokens,
    )


def note(entry: Entry, folder: Path) -> None:
    """Keep what was measured beside the SAE while the others are still in training."""
    (folder / _NOTE).write_text(json.dumps(asdict(entry)))


def is_noted(folder: Path) -> bool:
    """Whether the folder holds an SAE that is trained and measured."""
    return (folder / _NOTE).exists()


def publish(folders: Sequence[Path], default: Path, out: Path) -> Index:
    """Replace `out/saes` by the SAEs in the folders, each under the id that its measured L0 gives it, and write their index."""
    shutil.rmtree(out / "saes", ignore_errors=True)
    entries = {folder: Entry(**json.loads((folder / _NOTE).read_text())) for folder in folders}
    for folder, entry in entries.items():
        shutil.copytree(folder, out / "saes" / entry.path, ignore=shutil.ignore_patterns(_NOTE))
    saes = sorted(entries.values(), key=lambda entry: (entry.layer, entry.d_sae, entry.l0))
    index = Index(format=1, model="pocket", default=entries[default].sae_id, held_out_seed=HELD_OUT_SEED, saes=saes)
    (out / "saes" / "index.json").write_text(json.dumps(asdict(index), indent=1) + "\n")
    return index
