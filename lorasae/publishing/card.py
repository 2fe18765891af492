"""The model card: what was done and what came of it, in plain words, every number with its error; and the front matter the Hub reads."""

from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from lorasae.metrics import LEARNED, METRICS, has_learned
from lorasae.publishing.descent import licence_for, where_from
from lorasae.publishing.licences import Licence, citations, makers
from lorasae.publishing.publication import CONDITIONS, Publication
from lorasae.publishing.usage import code

TAG = "lorasae"  # by which the gallery finds adapters
BLOCK = "lorasae"  # the part of the front matter that the gallery reads
_EVALUATED = ("ce_gap_before", "ce_gap_after", "gap_closed", "kl_adapted_sae")
_IN_WORDS = {
    "ce_original": "the model alone",
    "ce_original_sae": "with the SAE in its stream, before adaptation",
    "ce_adapted_sae": "with the SAE, after adaptation",
    "ce_adapted": "adapted, with the SAE taken out again: the price of adapting",
}


def model_card(what: Publication, repo_id: str, checked: dict[str, Any] | None = None) -> str:
    """README.md of the repository.

    Args:
        what: The run.
        repo_id: Where it will lie.
        checked: What `check.measured_again` found in the published files; None before it was asked.
    """
    licence = licence_for(what)
    parts = [
        f"---\n{_front_matter(what, licence, checked is not None).to_yaml()}\n---",
        _what_this_is(what),
        where_from(what),
        _numbers(what),
        _checked(checked),
        _how_to_use(what, repo_id),
        _how_it_was_made(what),
        _limits(what),
        _rights(what, licence),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _front_matter(what: Publication, licence: Licence, measured_again: bool) -> ModelCardData:
    data = what.config.data
    on_hub = not what.has_own_text and data.source != "pocket"
    known = [key for key in _EVALUATED if what.value(key) is not None]
    results = [
        EvalResult(
            task_type="text-generation",
            dataset_type=data.source if on_hub else "held-out-text",
            dataset_name=what.text,
            dataset_split=data.split if on_hub else None,
            metric_type=key,
            metric_name=METRICS[key].label,
            metric_value=what.value(key),
        )
        for key in known
    ]
    rest: dict[str, Any] = {} if what.is_pocket else {"base_model": what.base_model, "base_model_relation": "adapter"}
    if licence.name == "other":
        rest["license_name"] = licence.own_name
    rest[BLOCK] = _for_the_gallery(what, measured_again)
    return ModelCardData(
        model_name=what.name if results else None,
        eval_results=results or None,
        library_name="peft",
        license=licence.name,
        pipeline_tag="text-generation",
        datasets=[data.source] if on_hub else None,
        tags=[TAG, "lora", "sparse-autoencoder", "interpretability", *dict.fromkeys(record["release"] for record in what.saes)],
        **rest,
    )


def _for_the_gallery(what: Publication, measured_again: bool) -> dict[str, Any]:
    """What a row of the gallery shows and the Hub's own fields have no place for."""
    gap_closed = what.result["results"].get("gap_closed") or {}
    saes = [
        {
            **{key: each[key] for key in ("release", "sae_id", "hook_point", "d_sae")},
            "l0": round(each["original"]["l0"], 1) if each.get("original") else None,
        }
        for each in what.saes
    ]
    numbers = {"gap_closed": gap_closed.get("value"), "gap_closed_error": gap_closed.get("standard_error")}
    return {"model": what.base_model, "saes": saes, "rank": what.config.adapter.rank, **numbers, "measured_again": measured_again}


def _what_this_is(what: Publication) -> str:
    these = "these sparse autoencoders" if len(what.saes) > 1 else "this sparse autoencoder"
    saes = "\n".join(f"- `{each['release']}` / `{each['sae_id']}` at `{each['hook_point']}`" for each in what.saes)
    if what.is_only_measured:
        claim, method = f"Measured with {these} in the model's stream:", "The SAE stays as it is; so does the adapter here."
    else:
        claim = f"It makes the model work *with* {these} in its stream:"
        method = """The SAE stays as it is; the adapter teaches the model
around it to live with it, as in [Low-Rank Adapting Models for Sparse Autoencoders](https://arxiv.org/abs/2501.19406)."""
    base = f"[{what.base_model}](https://huggingface.co/{what.base_model})" if not what.is_pocket else "the pocket model of LoRA-SAE Lab"
    return f"""# {_plain(what.name)}

A LoRA adapter for {base}. {claim}

{saes}

A sparse autoencoder (SAE) rewrites a model's inner state as a short list of readable features. The rewriting loses something, so that
the model predicts worse while the SAE is in place; that loss is the *CE gap*. {method}

![The four conditions](pictures/gap.png)"""


def _numbers(what: Publication) -> str:
    rows = "\n".join(f"| {_IN_WORDS[key]} | {what.shown(key)} |" for key in CONDITIONS)
    others = ("ce_gap_before", "ce_gap_after", "gap_closed", "kl_original_sae", "kl_adapted_sae")
    table = "\n".join(f"| {METRICS[key].label} | {what.shown(key)} | {METRICS[key].formula.replace('||', '‖')} |" for key in others)
    heldout = what.result["heldout"]
    return f"""## What it does

| condition | CE loss, nats per token |
|---|---|
{rows}

| metric | value | formula |
|---|---|---|
{table}

Measured on {heldout["n_tokens"]:,} scored tokens of {heldout["n_sequences"]:,} held-out sequences of {what.text}; ± one standard error over
sequences. Lower losses are better.

![Training](pictures/curves.png)"""


def _checked(checked: dict[str, Any] | None) -> str:
    if checked is None:
        return ""
    lines = "\n".join(
        f"| {METRICS[key].label} | {pair['stated']:.4f} | {pair['measured']:.4f} |" for key, pair in checked["metrics"].items()
    )
    return f"""## Measured again after publishing

The published files were downloaded again and measured on the first {checked["n_sequences"]} held-out sequences
({checked["n_tokens"]:,} tokens), beside the adapter as it was before it was published.

| metric | before publishing | downloaded |
|---|---|---|
{lines}"""


def _how_to_use(what: Publication, repo_id: str) -> str:
    note = "\nThe pocket model comes with the lab: run this in a clone of it.\n" if what.is_pocket else ""
    return f"""## How to load it

With plain `peft` and `sae-lens`; it prints the loss of adapted + SAE on a few held-out sequences.
{note}
```python
{code(what, repo_id)}
```

Or open it in LoRA-SAE Lab by its name, `{repo_id}`: look inside, compare features before and after, duplicate the run."""


def _how_it_was_made(what: Publication) -> str:
    adapter, train, result = what.config.adapter, what.config.train, what.result
    where = (
        f"layers {', '.join(map(str, adapter.layers))}"
        if adapter.layers
        else {"after": "all layers above the lowest SAE", "all": "all layers"}[adapter.placement]
    )
    if what.is_only_measured:
        return _how_it_was_measured(what, where)
    steps = f"{result['step']:,} of {result['n_steps']:,} steps" if result["step"] < result["n_steps"] else f"{result['n_steps']:,} steps"
    return f"""## How it was made

LoRA of rank {adapter.rank} (alpha {adapter.alpha:g}) on {" and ".join(adapter.modules)} of {where}; {steps} of {train.tokens_per_step:,}
tokens on {what.text}; AdamW, peak learning rate {train.learning_rate:g}, {train.schedule} schedule.
The objective is KL(original ‖ adapted + SAE). Base weights and SAE did not change.

`config.yaml` holds every setting (`python -m lorasae adapt config.yaml` does it again), `lorasae.json` the result with the versions and
the fingerprint of the text, `metrics.jsonl` every step."""


def _how_it_was_measured(what: Publication, where: str) -> str:
    adapter = what.config.adapter
    return f"""## How it was made

LoRA of rank {adapter.rank} (alpha {adapter.alpha:g}) on {" and ".join(adapter.modules)} of {where}. Nothing was trained in this run: the
adapter was measured as it was.

`config.yaml` holds every setting, `lorasae.json` the result with the versions and the fingerprint of the text."""


def _limits(what: Publication) -> str:
    lines = ["The numbers hold for text like the held-out text; other text may cost more."]
    if not what.is_only_measured:
        lines.append(
            "It was trained for the SAEs above. With others, or without one, the model is not the original: see the last condition."
        )
    lines.append("It inherits whatever the base model does wrong, and was not tested for anything but the losses above.")
    if what.result["step"] < what.result["n_steps"]:
        lines.append("Its run was ended early.")
    if has_learned(what.value("gap_closed")):
        lines.append(LEARNED)
    if (what.value("gap_closed") or 0) < 0:
        lines.append("Adaptation made the loss with the SAE worse, not better.")
    return "## Limits\n\n" + "\n".join(f"- {line}" for line in lines)


def _rights(what: Publication, licence: Licence) -> str:
    notice = f"{licence.notice}\n\n" if licence.notice else ""
    made = f"The SAEs are others' work:\n\n{sentences}\n\n" if (sentences := makers(what.releases)) else ""
    entries = "\n\n".join(citations(list(what.releases)))
    return f"## Licence and citation\n\n{notice}{made}```bibtex\n{entries}\n```"


def _plain(name: str) -> str:
    """A name as Markdown text: nothing in it is markup."""
    return "".join(f"\\{character}" if character in r"\`*_{}[]<>()#+-.!|" else character for character in name if character.isprintable())
