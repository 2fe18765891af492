"""Whether somebody may use what a run names on the Hub, asked of the Hub itself with their own token.

The cache of this machine is everybody's: what was fetched for one visitor would else be open to all.
"""

from collections.abc import Iterator

import httpx2
from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, OfflineModeIsEnabled, RepositoryNotFoundError

from lorasae.config import RunConfig
from lorasae.errors import LabError
from lorasae.identity import LOCAL_OWNER, NotSignedIn
from lorasae.sources.catalog import POCKET_MODEL, hub_id, resolve
from lorasae.sources.hub_access import HubToken, way_in
from lorasae.sources.published_models import PUBLISHED, is_gated
from lorasae.sources.registry import registry
from lorasae.sources.text_files import SUFFIXES


def refuse_closed(config: RunConfig, owner: str, token: HubToken) -> None:
    """Refuse a run of a model, SAE or dataset that whoever asks may not read. The machine's own user meets the Hub's answer when fetching.

    Args:
        config: The run's settings; a visitor's name no folders of this machine.
        owner: Who asks.
        token: As whom the Hub is asked; False: nobody is signed in.

    Raises:
        LabError: If the Hub says no, or cannot be asked about something that may be closed.
        NotSignedIn: If the token is no longer valid.
    """
    if owner == LOCAL_OWNER:
        return
    api = HfApi(token=token)
    for repository, kind in dict.fromkeys(_repositories(config)):
        asked = f"{repository} was asked for"
        try:
            api.auth_check(repository, repo_type=kind)
        except GatedRepoError:
            page = f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{repository}"
            found = f"It is gated, and {'your account may not read it yet' if token else 'only people who are signed in may read it'}"
            remedy = f"Accept its licence at {page}{' with your account, then try again' if token else f', then {way_in()}'}"
            raise LabError(asked, found, remedy) from None
        except RepositoryNotFoundError:
            remedy = f"Look for a slip in the name; if it is private, {'its owner must let you in' if token else way_in()}"
            raise LabError(asked, "It is not on the Hub, or it is private", remedy) from None
        except (HfHubHTTPError, OfflineModeIsEnabled, httpx2.HTTPError, OSError) as error:
            if isinstance(error, HfHubHTTPError) and error.response is not None and error.response.status_code == 401:
                raise NotSignedIn(asked, "The Hub no longer takes your sign-in", "Sign in again") from None
            if not _is_known_as_open(repository):
                remedy = "Try again in a while, or use what is built in: model pocket with SAE pocket-scope"
                raise LabError(asked, "The Hub cannot be asked whether you may use it", remedy) from None


def _repositories(config: RunConfig) -> Iterator[tuple[str, str]]:
    if config.model.model != POCKET_MODEL:
        yield hub_id(config.model.model), "model"
    for ref in config.saes:
        if repository := resolve(ref).repository:
            yield repository, "model"
    if "/" in (start := config.adapter.start):  # else a run of this lab
        yield start.partition("@")[0], "model"
    source = config.data.source
    if source != "pocket" and not source.endswith(SUFFIXES):
        yield source, "dataset"


def _is_known_as_open(repository: str) -> bool:
    is_sae = any(release["repo_id"] == repository for release in registry().values())
    return is_sae or (repository in PUBLISHED and not is_gated(repository))
