"""The lines of Python by which anybody loads a published adapter with plain peft and sae-lens, and gets the card's numbers."""

from typing import Any

from lorasae.publishing.publication import Publication
from lorasae.sources.catalog import POCKET_RELEASE

_POCKET = "assets/demo"  # in a clone of the lab


def code(what: Publication, repo_id: str, n_sequences: int = 8) -> str:
    """Python that loads model, adapter and SAEs from the Hub and prints the CE loss of adapted + SAE on the first held-out sequences."""
    revision = f', revision="{what.result["model_revision"]}"' if what.result.get("model_revision") else ""
    model = f"{_POCKET}/model" if what.is_pocket else what.base_model
    imports = ["import numpy as np", "import torch", "from huggingface_hub import hf_hub_download", "from peft import PeftModel"]
    imports += ["from sae_lens import SAE", "from transformers import AutoModelForCausalLM"]
    special, unscored = what.result["special_tokens"]["bypassed"], what.result["special_tokens"]["unscored"]
    lines = [
        *imports,
        "",
        f'base = AutoModelForCausalLM.from_pretrained("{model}"{revision}, dtype=torch.{what.config.model.dtype})',
        f'model = PeftModel.from_pretrained(base, "{repo_id}").eval()',
        f"special, unscored = torch.tensor({list(special)}), torch.tensor({list(unscored)})  # tokens the SAE does not see; not scored",
        f'ids = torch.from_numpy(np.load(hf_hub_download("{repo_id}", "heldout.npy"))[:{n_sequences}]).long()',
        "",
        "def through(sae):",
        "    return lambda x: torch.where(torch.isin(ids, special)[..., None], x, sae(x.float()).to(x.dtype))",
        "",
    ]
    for record in what.saes:
        lines += _spliced(record)
    lines += [
        "with torch.no_grad():",
        "    logits = model(input_ids=ids).logits[:, :-1].float()",
        "ce = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction='none')",
        "print(ce[~torch.isin(ids[:, :-1], unscored).flatten()].mean())  # nats per token",
    ]
    return "\n".join(lines)


def _spliced(record: dict[str, Any]) -> list[str]:
    loaded = f'SAE.from_pretrained("{record["release"]}", "{record["sae_id"]}", dtype="float32")'
    if record["release"] == POCKET_RELEASE:
        loaded = f'SAE.load_from_disk("{_POCKET}/saes/{record["sae_id"]}")'
    lines = [f"sae = through({loaded})"]
    if record["normalisation"] == "centred":  # sae-lens leaves the centring to TransformerLens
        lines.append("sae = lambda x, sae=sae: sae(x - x.mean(-1, keepdim=True)) + x.mean(-1, keepdim=True)")
    module = f'model.get_base_model().get_submodule("{record["module"]}")'
    if record["side"] == "input":
        hook = f"{module}.register_forward_pre_hook(lambda _, x, sae=sae: (sae(x[0]), *x[1:]))"
    else:
        hook = f"{module}.register_forward_hook(lambda _, __, x, sae=sae: (sae(x[0]), *x[1:]) if isinstance(x, tuple) else sae(x))"
    return [*lines, hook, ""]
