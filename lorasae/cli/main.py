"""`python -m lorasae COMMAND`: every command, and how one ends."""

import argparse
import sys
from collections.abc import Sequence

from lorasae.bench.command import add_bench_command
from lorasae.cli.hub import add_hub_commands
from lorasae.cli.runs import add_demo_command, add_run_commands
from lorasae.cli.sweep import add_sweep_command
from lorasae.errors import LabError


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


def parser() -> argparse.ArgumentParser:
    """Every command and its options."""
    top = argparse.ArgumentParser(prog="python -m lorasae", description="Adapt a language model to its sparse autoencoder.")
    commands = top.add_subparsers(required=True, metavar="COMMAND")

    add_run_commands(commands)
    add_sweep_command(commands)
    add_hub_commands(commands)
    add_bench_command(commands)
    add_demo_command(commands)
    return top
