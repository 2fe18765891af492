"""The process that does a run: started with a clean environment and a claim on the run, watched, ended. It may outlive the app."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from lorasae.identity import LOCAL_OWNER
from lorasae.planning.errand import hand_over
from lorasae.redaction import is_secret_name
from lorasae.store.claims import Claim
from lorasae.store.run_folder import Run

_PACKAGE_ROOT = Path(__file__).resolve().parents[2]
_KEPT = {"PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "USER", "LOGNAME", "VIRTUAL_ENV", "LD_LIBRARY_PATH", "XDG_CACHE_HOME"} | {
    "LORASAE_HOME", "LORASAE_TURNS", "LORASAE_ACCESS", "SYSTEM",
    "HF_HOME", "HF_ENDPOINT", "HF_DATASETS_CACHE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "TOKENIZERS_PARALLELISM",
    "HF_HUB_DISABLE_IMPLICIT_TOKEN", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
}  # fmt: skip
_KEPT_BEGINNINGS = ("LC_", "HF_HUB_", "HF_XET_", "CUDA_", "NVIDIA_", "OMP_", "MKL_", "PYTORCH_", "CUBLAS_", "NCCL_")
_KILL_WAIT_S = 10.0


class Worker(Protocol):
    """A run's process, as the scheduler sees it."""

    @property
    def pid(self) -> int | None: ...

    def ended(self) -> bool:
        """Whether the process is gone, and everything it held with it."""
        ...

    def why(self) -> str:
        """How it ended, in words, where that is known."""
        ...

    def ask_to_end(self) -> None:
        """Let it save and go."""
        ...

    def kill(self) -> None:
        """End it at once; returns when it is gone."""
        ...


class StartedWorker:
    """A process of this app's own."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def ended(self) -> bool:
        return self._process.poll() is not None

    def why(self) -> str:
        code = self._process.poll()
        if code is None or code >= 0:
            return "" if code is None else f"exit status {code}"
        if -code == signal.SIGKILL:
            return "signal 9: ended by the system, most often because memory ran out"
        return f"signal {-code}"

    def ask_to_end(self) -> None:
        _signal(self.pid, signal.SIGTERM, group=False)

    def kill(self) -> None:
        _signal(self.pid, signal.SIGKILL, group=True)
        self._process.wait(_KILL_WAIT_S)


class FoundWorker:
    """A process that was at work on the run already: of an app that is gone, or somebody's terminal. The claim says whether it lives."""

    def __init__(self, run: Run, pid: int | None = None) -> None:
        self._run, self._pid = run, pid

    @property
    def pid(self) -> int | None:
        return self._run.told.pid or self._pid

    def ended(self) -> bool:
        return not self._run.is_claimed

    def why(self) -> str:
        return ""

    def ask_to_end(self) -> None:
        if not self.ended() and self.pid:
            _signal(self.pid, signal.SIGTERM, group=False)

    def kill(self) -> None:
        deadline = time.monotonic() + _KILL_WAIT_S
        while not self.ended() and time.monotonic() < deadline:
            if self.pid:
                _signal(self.pid, signal.SIGKILL, group=True)
            time.sleep(0.02)


def start_worker(run: Run, claim: Claim, owner: str, device: str, token: str | None = None, most_bytes: int | None = None) -> StartedWorker:
    """A fresh process for the run. It is born with the claim, so that no instant exists in which nobody or two hold the run.

    It has a session of its own: a closed terminal or a killed app does not end it. It is told the token that its owner has for the Hub,
    and how many bytes one repository may bring for them.

    Raises:
        OSError: If the system has no room for another process.
    """
    environment = {**worker_environment(os.environ, device), **claim.handed_on()}
    bound = [] if most_bytes is None else [f"--most-bytes={most_bytes}"]
    with run.log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "lorasae.training.recipe", str(run.folder), "--token-on-stdin", *bound],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=(claim.descriptor,),
        )
    hand_over(process, None if owner == LOCAL_OWNER else token or False)
    return StartedWorker(process)


def worker_environment(environment: Mapping[str, str], device: str) -> dict[str, str]:
    """What a worker sees of the app's environment: what it needs, named one by one, and nothing that is secret.

    It does without the login that may be stored in this machine's home, too, which is not everybody's: the token it may use is handed over.
    """
    kept = {name: value for name, value in environment.items() if _is_kept(name.upper())}
    kept |= {"OMP_WAIT_POLICY": "passive", "PYTHONUNBUFFERED": "1", "PYTHONPATH": str(_PACKAGE_ROOT), "HF_HUB_DISABLE_TELEMETRY": "1"}
    kept["HF_HUB_DISABLE_IMPLICIT_TOKEN"] = "1"
    if device:
        kept["CUDA_VISIBLE_DEVICES"] = device
    if has_zero_gpu(environment):
        kept["CUDA_VISIBLE_DEVICES"] = ""
    return kept


def has_zero_gpu(environment: Mapping[str, str]) -> bool:
    """Whether this is a Space with ZeroGPU: a GPU is lent to a single function of the app, for a minute, and to no process beside it."""
    return environment.get("SYSTEM") == "spaces" and environment.get("SPACES_ZERO_GPU", "").lower() in ("1", "t", "true")


def devices(environment: Mapping[str, str] = os.environ, dev: Path = Path("/dev")) -> tuple[str, ...]:
    """What runs can work on at once, as CUDA_VISIBLE_DEVICES names it; ('',) where there is one GPU or none: whatever is there.

    Nothing at all on ZeroGPU, which is why `admission` takes on no run there.
    """
    if has_zero_gpu(environment):
        return ()
    if (named := environment.get("CUDA_VISIBLE_DEVICES")) is not None:
        found = [name.strip() for name in named.split(",") if name.strip()]
    else:
        found = sorted(path.name.removeprefix("nvidia") for path in dev.glob("nvidia[0-9]*"))
    return tuple(found) if len(found) > 1 else ("",)


def _is_kept(name: str) -> bool:
    return name in _KEPT or (name.startswith(_KEPT_BEGINNINGS) and not is_secret_name(name))


def _signal(pid: int, number: signal.Signals, *, group: bool) -> None:
    """Signal a process; its whole group where it leads one, which every worker of an app does."""
    with suppress(ProcessLookupError, PermissionError):
        if group and os.getpgid(pid) == pid:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)
