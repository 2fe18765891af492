"""The lines of published cards, run in a clean virtual environment: `make card-check`, or `python -m tests.hub.card_check [VENV]`.

Not a test of the suite: it installs packages from the network (about 1 GB) and takes minutes. Three runs are adapted and published on the
local Hub: of the pocket model, and of the miniatures of GPT-2 and Gemma 2. An environment that holds torch, peft, transformers and
sae-lens, and no part of the lab, then runs the lines of each card. What they print must be the CE loss of adapted + SAE that the card
says was measured again after publishing, to 1e-4 nats per token.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from lorasae.config import run_config
from lorasae.publishing.publish import TOLERANCE, published
from lorasae.store.runs import RunStore
from tests.hub import miniatures
from tests.hub.client import ROOT, run_client
from tests.hub.server import LocalHub, local_hub

TORCH = re.search(r"^TORCH := (\S+)", (ROOT / "Makefile").read_text(), re.MULTILINE)[1]  # type: ignore[index]
PACKAGES = ("peft", "transformers", "sae-lens")
TINY = {"context_length": 32, "heldout_tokens": 512}
SMALL = {"tokens": 8 * 128, "tokens_per_step": 128, "micro_batch_size": 4, "learning_rate": 1e-2}
RUNS = {  # by name: what differs from the default run. sae-lens takes Gemma Scope in its true size only, so Gemma 2 has another SAE
    "pocket": {"data": {"heldout_tokens": 2048}, "train": {"tokens": 8192}},
    "gpt2": {
        "model": {"model": "openai-community/gpt2"},
        "adapter": {"rank": 4, "alpha": 8},
        "saes": [{"release": "gpt2-small-res-jb", "sae_id": "blocks.8.hook_resid_pre"}],
        "data": {"source": miniatures.DATASET, **TINY},
        "train": SMALL,
    },
    "gemma-2": {
        "model": {"model": "google/gemma-2-2b"},
        "adapter": {"rank": 4, "alpha": 8},
        "saes": [{"release": "gemma-2-2b-res-matryoshka-dc", "sae_id": "blocks.12.hook_resid_post"}],
        "data": {"source": miniatures.DATASET, **TINY},
        "train": SMALL,
    },
}
ADAPT_AND_PUSH = """
import json, sys
from lorasae.cli.main import main
from lorasae.home import home
from lorasae.store.runs import RunStore
for name, path in json.loads(sys.argv[1]).items():
    assert main(["adapt", path]) == 0
    assert main(["push", next(run.run_id for run in RunStore(home()).all() if run.about.name == name), f"alice/{name}"]) == 0
"""


def clean_environment(folder: Path) -> Path:
    """Its interpreter: made anew in an empty or missing folder, with the CPU's torch; one that was made before is used as it is."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        install = [str(python), "-m", "pip", "install", "-q"]
        if subprocess.run([*install, f"torch=={TORCH}+cpu"], check=False).returncode:  # as in the Makefile
            subprocess.run([*install, "uv"], check=True)
            uv = [str(folder / "bin" / "uv"), "pip", "install", "-q", "--python", str(python), "--torch-backend", "cpu"]
            subprocess.run([*uv, f"torch=={TORCH}"], check=True)
        subprocess.run([*install, *PACKAGES], check=True)
    return python


def publish_all(hub: LocalHub, root: Path, token: str) -> dict[str, float]:
    """Every run adapted and published; what each card says of adapted + SAE on its first held-out sequences."""
    paths = {name: root / f"{name}.json" for name in RUNS}
    for name, path in paths.items():
        path.write_text(run_config({"name": name, **RUNS[name]}).model_dump_json())
    environment = hub.environment(root / "cache", token) | {"LORASAE_HOME": str(root / "home")}
    run_client(ADAPT_AND_PUSH, json.dumps({name: str(path) for name, path in paths.items()}), environment=environment)
    runs = {run.about.name: run for run in RunStore(root / "home").all()}
    return {name: (published(runs[name]) or {})["checked"]["metrics"]["ce_adapted_sae"]["measured"] for name in RUNS}


def printed(python: Path, lines: str, cwd: Path, environment: dict[str, str]) -> float:
    """What the lines print in the clean environment."""
    there = {name: value for name, value in environment.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(python), "-c", f"import torch; torch.set_printoptions(precision=8)\n{lines}"],
        cwd=cwd,
        env=there,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    found = re.search(r"tensor\(([\d.]+)", done.stdout)
    if done.returncode or not found:
        raise SystemExit(f"The card's lines failed:\n{done.stderr[-3000:]}")
    return float(found[1])


def main() -> int:
    """0 if every card's lines give its number."""
    with tempfile.TemporaryDirectory(prefix="lorasae-card-") as name:
        root = Path(name)
        python = clean_environment(Path(sys.argv[1]) if len(sys.argv) > 1 else root / "venv")
        held = subprocess.run([str(python), "-m", "pip", "list", "--format=json"], capture_output=True, text=True, check=True).stdout
        versions = {each["name"]: each["version"] for each in json.loads(held)}
        print(", ".join(f"{package} {versions[package]}" for package in ("torch", *PACKAGES)), "lorasae" in versions or "")
        with local_hub(root / "hub") as hub:
            miniatures.publish(hub, accepted=("alice",))
            token = hub.accounts.token("alice")
            stated, far = publish_all(hub, root, token), 0
            for run, number in stated.items():
                card = (hub.repo(f"alice/{run}").content("main", "README.md") or b"").decode()
                lines = card.split("```python\n")[1].split("```")[0]
                assert "lorasae" not in lines
                cwd = ROOT if run == "pocket" else root  # the pocket model comes with the lab
                got = printed(python, lines, cwd, hub.environment(root / "another cache", token))
                far += abs(got - number) > TOLERANCE
                print(f"{run:8} on the card {number:.6f}, by its lines {got:.6f} nats per token, apart by {abs(got - number):.1e}")
    return int(far > 0)


if __name__ == "__main__":
    sys.exit(main())
