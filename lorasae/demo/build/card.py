"""The card of the stored assets, written from what the build measured."""

from collections.abc import Mapping, Sequence

from lorasae.demo.build.index import Entry, Index
from lorasae.demo.build.plan import HELD_OUT_SEED, TRAINING_SEED, BuildPlan

_CARD = """\
---
license: apache-2.0
language: en
library_name: transformers
tags: [sparse-autoencoder, saelens, synthetic]
---
# The pocket world

A language model small enough to train, adapt and look into on two processor cores, and SAEs on its residual stream: the stand-in for
Gemma-2 and Gemma Scope in the app's demonstration, tests and tutorials. Both were made from nothing by this project; no other model,
data set or text is in them. Licence: Apache-2.0.

| Path | What |
|---|---|
| `model/` | `pocket`: Gemma-2 architecture, {n_parameters:,} parameters with the embeddings, and its tokenizer of {vocab} tokens |
| `saes/` | the Pocket Scope: {n_saes} JumpReLU SAEs that sae-lens opens with `SAE.load_from_disk`; `index.json` says what each measures |
| `checksums.json` | size and sha256 of every file; compare with `python -m lorasae.demo.build --check` |

## How it was made
```
python -m lorasae.demo.build {options}
```
On {device} this took {minutes} for the model and {scope_minutes} for the SAEs. Without `--lm-steps` a speed
probe chooses the steps that fit into `--lm-minutes`. Weights and order come from seed {seed}: expect the same numbers on the same kind of
machine with the same number of threads, nearly the same elsewhere.

* **Text.** `lorasae.demo.text` writes {n_kinds} kinds of documents about a small world with fixed facts. Training uses seed
  {training_seed}; everything measured here uses seed {held_out_seed}. Documents are joined by `<eos>` and cut into chunks of {context}
  tokens, `<bos>` first.
* **Model.** {n_layers} layers, stream of {d_in}, MLP of {d_mlp}, {n_heads} query and {n_kv} key-value heads of {head_dim}, soft caps 50
  and 30, a sliding window of {window} on every second layer, tied embeddings. {n_steps} steps of {batch} x {context} tokens
  ({n_tokens:.1f} M tokens, each seen once). Muon on the matrices (peak {matrix_lr}), AdamW on the embedding and norms (peak
  {lr}), cosine to zero, gradient norm clipped at 1. Stored as bfloat16.
* **SAEs.** sae-lens's JumpReLU trainer with the quadratic penalty around a target L0 of {targets};
  {n_samples:.1f} M activations each, none of `<bos>` or `<eos>`. Decoder rows have norm 1. Stored as float16 and measured as stored.

## What it measures
Held-out cross-entropy of the model: **{ce:.4f} nats/token**. It and the table were measured on {n_measured:,} held-out tokens;
special tokens are not among them, do not pass through the SAE, and the predictions made at them are not scored.

L0: mean active features per token. FVE: variance explained. CE gap: what splicing the SAE into the stream adds to the cross-entropy,
± its standard error. Dead: share of features that never fired on these tokens.

| SAE | hook point | features | L0 | FVE | CE gap, nats/token | dead |
|---|---|---:|---:|---:|---:|---:|
{rows}

## What it writes
The first {n_samples_shown} samples of seed {seed} at temperature 0.7, not chosen:

{samples}

## Limits
It knows the words, patterns and facts of the pocket world and nothing else; asked anything else, it answers with the pocket world. It mixes
up facts, loses track of who is who in long texts, and does not calculate reliably. Its SAEs show how SAEs behave, not what is in larger
models.
"""


def card(
    plan: BuildPlan,
    training: Mapping[str, float | int | str],
    index: Index,
    samples: Sequence[str],
    n_kinds: int,
) -> str:
    """The card's Markdown.

    Args:
        plan: What was built.
        training: What the language model's training noted down: options, parameters, steps, seconds, device.
        index: The Pocket Scope and what it measures.
        samples: Documents the model wrote.
        n_kinds: Kinds of documents in the text.
    """
    model, scope = plan.model, plan.scope
    return _CARD.format(
        n_parameters=training["n_parameters"],
        options=training["options"],
        n_steps=training["n_steps"],
        device=training["device"],
        minutes=_minutes(training["seconds"]),
        scope_minutes=_minutes(training["scope_seconds"]),
        vocab=model.vocab,
        n_saes=len(index.saes),
        seed=plan.seed,
        n_kinds=n_kinds,
        training_seed=TRAINING_SEED,
        held_out_seed=HELD_OUT_SEED,
        context=model.context_length,
        n_layers=model.n_layers,
        d_in=model.d_in,
        d_mlp=model.d_mlp,
        n_heads=model.n_heads,
        n_kv=model.n_key_value_heads,
        head_dim=model.head_dim,
        window=model.sliding_window,
        batch=model.batch_size,
        n_tokens=int(training["n_steps"]) * model.batch_size * model.context_length / 1e6,
        matrix_lr=model.matrix_learning_rate,
        lr=model.learning_rate,
        targets=", ".join(str(target) for target in scope.target_l0s),
        n_samples=scope.n_samples / 1e6,
        ce=index.saes[0].ce_original,
        n_measured=index.saes[0].n_tokens,
        rows="\n".join(_row(entry, entry.sae_id == index.default) for entry in index.saes),
        n_samples_shown=len(samples),
        samples="\n\n".join("> " + sample.replace("\n", "  \n> ") for sample in samples),
    )


def _minutes(seconds: float | int | str) -> str:
    return f"{float(seconds) / 60:.0f} minutes"


def _row(entry: Entry, is_default: bool) -> str:
    name = f"**`{entry.sae_id}`** (default)" if is_default else f"`{entry.sae_id}`"
    gap = f"{entry.ce_gap:.3f} ± {entry.ce_gap_error:.3f}"
    return f"| {name} | `{entry.hook_point}` | {entry.d_sae} | {entry.l0:.1f} | {entry.fve:.3f} | {gap} | {entry.dead_fraction:.1%} |"
