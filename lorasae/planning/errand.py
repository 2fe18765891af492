"""Small questions that need tensors or a tokenizer, answered by a process of their own: the app itself imports neither.

Asked by `Errands.run`, answered by a module that calls `answer_errand` (probe.py, preview.py). Question and answer are JSON files.
A process that takes too long ends itself, and is ended.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from lorasae.errors import LabError
from lorasae.redaction import is_secret_name, redacted
from lorasae.sources.hub_access import HubToken, asking_as, token_from_stdin, token_itself


class Errands:
    """Runs errands one at a time: two at once would disturb each other's measurements, and the machine."""

    def __init__(self) -> None:
        self._one = threading.Lock()

    @property
    def busy(self) -> bool:
        return self._one.locked()

    def run(
        self, module: str, asked: Mapping[str, Any], what: str, limit_s: int, *, online: bool = False, token: HubToken = False
    ) -> dict[str, Any]:
        """The answer of `python -m module` to `asked`.

        Args:
            module: A module that calls `answer_errand`.
            asked: The question, as JSON.
            what: What was asked for, as the first sentence of a problem.
            limit_s: Seconds after which it is given up.
            online: Whether it may fetch from the Hub; else it finds only what is on this machine.
            token: As whom it does so: None, under the login of whoever runs the lab, never for a visitor; else a visitor's own, or none.

        Raises:
            LabError: If another errand is under way, this one takes too long or fails; or what the module itself says.
        """
        if not self._one.acquire(blocking=False):
            raise LabError(what, "Another short measurement or preview is under way", "Try again in a few seconds")
        try:
            with tempfile.TemporaryDirectory(prefix="lorasae-errand-") as folder:
                answer = _answered(Path(folder), module, asked, what, limit_s, _environment(online), token)
        finally:
            self._one.release()
        if "problem" in answer:
            raise LabError(*answer["problem"])
        return answer


def _answered(
    folder: Path, module: str, asked: Mapping[str, Any], what: str, limit_s: int, environment: dict[str, str], token: HubToken
) -> dict[str, Any]:
    question, answer, log = folder / "asked.json", folder / "answer.json", folder / "log"
    question.write_text(json.dumps(asked), encoding="utf-8")
    command = [sys.executable, "-m", module, str(question), str(answer), str(limit_s), str(time.time())]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=Path(__file__).parents[2], env=environment, stdin=subprocess.PIPE, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip
        try:
            hand_over(process, token)
            process.wait(limit_s + 2)
        except subprocess.TimeoutExpired:
            pass
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    if answer.is_file():
        return json.loads(answer.read_text(encoding="utf-8"))
    if process.returncode in (-signal.SIGALRM, -signal.SIGKILL):
        raise LabError(
            what, f"It took longer than {limit_s} s, or more memory than there is", "Choose smaller settings, or start without it"
        )
    last = (log.read_text(encoding="utf-8", errors="replace").strip().splitlines() or ["it ended without a word"])[-1]
    raise LabError(what, f"It failed: {redacted(last)[:300]}", "Start without it; the run itself says more in its log")


def hand_over(process: "subprocess.Popen[bytes]", token: HubToken) -> None:
    """Tell a process the token it asks the Hub with, over its standard input, and say no more."""
    assert process.stdin is not None
    with suppress(BrokenPipeError), process.stdin as told:
        told.write(f"{token_itself(token) or ''}\n".encode())


def _environment(online: bool) -> dict[str, str]:
    """Ours without its secrets, without the Hub unless it is meant, and without a login there: that is handed over where it is meant."""
    kept = {name: value for name, value in os.environ.items() if not is_secret_name(name)}
    kept["HF_HUB_DISABLE_IMPLICIT_TOKEN"] = "1"  # also not the one that `hf auth login` left on the disk
    if not online:
        kept |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    return kept | {"OMP_WAIT_POLICY": "passive"}


def _end_with(parent: int) -> None:
    """Nobody waits any more when whoever asked is gone, and what was handed over is not to outlive them."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def answer_errand(answer: Callable[[dict[str, Any], float], dict[str, Any]]) -> None:
    """What a module does when it is run: read the question and when it was asked, write the answer; a problem is an answer too."""
    asked, answered, limit_s, asked_at = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
    signal.alarm(limit_s)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    try:
        with asking_as(token_from_stdin()):
            found = answer(json.loads(asked.read_text(encoding="utf-8")), asked_at)
    except LabError as error:
        found = {"problem": [error.asked, error.found, error.remedy]}
    beside = answered.with_suffix(".part")
    beside.write_text(json.dumps(found), encoding="utf-8")
    beside.replace(answered)
