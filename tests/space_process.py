"""`python app.py` as the image of a Gradio Space starts it: in a folder, with a Space's environment and nothing else."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

SPACE = "alice/lab"
HOST = "alice-lab.hf.space"


@dataclass(frozen=True)
class SpaceProcess:
    """One that answers."""

    address: str
    pid: int
    log: Path


@contextmanager
def running(folder: Path, root: Path, **more: str) -> Iterator[SpaceProcess]:
    """`python app.py` in the folder, as the image of a Gradio Space starts it; its port is the one thing that is ours."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **{"PATH": os.environ["PATH"], "HOME": str(root / "home"), "PYTHONPATH": str(folder), "PYTHONUNBUFFERED": "1", "SYSTEM": "spaces"},
        **{"SPACE_ID": SPACE, "SPACE_HOST": HOST, "SPACE_AUTHOR_NAME": "alice", "SPACE_REPO_NAME": "lab", "SPACE_TITLE": "LoRA-SAE Lab"},
        **{"GRADIO_SERVER_NAME": "0.0.0.0", "GRADIO_NUM_PORTS": "1", "GRADIO_ALLOW_FLAGGING": "never", "GRADIO_THEME": "huggingface"},
        **{"OAUTH_CLIENT_ID": "an-id", "OAUTH_CLIENT_SECRET": "a-secret", "OAUTH_SCOPES": "openid profile contribute-repos gated-repos"},
        **{"OPENID_PROVIDER_URL": "https://huggingface.co", "HF_HUB_OFFLINE": "1", "LORASAE_PORT": str(port)},
        **more,
    }
    log = root / "space.log"
    with log.open("wb") as output:
        process = subprocess.Popen([sys.executable, "app.py"], cwd=folder, env=environment, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=2):
                break
            assert process.poll() is None, log.read_text()
            time.sleep(0.1)
        yield SpaceProcess(f"http://127.0.0.1:{port}", process.pid, log)
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0, log.read_text()  # a Space gives ten seconds
    finally:
        process.kill()


def asked(address: str, **headers: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=30) as found:
            return found.status, found.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, ""
