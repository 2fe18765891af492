"""The client as the tests of the Hub use it: in a process of its own, and a word for a file to be committed."""

import subprocess
import sys
from pathlib import Path

from huggingface_hub import CommitOperationAdd

ROOT = Path(__file__).parents[2]
REPO = "alice/adapter"  # the one that the fixture `alice` makes


def run_client(code: str, *args: object, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Python code in a process that has this environment, as the lab's workers have theirs; it must end well."""
    command = [sys.executable, "-c", code, *map(str, args)]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-4000:]
    return done


def adding(path: str, content: bytes) -> CommitOperationAdd:
    return CommitOperationAdd(path, content)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below the folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
