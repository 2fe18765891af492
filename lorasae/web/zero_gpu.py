"""What a Space with ZeroGPU asks of its app, met without using the GPU; nothing of this happens anywhere else.

Such a Space is ended at its start unless the app has reported a function that may use the GPU. The package `spaces`, which the platform
installs, reports when `Blocks.launch` is called, and the lab has a server of its own. It also takes torch into the process that imports
it, and Gradio imports it: so both happen here, with torch out of sight.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


def meet_zero_gpu() -> None:
    """Import `spaces` without torch, and report. To be called before anything imports Gradio.

    A failure is told in the log and ends nothing: the lab itself needs no GPU there.
    """
    try:
        with _without_torch():
            import spaces  # type: ignore[import-not-found]
            from spaces.zero import startup  # type: ignore[import-not-found]

        spaces.disable_gradio_auto_wrap()  # else a setting of the platform makes every click ask for a GPU
        spaces.GPU(duration=1)(_never_called)
        startup()
    except Exception as error:  # noqa: BLE001  # another's package, which changes under our feet
        print(f"ZeroGPU could not be told that the lab has started: {type(error).__name__}: {error}", file=sys.stderr, flush=True)


def _never_called() -> None:
    """The function that ZeroGPU wants to see. A GPU is lent when such a function is called, so that this one costs nobody's quota."""


@contextmanager
def _without_torch() -> Iterator[None]:
    """Inside, torch cannot be imported: `spaces` then does without it."""
    before = sys.modules.get("torch")
    sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        del sys.modules["torch"]
        if before is not None:
            sys.modules["torch"] = before
