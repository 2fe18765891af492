"""`python -m lorasae bench`: its options, and the benchmark read top to bottom. Nothing heavy is imported before it is asked for."""

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lorasae.errors import LabError

if TYPE_CHECKING:
    from lorasae.bench.subject import Asked, Subject

_QUICK_ROUNDS, _QUICK_STEPS, _QUICK_CONTEXT = 2, 2, 256


def bench_command(options: argparse.Namespace) -> None:
    """Measure every way in interleaved rounds, or race two recipes, and print what came of it."""
    import torch

    from lorasae.bench.machine_facts import machine_facts, said

    if options.threads:
        torch.set_num_threads(options.threads)
    for path in filter(None, (options.json, options.plot)):
        _refuse_without_folder(Path(path))
    asked = _asked(options)
    facts = machine_facts(asked.device)
    print(said(facts), file=sys.stderr)
    if options.race:
        _race(asked, options, facts)
    else:
        _rounds(asked, options, facts)


def _rounds(asked: "Asked", options: argparse.Namespace, facts: dict[str, Any]) -> None:
    import torch

    from lorasae.bench.machine_facts import said
    from lorasae.bench.peak import measured_peak
    from lorasae.bench.picture import refuse_other_kinds, write_ratios
    from lorasae.bench.report import as_json, as_table, rows
    from lorasae.bench.rounds import rounds
    from lorasae.bench.subject import subject
    from lorasae.bench.ways import chosen_ways, default_ways, fitting, flops_per_token

    if options.plot:
        refuse_other_kinds(Path(options.plot))
    named = chosen_ways(options.ways) if options.ways else None
    measured = subject(asked)
    on_gpu = measured.device.type == "cuda"
    ways, notes = fitting(named or default_ways(measured, options.quick), measured)
    described = _described(measured)
    _say(described)
    for note in notes:
        _say(note)
    peak = None if options.no_peak else measured_peak(measured.device, getattr(torch, measured.config.model.dtype))
    if peak:
        _say(f"matrix products here reach {peak.flops_per_s / 1e12:.3g} TFLOP/s in {peak.dtype}, {peak.side} x {peak.side}")
    quick = options.quick
    turns = rounds(
        measured, ways, options.rounds or (_QUICK_ROUNDS if quick else 5), options.steps or (_QUICK_STEPS if quick else None), _say
    )
    flops = {way.key: flops_per_token(way, measured) for way in ways}
    table = rows(ways, turns, flops, peak, on_gpu)
    print(f"\n{described}\n\n{as_table(table, on_gpu)}\n")
    for note in notes:
        print(note)
    if options.json:
        about = {"machine": facts, "measured": described, "settings": measured.config.model_dump(mode="json")}
        _write_json(options.json, as_json(about, peak, table, turns, notes))
    if options.plot:
        write_ratios(Path(options.plot), described, said(facts), table, on_gpu)


def _race(asked: "Asked", options: argparse.Namespace, facts: dict[str, Any]) -> None:
    from lorasae.bench.machine_facts import said
    from lorasae.bench.picture import refuse_other_kinds, write_race
    from lorasae.bench.race import race
    from lorasae.bench.race_report import race_json, race_table
    from lorasae.config import DataConfig

    if options.plot:
        refuse_other_kinds(Path(options.plot))
    context = asked.context or DataConfig().context_length
    runs = race(asked.model, context, range(options.seed, options.seed + options.seeds), options.budget_s, _say, options.heldout_tokens)
    of_seeds = f"{options.seeds} seed{'s'[: options.seeds > 1]}"
    described = f"{asked.model}, {context} tokens per sequence, {of_seeds}, at most {options.budget_s:g} CPU-s of training each"
    print(f"\n{described}\n\n{race_table(runs)}\n")
    if options.json:
        _write_json(options.json, race_json({"machine": facts, "measured": described}, runs))
    if options.plot:
        write_race(Path(options.plot), described, said(facts), runs)


def _refuse_without_folder(path: Path) -> None:
    if not path.absolute().parent.is_dir():
        found = f"There is no folder {path.absolute().parent}"
        raise LabError(f"The file {path} was to be written", found, "Make the folder, or name another file")


def _write_json(path: str, content: dict[str, Any]) -> None:
    Path(path).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _asked(options: argparse.Namespace) -> "Asked":
    from lorasae.bench.subject import Asked
    from lorasae.config import SAERef

    sae = SAERef(release=options.sae[0], sae_id=" ".join(options.sae[1:])) if options.sae else None
    names = ("model", "context", "dtype", "device", "layer", "width", "l0", "rank", "placement", "sequences", "dropout", "seed")
    wished = {name: getattr(options, name) for name in names}
    if options.quick and wished["context"] is None:
        wished["context"] = _QUICK_CONTEXT
    return Asked(sae=sae, **wished)


def _described(measured: "Subject") -> str:
    config = measured.config
    saes = ", ".join(
        f"{sae.d_sae:,} features at {hook_point}" + (f", random, L0 about {measured.l0:g}" if measured.l0 else "")
        for hook_point, sae in measured.saes.items()
    )
    adapter = f"rank {config.adapter.rank}, {config.adapter.placement}, dropout {config.adapter.dropout:g}"
    step = f"{config.sequences_per_step} x {config.data.context_length} tokens per step"
    return f"{measured.name}, {config.model.dtype}; SAE: {saes}; adapter: {adapter}; {step}"


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def add_bench_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The command's options."""
    bench = commands.add_parser("bench", help="how fast this machine adapts a model, held against the research code's loop")
    bench.add_argument("--model", default="pocket", help="pocket, a shape with random weights (gpt2, gemma-2-2b …), a Hub id or a folder")
    bench.add_argument("--sae", nargs="+", metavar=("RELEASE", "SAE_ID"), help="an SAE of a model that is loaded")
    bench.add_argument("--layer", type=int, help="a random SAE behind this layer instead")
    bench.add_argument("--width", type=int, help="its number of features")
    bench.add_argument("--l0", type=float, help="its active features per token")
    bench.add_argument(
        "--context", type=int, help="tokens per sequence (1024, as in the paper, or as many as the model embeds positions for)"
    )
    bench.add_argument("--sequences", type=int, default=1, help="sequences per optimizer step (the research code has one)")
    bench.add_argument("--rank", type=int, default=64, help="of the adapter; a sweep has it and four halvings")
    bench.add_argument("--placement", choices=("after", "all"), default="after", help="layers above the SAE, or all")
    bench.add_argument("--dropout", type=float, default=0.0, help="of the adapter, in every way (the research code: 0.1)")
    bench.add_argument("--dtype", choices=("float32", "bfloat16"), help="of the weights (CPU: float32, GPU: bfloat16)")
    bench.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    bench.add_argument("--threads", type=int, help="of PyTorch (as it chooses)")
    bench.add_argument("--seed", type=int, default=0)
    bench.add_argument("--ways", nargs="+", metavar="WAY", help="ways to measure (all that fit)")
    bench.add_argument("--rounds", type=int, help="interleaved rounds (5)")
    bench.add_argument("--steps", type=int, help="optimizer steps per turn (what takes the slowest way three seconds)")
    bench.add_argument("--quick", action="store_true", help="two rounds of two steps of 256 tokens: about a minute with the pocket model")
    bench.add_argument("--no-peak", action="store_true", help="do not measure matrix products")
    bench.add_argument("--json", metavar="FILE", help="everything measured")
    bench.add_argument("--plot", metavar="FILE", help="the ratios as .svg, .html or .png")
    bench.add_argument("--race", action="store_true", help="time to a share of the gap, against the research code's loop and recipe")
    bench.add_argument("--seeds", type=int, default=3, help="of the race")
    bench.add_argument("--budget-s", type=float, default=600.0, help="CPU-seconds of training that the race gives each recipe, per seed")
    bench.add_argument("--heldout-tokens", type=int, default=12_288, help="on which the race measures")
    bench.set_defaults(command=bench_command)
