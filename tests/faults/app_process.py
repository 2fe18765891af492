"""The lab without its pages, as a process that can be killed: `python -m tests.faults.app_process HOME [CONFIG.json …]`.

Each config is submitted under its file's name as token, so that a second start submits nothing twice. SIGTERM ends it in good order.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path

from lorasae.config import run_config
from lorasae.errors import LabError
from lorasae.keeping.place import keeping_place
from lorasae.lab import open_lab
from lorasae.settings import LabSettings


def main() -> int:
    """Serve the queue until told to stop."""
    home, *configs = sys.argv[1:]
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    try:
        lab = open_lab(LabSettings(Path(home), "local", "127.0.0.1", 7860, ("127.0.0.1",), keep=keeping_place(os.environ)))
    except LabError as error:
        print(error, flush=True)
        return 1
    with lab:
        for config in configs:
            run = lab.jobs.submit("local", run_config(json.loads(Path(config).read_text())), Path(config).name)
            print(run.run_id, flush=True)
        print("serving", flush=True)
        while not ended.wait(0.05):
            pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
