"""`python -m lorasae adapt|eval|inspect|push|gallery|open|sweep|bench|demo`: the commands, each a few lines over the services."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from lorasae.bench.command import add_bench_command
from lorasae.config import PRESETS, RunConfig, SAERef, overlay, run_config
from lorasae.errors import LabError
from lorasae.home import home
from lorasae.hub_commands import add_hub_commands
from lorasae.identity import LOCAL_OWNER
from lorasae.planning.continuing import with_start
from lorasae.planning.variations import nested, varied
from lorasae.sources.known_datasets import KNOWN_DATASETS, known_dataset
from lorasae.store.run_folder import Run
from lorasae.store.run_records import DEFAULT_TEXT
from lorasae.store.runs import RunStore

# Short flags for the settings people change most; every other one is reached with --set section.name=value.
_FLAGS = (
    ("name", "name", "a name of your own for the run"),
    ("model", "model.model", "pocket, a Hub id or a local folder"),
    ("dtype", "model.dtype", "float32 or bfloat16"),
    ("device", "model.device", "auto, cpu or cuda"),
    ("rank", "adapter.rank", "rank of the adapter"),
    ("alpha", "adapter.alpha", "the adapter's scale is alpha / rank"),
    ("placement", "adapter.placement", "after (layers above the SAE) or all"),
    ("layers", "adapter.layers", "named layers instead, e.g. [3, 4]"),
    ("modules", "adapter.modules", "attention, mlp, or projections, e.g. [q_proj, down_proj]"),
    ("start", "adapter.start", "begin with the adapter of a run or of a Hub repository; --tokens 0 measures it only"),
    (
        "data",
        "data.source",
        f"pocket, a .txt, .jsonl or .csv file, a dataset id, or one of: {', '.join(each.name for each in KNOWN_DATASETS)}",
    ),
    ("context", "data.context_length", "tokens per sequence"),
    ("tokens", "train.tokens", "training tokens"),
    ("lr", "train.learning_rate", "peak learning rate"),
    ("seed", "seed", "seed of adapter, data order and dropout"),
)
_READ_AS_YAML = {"rank", "alpha", "layers", "modules", "context", "tokens", "lr", "seed"}  # the others are words as they stand


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 if it did what was asked, 1 after a problem told in a sentence, 130 after a stop."""
    options = parser().parse_args(arguments)
    from lorasae.training.supervision import Stopped

    try:
        options.command(options)
    except LabError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except Stopped as stopped:
        print(f"\n{stopped}", file=sys.stderr)
        return 130
    except KeyboardInterrupt:
        return 130
    return 0


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
    from lorasae.inspection.comparison import measure_again
    from lorasae.inspection.opened_run import OpenedRun
    from lorasae.terminal import result_table

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


def sweep_command(options: argparse.Namespace) -> None:
    """One run per SAE, rank and combination of varied settings, and the table of what each closed."""
    from lorasae.terminal import sweep_table, value_with_error
    from lorasae.training.together import groups

    bases = [config_from(argparse.Namespace(**{**vars(options), "sae": each, "rank": None})) for each in _one_by_one(options.sae)]
    values = _values_to_try(options.vary)
    if options.rank and "adapter.rank" in values:
        raise LabError("A sweep over ranks was asked for", "Both --rank and --vary adapter.rank name them", "Leave one of them out")
    asked = [
        (", ".join(filter(None, (", ".join(map(str, base.saes)), what))), each.adapter.rank, each)
        for base in bases
        for what, config in varied(base, values)
        for each in ([_at_rank(config, rank) for rank in dict.fromkeys(options.rank)] if options.rank else [config])
    ]
    rows: dict[str, dict[int, str]] = {name: {} for name, _, _ in asked}
    try:
        for group in groups([config for _, _, config in asked]):
            for (name, rank, _), result in _adapt_together_and_show([asked[index] for index in group]):
                rows[name][rank] = value_with_error(result["results"], "gap_closed")
    finally:
        print(f"\n{sweep_table(rows, sorted({rank for _, rank, _ in asked}))}")


def _values_to_try(assignments: Sequence[str]) -> dict[str, list[Any]]:
    """Each `setting=value,value` as its parts."""
    found: dict[str, list[Any]] = {}
    for assignment in assignments:
        setting, equals, values = (part.strip() for part in assignment.partition("="))
        asked, remedy = f"--vary {assignment} was given", "Write it as --vary train.learning_rate=1e-3,4e-3"
        if not equals or not setting or not all(value.strip() for value in values.split(",")):
            raise LabError(asked, "It has no =" if not equals else "A name or a value is missing", remedy)
        if setting in found:
            raise LabError(asked, f"{setting} was to be varied already", "Give all its values at once, with commas between them")
        found[setting] = [_yaml_value(f"--vary {assignment}", value) for value in dict.fromkeys(values.split(","))]
    return found


def _adapt_together_and_show(asked: list[tuple[str, int, RunConfig]]) -> Iterator[tuple[tuple[str, int, RunConfig], dict[str, Any]]]:
    """Train these together, and of each print what it reached, or why it did not and how it goes on."""
    from lorasae.terminal import SharedProgress
    from lorasae.training.together import adapt_together

    runs = [RunStore(home()).create(config) for _, _, config in asked]
    titles = [f"{name}, r = {rank}" for name, rank, _ in asked]
    for run, title in zip(runs, titles, strict=True):
        print(f"run: {run.folder} ({title})", file=sys.stderr, flush=True)
    with SharedProgress(titles) as progress:
        outcomes = adapt_together(runs, progress.listeners)
    for run, each, title, outcome in zip(runs, asked, titles, outcomes, strict=True):
        if not isinstance(outcome, Exception):
            print(f"\n{title}")
            _show(run, outcome)
            yield each, outcome
    problems = [(title, outcome) for title, outcome in zip(titles, outcomes, strict=True) if isinstance(outcome, Exception)]
    for title, problem in problems[1:]:
        print(f"\n{title}: {problem}", file=sys.stderr)
    for _, problem in problems[:1]:
        raise problem


def _one_by_one(saes: list[list[str]] | None) -> list[list[list[str]] | None]:
    return [[names] for names in saes] if saes else [None]


def _at_rank(base: RunConfig, rank: int) -> RunConfig:
    """The same settings at another rank, with the scale alpha / rank kept."""
    adapter = {"rank": rank, "alpha": base.adapter.alpha / base.adapter.rank * rank}
    return run_config(overlay(base.model_dump(mode="json"), {"adapter": adapter}))


def demo_command(options: argparse.Namespace) -> None:
    """The default adaptation of the pocket model, and a sentence seen through it."""
    from lorasae.sources.catalog import saes_above

    print("Adapting the pocket language model around its default SAE. No network is needed.", file=sys.stderr)
    run = RunStore(home()).create(run_config({"name": "demo"}))
    _adapt_and_show(run)
    _compare_and_show(run, options.text, 4, saes_above(run.config.saes[0])[:1])
    print(f"\nLook further: python -m lorasae inspect {run.folder} --text 'Any sentence.'")


def config_from(options: argparse.Namespace) -> RunConfig:
    """The preset, then the YAML file, then the flags, each laid over the one before."""
    values: dict[str, Any] = {}
    if options.config:
        values = _read_yaml(Path(options.config))
    if options.sae:
        values = overlay(values, {"saes": [sae_ref(names).model_dump() for names in options.sae]})
    for flag, setting, _ in _FLAGS:
        if getattr(options, flag, None) is not None:
            text = str(getattr(options, flag))
            values = overlay(values, nested(setting, _yaml_value(f"--{flag} {text}", text) if flag in _READ_AS_YAML else text))
    if getattr(options, "data", None) and (known := known_dataset(options.data)):
        values = overlay(values, {"data": known.settings})
    for assignment in options.set or ():
        setting, equals, value = assignment.partition("=")
        if not equals:
            raise LabError(f"--set {assignment} was given", "It has no =", "Write it as --set train.weight_decay=0.01")
        values = overlay(values, nested(setting, _yaml_value(f"--set {assignment}", value)))
    if start := overlay({"adapter": {"start": ""}}, values)["adapter"]["start"]:
        from huggingface_hub import HfApi

        values = with_start(str(start), values, LOCAL_OWNER, RunStore(home()), HfApi())
    return run_config(values, options.preset)


def sae_ref(names: Sequence[str]) -> SAERef:
    """`RELEASE SAE_ID`, or a local folder alone."""
    if len(names) > 2:
        asked = f"The SAE {' '.join(names)} was asked for"
        raise LabError(
            asked, "It has more than two parts", "Give a release and an id; write a settings file or run before --sae and --also"
        )
    return SAERef(release=names[0], sae_id=names[1] if len(names) > 1 else "")


def _yaml_value(asked: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        raise LabError(
            f"{asked} was given", f"{text!r} is not a value in YAML", "Write a number, a word, or a list such as [3, 4]"
        ) from None


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError:
        raise LabError(f"The settings in {path} were asked for", "There is no such file", "Check the path") from None
    except OSError as error:
        raise LabError(f"The settings in {path} were asked for", f"It cannot be read: {error.strerror}", "Give a YAML file") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" at line {mark.line + 1}" if mark else ""
        raise LabError(f"The settings in {path} were asked for", f"It is not YAML{where}", "Correct the file") from None
    if not isinstance(values, dict):
        raise LabError(f"The settings in {path} were asked for", "It holds no settings", "Write them as `section:` and `name: value`")
    return values


def _adapt_and_show(run: Run) -> dict[str, Any]:
    from lorasae.terminal import ProgressBar
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
    from lorasae.terminal import result_table

    heldout = result["heldout"]
    measured = f"Measured on {heldout['n_tokens']:,} scored tokens of {heldout['n_sequences']} held-out sequences; ± one standard error."
    took = [f"{doing} took {seconds:,.1f} s" for doing, seconds in result.get("seconds", {}).items()]
    lines = [result_table(result["results"]), "", measured, *([f"{', '.join(took).capitalize()}."] if took else []), f"run: {run.folder}"]
    print("\n" + "\n".join(lines), flush=True)


def _compare_and_show(run: Run, text: str, n_features: int, also: tuple[SAERef, ...], n_proceed: int = 0) -> None:
    from lorasae.inspection.comparison import compare, feature_rows, notes, observed_saes, samples
    from lorasae.inspection.opened_run import OpenedRun
    from lorasae.terminal import comparison_table

    opened = OpenedRun(run)
    observed = observed_saes(opened, also)
    comparison = compare(opened, text, observed)
    features = [row for hook_point in sorted(observed) for row in feature_rows(comparison, hook_point, n_features)]
    print(comparison_table(comparison, features, notes(opened, comparison, min(opened.loaded.saes))))
    if n_proceed:
        for name, sample in samples(opened, text, n_proceed).items():
            print(f"\n{name} model, SAE off, goes on: {sample}")


def parser() -> argparse.ArgumentParser:
    """Every command and its options."""
    top = argparse.ArgumentParser(prog="python -m lorasae", description="Adapt a language model to its sparse autoencoder.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    adapt = commands.add_parser("adapt", help="train an adapter around one or several SAEs")
    _add_settings(adapt)
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

    add_hub_commands(commands)

    sweep = commands.add_parser("sweep", help="one run per SAE, rank and varied setting, trained together where they can be, and a table")
    _add_settings(sweep)
    sweep.add_argument(
        "--rank", nargs="+", type=int, default=[], help="ranks, with alpha / rank as it is; the settings' own if none is given"
    )
    sweep.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="SETTING=VALUE,VALUE",
        help="more to try: train.learning_rate=1e-3,4e-3, or seed=0,1,2",
    )
    sweep.set_defaults(command=sweep_command)

    add_bench_command(commands)

    demo = commands.add_parser("demo", help="the default adaptation of the pocket model, start to finish")
    demo.add_argument("--text", default=DEFAULT_TEXT, help="the sentence shown at the end")
    demo.set_defaults(command=demo_command)
    return top


def _add_settings(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", nargs="?", help="YAML file with settings")
    parser.add_argument("--preset", default="default", help=f"settings to start from: {', '.join(PRESETS)}")
    parser.add_argument("--sae", nargs="+", action="append", metavar=("RELEASE", "SAE_ID"), help="an SAE; may be given several times")
    for flag, setting, help_text in _FLAGS:
        if flag != "rank":
            parser.add_argument(f"--{flag}", help=f"{help_text} ({setting})")
    parser.add_argument("--set", action="append", metavar="SETTING=VALUE", help="any other setting, e.g. train.weight_decay=0.01")
