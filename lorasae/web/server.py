"""The server around the app: it tells in a sentence when it cannot listen, ends at once when told to, and writes no secret to its log."""

import errno
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from lorasae.errors import LabError
from lorasae.redaction import RedactingStream
from lorasae.settings import LabSettings

_MOST_CONNECTIONS = 2000
_GRACE_S = 1  # for answers under way when the server stops; streams are ended before
_LOG = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "plain": {"()": "lorasae.redaction.RedactingFormatter", "format": "%(asctime)s %(levelname)s %(name)s: %(message)s"},
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain", "stream": "ext://sys.stderr"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
}


def listening(settings: LabSettings) -> socket.socket:
    """The socket of the lab's address, taken before anything slow is done.

    Raises:
        LabError: If another program has it, or it is not this machine's.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it, each answer on a kept connection waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        listener.close()
        raise _not_listening(settings, error) from None
    return listener


class LabServer(uvicorn.Server):
    """Ends its streams first, and then leaves: uvicorn alone would wait for them, and end the process by the signal that stopped it."""

    def __init__(self, app: ASGIApp, end_streams: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=_LOG,
                log_level="warning",
                access_log=False,
                server_header=False,
                ws="none",
                proxy_headers=True,
                limit_concurrency=_MOST_CONNECTIONS,
                timeout_graceful_shutdown=_GRACE_S,
            )
        )
        self._end_streams = end_streams

    def run(self, sockets: list[socket.socket] | None = None) -> None:
        with redirect_stderr(RedactingStream(sys.stderr)):
            super().run(sockets)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._end_streams()
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        if threading.current_thread() is not threading.main_thread():  # where Python allows no handlers
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: Any) -> None:
        """The first signal ends the server in order, the second at once."""
        self.force_exit = self.should_exit
        self.should_exit = True


def _not_listening(settings: LabSettings, error: OSError) -> LabError:
    asked = f"The lab was to listen on {settings.host}:{settings.port}"
    if error.errno == errno.EADDRINUSE:
        other = settings.port + 1 if settings.port < 65535 else 7860
        return LabError(asked, "Another program uses that port", f"Stop it, or choose another port: LORASAE_PORT={other} python app.py")
    if error.errno == errno.EACCES:
        return LabError(asked, "This user may not use that port", "Choose one above 1023: LORASAE_PORT=7860 python app.py")
    return LabError(asked, f"That cannot be done: {error.strerror}", "Set LORASAE_HOST to an address of this machine")
