"""The finished run that comes with the lab: the first repair, done for real and stored in `assets/demo/run`.

`python -m lorasae.demo.build.example`, two minutes on two cores, after the pocket world itself has been built. On one machine and with the
same versions its adapter comes out the same to the bit. Checkpoints, locks and whatever names the machine stay behind.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from lorasae.demo.build import checksums
from lorasae.demo.first_repair import PINS, first_repair
from lorasae.store.durable import write_json
from lorasae.store.run_folder import EXAMPLE_ID, EXAMPLE_OWNER, Run
from lorasae.store.runs import RunStore

NAME = "Example: the pocket model repaired"
DEFAULT_OUT = Path("assets/demo")
_AS_THEY_ARE = ("metrics.jsonl", "heldout.npy", "part.json", "pins.json", "replay.jsonl")
_NAMED_ANEW = ("config.json", "lorasae.json")  # they hold the run's id
_OF_THE_MACHINE = "platform"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do the run and store it; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m lorasae.demo.build.example", description="Make the example run anew.")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="folder of the assets (default: %(default)s)")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as home:
        run = RunStore(Path(home)).create(first_repair(NAME), EXAMPLE_OWNER, pins=PINS)
        subprocess.run([sys.executable, "-m", "lorasae.training.recipe", str(run.folder)], check=True)
        publish(run, asked.out / "run")
    size = checksums.write(asked.out)
    print(
        f"{asked.out / 'run'}: gap closed {Run(asked.out / 'run').result['results']['gap_closed']['value']:.1%}; assets {size / 1e6:.1f} MB"
    )
    return 0


def publish(run: Run, folder: Path) -> None:
    """Store what is worth looking at of a finished run, without its machine."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "adapter").mkdir(parents=True)
    for path in sorted(run.adapter.iterdir()):
        shutil.copyfile(path, folder / "adapter" / path.name)  # without its mode: PEFT lets nobody else read the weights
    for name in _AS_THEY_ARE:
        shutil.copyfile(run.folder / name, folder / name)
    for name in _NAMED_ANEW:
        content = json.loads((run.folder / name).read_text(encoding="utf-8")) | {"run_id": EXAMPLE_ID}
        content.get("versions", {}).pop(_OF_THE_MACHINE, None)
        write_json(folder / name, content)
    Run(folder).write_status(replace(run.status, pid=None, message=""))


if __name__ == "__main__":
    sys.exit(main())
