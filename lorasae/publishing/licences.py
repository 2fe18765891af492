"""Under which licence an adapter may be passed on, and whom to cite. Facts about models and SAEs that stand in no registry."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

METHOD = """@inproceedings{chen2025lowrank,
  title     = {Low-Rank Adapting Models for Sparse Autoencoders},
  author    = {Chen, Matthew and Engels, Joshua and Tegmark, Max},
  booktitle = {International Conference on Machine Learning},
  year      = {2025},
  note      = {arXiv:2501.19406}
}"""

_GEMMA_SCOPE = """@article{lieberum2024gemmascope,
  title   = {Gemma Scope: Open Sparse Autoencoders Everywhere All At Once on Gemma 2},
  author  = {Lieberum, Tom and Rajamanoharan, Senthooran and Conmy, Arthur and Smith, Lewis and Sonnerat, Nicolas and Varma, Vikrant and
             Kram{\\'a}r, J{\\'a}nos and Dragan, Anca and Shah, Rohin and Nanda, Neel},
  journal = {arXiv preprint arXiv:2408.05147},
  year    = {2024}
}"""
_LLAMA_SCOPE = """@article{he2024llamascope,
  title   = {Llama Scope: Extracting Millions of Features from Llama-3.1-8B with Sparse Autoencoders},
  author  = {He, Zhengfu and Shu, Wentao and Ge, Xuyang and Chen, Lingjie and Wang, Junxuan and Zhou, Yunhua and Liu, Frances and
             Guo, Qipeng and Huang, Xuanjing and Wu, Zuxuan and Jiang, Yu-Gang and Qiu, Xipeng},
  journal = {arXiv preprint arXiv:2410.20526},
  year    = {2024}
}"""
_OPENAI = """@article{gao2024scaling,
  title   = {Scaling and Evaluating Sparse Autoencoders},
  author  = {Gao, Leo and Dupr{\\'e} la Tour, Tom and Tillman, Henk and Goh, Gabriel and Troll, Rajan and Radford, Alec and
             Sutskever, Ilya and Leike, Jan and Wu, Jeffrey},
  journal = {arXiv preprint arXiv:2406.04093},
  year    = {2024}
}"""
_END_TO_END = """@article{braun2024identifying,
  title   = {Identifying Functionally Important Features with End-to-End Sparse Dictionary Learning},
  author  = {Braun, Dan and Taylor, Jordan and Goldowsky-Dill, Nicholas and Sharkey, Lee},
  journal = {arXiv preprint arXiv:2405.12241},
  year    = {2024}
}"""


@dataclass(frozen=True)
class Licence:
    """A licence as the Hub names it, and what must be said beside it."""

    name: str
    notice: str = ""
    own_name: str = "that-of-the-base-model"  # where the Hub has none: what `other` means


def _llama(version: str) -> Licence:
    return Licence(
        f"llama{version}",
        f"Built with Llama. Llama {version} is licensed under the Llama {version} Community License, Copyright © Meta Platforms, Inc. All "
        "Rights Reserved. It applies to the adapter, and asks that its name begin with “Llama”.",
    )


_OF_MODELS = {  # beginning of the Hub id -> the licence of what is derived from it
    "google/gemma": Licence(
        "gemma",
        "Gemma is provided under and subject to the Gemma Terms of Use found at https://ai.google.dev/gemma/terms. "
        "The adapter is a model derivative: whoever uses it accepts these terms, and the prohibited uses they name.",
    ),
    "meta-llama/Llama-3.1": _llama("3.1"),
    "meta-llama/Meta-Llama-3.1": _llama("3.1"),
    "meta-llama/Llama-3.2": _llama("3.2"),
    "meta-llama/Llama-3.3": _llama("3.3"),
    "meta-llama/Meta-Llama-3-": Licence(
        "llama3",
        "Built with Meta Llama 3. Meta Llama 3 is licensed under the Meta Llama 3 Community License, Copyright © Meta Platforms, Inc. "
        "All Rights Reserved. It applies to the adapter, and asks that its name begin with “Llama 3”.",
    ),
    "deepseek-ai/DeepSeek-R1-Distill-Llama-8B": Licence(
        "mit",
        "DeepSeek gives its weights under the MIT licence. They derive from Llama-3.1-8B, so the Llama 3.1 Community License applies too. "
        "Built with Llama.",
    ),
    "openai-community/gpt2": Licence("mit"),
    "EleutherAI/pythia": Licence("apache-2.0"),
    "mistralai/Mistral-7B": Licence("apache-2.0"),
    "Qwen/Qwen": Licence("apache-2.0", "Most Qwen models are Apache-2.0; look at the page of the base model."),
    "pocket": Licence("apache-2.0"),
}
_OF_SAES = {  # beginning of a release -> its authors' paper
    r"gemma-scope-\d+b": _GEMMA_SCOPE,
    "llama_scope": _LLAMA_SCOPE,
    r"gpt2-small-[a-z-]+-v5-": _OPENAI,
    r"gpt2-small-res_[a-z]+-ajt": _END_TO_END,
}


def licence_of(model: str) -> Licence:
    """The licence of an adapter of `model`; `other` where the lab does not know."""
    known = [licence for beginning, licence in _OF_MODELS.items() if model.startswith(beginning)]
    return known[0] if known else Licence("other", "The licence of the base model applies to the adapter: look at its page.")


def makers(releases: Mapping[str, str | None]) -> str:
    """Who made the SAEs, in a sentence each, for whoever cites them.

    Args:
        releases: Release -> its repository on the Hub; None where it has none.
    """
    known = {
        release: f"[{repository}](https://huggingface.co/{repository}) by {repository.partition('/')[0]}"
        for release, repository in releases.items()
        if repository
    }
    return "\n".join(f"- `{release}`: {where}. Its page says how its authors wish to be cited." for release, where in known.items())


def citations(releases: list[str]) -> list[str]:
    """BibTeX: the method, then the authors of these SAEs as far as the lab knows them."""
    authors = [entry for beginning, entry in _OF_SAES.items() if any(re.match(beginning, release) for release in releases)]
    return [METHOD, *authors]
