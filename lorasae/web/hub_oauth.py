"""OAuth's code flow with PKCE against the Hub: the address where a visitor agrees, and who came back from there.

The name comes from the Hub itself, asked with the token that it gave for the code.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import requests
from authlib.integrations.base_client import OAuthError
from authlib.integrations.requests_client import OAuth2Session

from lorasae.errors import LabError
from lorasae.identity import is_user_id
from lorasae.settings import HubApp
from lorasae.web.logins import Login

_WAIT_S = 15
_AN_HOUR_S = 3600  # how long a token is believed to hold of which the Hub says nothing


def address_to_agree(app: HubApp, callback: str, state: str, verifier: str) -> str:
    """Where a browser is sent.

    Args:
        app: What the Hub knows this lab as.
        callback: The address to come back to.
        state: A secret of this browser's attempt, which comes back with it.
        verifier: The secret of PKCE.

    Raises:
        LabError: If the Hub does not answer.
    """
    with _problems_told("Signing in with Hugging Face was asked for"):
        where = _endpoints(app)["authorization_endpoint"]
    address, _ = _session(app, callback).create_authorization_url(where, state=state, code_verifier=verifier)
    return address


def login_for(app: HubApp, callback: str, code: str, verifier: str) -> Login:
    """Who agreed, with their token.

    Raises:
        LabError: If the Hub does not answer, or not as it should; the problem holds neither code nor token.
    """
    with _problems_told("You were coming back from Hugging Face"):
        endpoints, session = _endpoints(app), _session(app, callback)
        token = session.fetch_token(endpoints["token_endpoint"], code=code, code_verifier=verifier, timeout=_WAIT_S)
        answer = session.request("GET", endpoints["userinfo_endpoint"], timeout=_WAIT_S)
        answer.raise_for_status()
        user = answer.json()
        user_id, name = str(user["sub"]), str(user["preferred_username"])
        if not is_user_id(user_id):
            raise ValueError("a user id of another form")
        expires_at = int(token.get("expires_at") or time.time() + _AN_HOUR_S)
        return Login(user_id, name[:100], str(token["access_token"]), expires_at)


def _session(app: HubApp, callback: str) -> OAuth2Session:
    return OAuth2Session(app.client_id, app.client_secret, scope=app.scopes, redirect_uri=callback, code_challenge_method="S256")


def _endpoints(app: HubApp) -> dict[str, str]:
    answer = requests.get(f"{app.provider}/.well-known/openid-configuration", timeout=_WAIT_S)
    answer.raise_for_status()
    return answer.json()


@contextmanager
def _problems_told(asked: str) -> Iterator[None]:
    try:
        yield
    except (requests.ConnectionError, requests.Timeout):
        raise LabError(asked, "Hugging Face does not answer", "Try again in a minute; looking around works meanwhile") from None
    except (requests.RequestException, OAuthError, ValueError, KeyError, TypeError, AttributeError) as error:
        found = f"Hugging Face did not say who you are ({type(error).__name__})"  # what the error says may hold the code or the token
        raise LabError(asked, found, "Sign in again; if it goes on, tell whoever runs this lab") from None
