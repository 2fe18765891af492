"""Who there is on the test Hub: users, organisations, and tokens with what they allow.

Every decision about rights is made in `Account`; the routes only ask.
"""

import itertools
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["read", "write", "fineGrained", "oauth"]
_MAY_WRITE = ("admin", "write")


@dataclass(frozen=True)
class Token:
    """`grants`: for fineGrained, entity (user, organisation or repository id) -> permissions; `scopes`: for fineGrained the global
    permissions, for oauth the scopes the visitor agreed to."""

    value: str
    user: str
    role: Role
    grants: dict[str, frozenset[str]] = field(default_factory=dict)
    scopes: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Account:
    """The sender of one request: a token together with the organisations its user is in; `token` is None for a visitor without one."""

    token: Token | None
    organisations: dict[str, str]  # name -> role in it

    @property
    def name(self) -> str | None:
        return self.token.user if self.token else None

    def reads(self, repo_id: str) -> bool:
        """Whether a private repository is visible."""
        if self.token is None or not self._belongs(repo_id):
            return False
        if self.token.role == "fineGrained":
            return self._granted(repo_id, "repo.content.read", "repo.write")
        return self.token.role != "oauth" or bool(self.token.scopes & {"read-repos", "write-repos", "manage-repos"})

    def reads_gated(self, accepted: Collection[str], repo_id: str) -> bool:
        """Whether the files of a gated repository are given out."""
        if self.token is None or not (self._belongs(repo_id) or self.name in accepted):
            return False
        if self.token.role == "fineGrained":
            return "gated.read" in self.token.scopes
        return self.token.role != "oauth" or "gated-repos" in self.token.scopes

    def writes(self, repo_id: str) -> bool:
        """Whether commits to an existing repository are taken."""
        return self._may(repo_id, "repo.write", {"write-repos", "manage-repos"})

    def creates_in(self, namespace: str) -> bool:
        """Whether repositories may be made under a name."""
        return self._may(namespace + "/", "repo.write", {"manage-repos", "contribute-repos"})

    def removes_in(self, namespace: str) -> bool:
        """Whether repositories may be removed under a name."""
        return self._may(namespace + "/", "repo.write", {"manage-repos"})

    @property
    def is_app(self) -> bool:
        """Whether an app asks for somebody who is signed in to it and agreed that it adds repositories: it may use those it has made."""
        return self.token is not None and self.token.role == "oauth" and "contribute-repos" in self.token.scopes

    def opens_pull_requests(self) -> bool:
        """Anybody with a token that may write anything."""
        return self.token is not None and self.token.role != "read"

    def _may(self, repo_id: str, permission: str, scopes: set[str]) -> bool:
        if self.token is None or self.token.role == "read" or not self._belongs(repo_id, writing=True):
            return False
        if self.token.role == "fineGrained":
            return self._granted(repo_id, permission)
        return self.token.role == "write" or bool(self.token.scopes & scopes)

    def _belongs(self, repo_id: str, writing: bool = False) -> bool:
        namespace = repo_id.split("/")[0]
        role = self.organisations.get(namespace)
        return namespace == self.name or (role in _MAY_WRITE if writing else role is not None)

    def _granted(self, repo_id: str, *permissions: str) -> bool:
        assert self.token
        entities = (repo_id, repo_id.split("/")[0])
        return any(permission in self.token.grants.get(entity, ()) for entity in entities for permission in permissions)

    def as_whoami(self) -> dict[str, Any]:
        """The answer of `/api/whoami-v2`."""
        assert self.token
        who = {"type": "user", "id": user_id(self.token.user), "name": self.token.user, "fullname": self.token.user.title()}
        extra = {"email": None, "emailVerified": True, "canPay": False, "isPro": False, "periodEnd": None, "avatarUrl": "/avatars/x.svg"}
        organisations = [
            {"type": "org", "id": user_id(name), "name": name, "fullname": name.title(), "roleInOrg": role, "isEnterprise": False}
            for name, role in self.organisations.items()
        ]
        return {**who, **extra, "orgs": organisations, "auth": self._auth(self.token)}

    @staticmethod
    def _auth(token: Token) -> dict[str, Any]:
        if token.role == "oauth":
            return {"type": "oauth"}  # what the visitor agreed to is not told
        told: dict[str, Any] = {"displayName": "test token", "role": token.role, "createdAt": "2026-01-01T00:00:00.000Z"}
        if token.role == "fineGrained":
            told["fineGrained"] = {
                "canReadGatedRepos": "gated.read" in token.scopes,
                "global": sorted(token.scopes - {"gated.read"}),
                "scoped": [{"entity": {"name": name}, "permissions": sorted(rights)} for name, rights in token.grants.items()],
            }
        return {"type": "access_token", "accessToken": told}


NOBODY = Account(None, {})


class Accounts:
    """The register. Names are invented by the tests; tokens are made here unless a test brings a canary of its own."""

    def __init__(self) -> None:
        self._members: dict[str, dict[str, str]] = {}  # user -> organisation -> role
        self._tokens: dict[str, Token] = {}
        self._numbers = itertools.count(1)

    def token(
        self,
        user: str,
        role: Role = "write",
        *,
        organisations: dict[str, str] | None = None,
        grants: dict[str, Iterable[str]] | None = None,
        scopes: Iterable[str] = (),
        value: str | None = None,
    ) -> str:
        """A new token of `user`, who is made if need be and joins the `organisations` (name -> admin, write or read)."""
        self._members.setdefault(user, {}).update(organisations or {})
        value = value or f"test-token-{next(self._numbers)}-of-{user}"
        rights = {entity: frozenset(permissions) for entity, permissions in (grants or {}).items()}
        self._tokens[value] = Token(value, user, role, rights, frozenset(scopes))
        return value

    def revoke(self, value: str) -> None:
        """From the next request on, the token is unknown."""
        del self._tokens[value]

    def with_token(self, value: str) -> Account | None:
        """None if there is no such token."""
        token = self._tokens.get(value)
        return Account(token, self._members[token.user]) if token else None

    def users(self) -> list[str]:
        """Everybody, in order."""
        return sorted(self._members)

    def exists(self, user: str) -> bool:
        return user in self._members


def user_id(name: str) -> str:
    return name.encode().hex()[:24].ljust(24, "0")
