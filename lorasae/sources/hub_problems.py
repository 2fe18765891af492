"""What can go wrong between us and the Hugging Face Hub, told in sentences. The libraries wrap it in each other's errors."""

import errno
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx2
import requests
from huggingface_hub import HfApi
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from lorasae.errors import LabError, nearest
from lorasae.redaction import redacted
from lorasae.sources.hub_access import is_known, token_in_use, way_back_in, way_in


@contextmanager
def hub_problems_told(asked: str, repository: str, known: Sequence[str], api: HfApi | None = None) -> Iterator[None]:
    """Inside the block, which fetches from `repository`, whatever the libraries raise about it becomes a LabError.

    Args:
        asked: What was asked for, as a sentence.
        repository: The Hub id or folder.
        known: Names to suggest for a mistyped one.
        api: The client that asks; None: it is asked with the token in use.
    """
    try:
        yield
    except (OSError, ValueError, httpx2.HTTPError) as error:  # transformers says OSError and ValueError for all it cannot use
        raise LabError(asked, *_found_and_remedy(error, repository, known, is_known(api.token if api else token_in_use()))) from error


def _found_and_remedy(error: BaseException, repository: str, known: Sequence[str], has_token: bool) -> tuple[str, str]:
    causes = list(_causes(error))

    def caused_by(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    if caused_by(GatedRepoError):
        return gate_told(repository, has_token)
    if caused_by(RepositoryNotFoundError, HFValidationError):
        return absence_told(repository, known, has_token)
    if caused_by(RevisionNotFoundError):
        return f"{repository} has no such revision", "Give a branch, tag or commit listed on its page"
    if caused_by(LocalEntryNotFoundError, OfflineModeIsEnabled, httpx2.TransportError, requests.ConnectionError):
        return (
            f"The Hub cannot be reached, and {repository} is not in the cache of this machine",
            "Connect to the network, give a local folder, or use what is built in: model pocket with SAE pocket-scope",
        )
    if caused_by(EntryNotFoundError):
        return f"{repository} lacks a file: {first_line(error)}", "Choose another revision or repository"
    if answered := [cause.response.status_code for cause in causes if isinstance(cause, HfHubHTTPError) and cause.response is not None]:
        return _refused(answered[0], has_token)
    if any(isinstance(cause, OSError) and cause.errno == errno.ENOSPC for cause in causes):
        return f"The disk is full: {first_line(error)}", "Make room, or set HF_HOME to a larger disk"
    return first_line(error), "Use a causal language model that transformers knows, stored as safetensors and without code of its own"


def gate_told(repository: str, has_token: bool, kind: str = "") -> tuple[str, str]:
    """Of what is gated: what was found, and what to do, which depends on who asks. `kind`: "datasets/" of a dataset."""
    mine = " with the account in use, then try again; a fine-grained token must be allowed to read gated repositories"
    page = f"https://huggingface.co/{kind}{repository}"
    accepting = mine if has_token else f", then {way_in()}"
    return f"{repository} is gated: its licence must be accepted first", f"Accept it at {page}{accepting}"


def absence_told(repository: str, known: Sequence[str], has_token: bool, kind: str = "repository") -> tuple[str, str]:
    """The same of what is not there, or is not for everybody to see."""
    whose = "its owner must let the account in use see it"
    private = f"if it is private, {whose if has_token else way_in()}"
    if not known:
        return f"{repository} is no {kind} on the Hub that you may see", f"Look for a slip in the name; {private}"
    found = f"{repository} is neither a folder here nor a {kind} on the Hub that you may see"
    return found, f"Nearest known: {nearest(repository, list(known))}; {private}"


def _refused(status: int, has_token: bool) -> tuple[str, str]:
    """What the Hub's answer means, and what to do."""
    if status == 401 and has_token:
        return "The Hub no longer takes the token in use", f"Get a new one: {way_back_in()}"
    if status == 401:
        return "The Hub does not know who is asking", f"To be known there, {way_in()}"
    if status == 402:
        return "The Hub asks for credits or a paid plan for this", "See https://huggingface.co/settings/billing, then try again"
    if status == 403:
        return "The Hub does not allow this with the token in use", "Use a token with write access there, or another name"
    if status in (409, 412):
        return "Somebody else changed the repository meanwhile", "Try again"
    if status == 429:
        return "The Hub has been asked too often", "Wait some minutes, then try again"
    return f"The Hub had a problem of its own (answer {status})", "Try again in a while; nothing was lost"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def first_line(error: BaseException) -> str:
    """The first line of what an error says, without what nobody else may read: tokens, and the signatures in addresses."""
    line = (str(error).strip() or type(error).__name__).splitlines()[0]
    return redacted(re.sub(r"(https?://[^\s?'\"]+)\?[^\s'\"]*", r"\1", line))
