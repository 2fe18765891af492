"""`python -m lorasae adapt|eval|inspect|demo`: one run, from its settings to what changed."""

import argparse
import sys
from typing import Any

from lorasae.cli.settings import add_settings, config_from, sae_ref
from lorasae.config import RunConfig, SAERef, run_config
from lorasae.errors import LabError
from lorasae.home import home
from lorasae.sources.known_datasets import known_dataset
from lorasae.store.run_folder import Run
from lorasae.store.run_records import DEFAULT_TEXT
from lorasae.store.runs import RunStore


def adapt_command(options: argparse.Namespace) -> None:
    """Start a run, or take one up, and print what it reached."""
    store = RunStore(home())
    if not options.resume:
        _adapt_and_show(store.create(config_from(options)))
        return
    if config_from(options) != RunConfig():
        raise LabError("A run was to go on with other settings", "A run keeps its settings", "Give --resume alone, or start a new run")
    run = store.open(options.resume)
    run.forget_wish()  # of stopping it, from before
    _adapt_and_show(run)


def eval_command(options: argparse.Namespace) -> None:
    """Measure a finished run again, on its own held-out text or on another."""
    from lorasae.cli.terminal import result_table
    from lorasae.inspection.comparison import measure_again
    from lorasae.inspection.opened_run import OpenedRun

    run = RunStore(home()).open(options.run)
    known = known_dataset(options.data or "")
    told = known.settings if known else {"source": options.data}
    data = run.config.data.model_copy(update=told) if options.data else None
    metrics = measure_again(OpenedRun(run), data).metrics()
    print(result_table({key: {"value": value, "standard_error": error} for key, (value, error) in metrics.items()}))


def inspect_command(options: argparse.Namespace) -> None:
    """Features and tokens of a text, side by side."""
    if options.features < 1:
        raise LabError(f"{options.features} features were asked for", "At least one is shown", "Give --features 1 or more")
    run = RunStore(home()).open(options.run)
    _compare_and_show(run, options.text, options.features, tuple(map(sae_ref, options.also)), options.proceed)


def demo_command(options: argparse.Namespace) -> None:
    """The default adaptation of the pocket model, and a sentence seen through it."""
    from lorasae.sources.catalog import saes_above

    print("Adapting the pocket language model around its default SAE. No network is needed.", file=sys.stderr)
    run = RunStore(home()).create(run_config({"name": "demo"}))
    _adapt_and_show(run)
    _compare_and_show(run, options.text, 4, saes_above(run.config.saes[0])[:1])
    print(f"\nLook further: python -m lorasae inspect {run.folder} --text 'Any sentence.'")


def _adapt_and_show(run: Run) -> dict[str, Any]:
    from lorasae.cli.terminal import ProgressBar
    from lorasae.training.recipe import adapt

    print(f"run: {run.folder}", file=sys.stderr, flush=True)
    bar = ProgressBar()
    try:
        result = adapt(run, bar)
    finally:
        bar.close()
    _show(run, result)
    return result


def _show(run: Run, result: dict[str, Any]) -> None:
    from lorasae.cli.terminal import computed, result_table

    heldout = result["heldout"]
    measured = f"Measured on {heldout['n_tokens']:,} scored tokens of {heldout['n_sequences']} held-out sequences; ± one standard error."
    print("\n" + "\n".join([result_table(result["results"]), "", measured, *computed(result), f"run: {run.folder}"]), flush=True)


def _compare_and_show(run: Run, text: str, n_features: int, also: tuple[SAERef, ...], n_proceed: int = 0) -> None:
    from lorasae.cli.terminal import comparison_table
    from lorasae.inspection.comparison import compare, feature_rows, notes, observed_saes, samples
    from lorasae.inspection.opened_run import OpenedRun

    opened = OpenedRun(run)
    observed = observed_saes(opened, also)
    comparison = compare(opened, text, observed)
    features = [row for hook_point in sorted(observed) for row in feature_rows(comparison, hook_point, n_features)]
    print(comparison_table(comparison, features, notes(opened, comparison, min(opened.loaded.saes))))
    if n_proceed:
        for name, sample in samples(opened, text, n_proceed).items():
            print(f"\n{name} model, SAE off, goes on: {sample}")


def add_run_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The options of adapt, eval and inspect."""
    adapt = commands.add_parser("adapt", help="train an adapter around one or several SAEs")
    add_settings(adapt)
    adapt.add_argument("--rank", help="rank of the adapter")
    adapt.add_argument("--resume", metavar="RUN", help="take up an interrupted run, by id or folder")
    adapt.set_defaults(command=adapt_command)

    evaluate = commands.add_parser("eval", help="measure a finished run again")
    evaluate.add_argument("run", help="id or folder of the run")
    evaluate.add_argument("--data", help="another text source; its held-out side is measured")
    evaluate.set_defaults(command=eval_command)

    inspect = commands.add_parser("inspect", help="features and tokens of a text, before and after")
    inspect.add_argument("run", help="id or folder of the run")
    inspect.add_argument("--text", default=DEFAULT_TEXT, help="the text")
    inspect.add_argument("--features", type=int, default=8, help="features shown per SAE")
    inspect.add_argument("--continue", dest="proceed", type=int, default=0, metavar="N", help="let both models go on for N tokens")
    inspect.add_argument(
        "--also", nargs="+", action="append", default=[], metavar=("RELEASE", "SAE_ID"), help="a further SAE to look through"
    )
    inspect.set_defaults(command=inspect_command)


def add_demo_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The demo's options."""
    demo = commands.add_parser("demo", help="the default adaptation of the pocket model, start to finish")
    demo.add_argument("--text", default=DEFAULT_TEXT, help="the sentence shown at the end")
    demo.set_defaults(command=demo_command)
