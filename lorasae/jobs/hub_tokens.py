"""Tokens of visitors whose runs wait or fetch their files: in the memory of the app alone, from the click until the files are here.

An app that was restarted has forgotten them: such a run fetches what is open to all, and else says that it must be resumed by its owner.
"""

import threading

from lorasae.sources.hub_access import HubToken


class HubTokens:
    """By run. Safe to use from many threads; its words for people hold no token."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tokens: dict[str, str] = {}

    def keep(self, run_id: str, token: HubToken) -> None:
        """Remember with which token the files of a run are fetched; only a visitor's own is one to remember."""
        if isinstance(token, str):
            with self._lock:
                self._tokens[run_id] = token

    def of(self, run_id: str) -> str | None:
        """The token, if there is one."""
        with self._lock:
            return self._tokens.get(run_id)

    def forget(self, run_id: str) -> None:
        """Its files are here, or nobody waits for them any more."""
        with self._lock:
            self._tokens.pop(run_id, None)
