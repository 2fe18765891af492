"""Signing in with Hugging Face, against a Hub that insists on the whole flow: who one is then, what it opens, where the token goes."""

import base64
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from starlette.testclient import TestClient

from lorasae.config import ModelConfig, run_config
from lorasae.errors import LabError
from lorasae.identity import NOBODY, NotSignedIn, hub_owner
from lorasae.lab import open_lab
from lorasae.publishing.desk import PublishingDesk
from lorasae.settings import settings_from
from lorasae.sources.hub_access import asking_as
from lorasae.sources.language_model import load_tokenizer
from lorasae.sources.model_files import fetch_weights
from lorasae.web.logins import COOKIE, Login, login_cookie, login_of, owner_of
from tests.hub import miniatures
from tests.hub.accounts import user_id
from tests.hub.faults import answer
from tests.hub.oauth import space_environment
from tests.hub.server import LocalHub, local_hub
from tests.web.conftest import World
from tests.web.test_publishing import as_measured, ended, finished

CANARY = "hf_oauth_canary-that-must-be-nowhere"
LOOKS = ["/lab/runs", "/lab/runs/example", "/lab/catalog", "/lab/visitor"]


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[LocalHub]:
    with local_hub(tmp_path / "hub") as running:
        for user in ("alice", "bob"):
            running.accounts.token(user)
        yield running


@pytest.fixture
def world(home: Path, example: Path, hub: LocalHub) -> Iterator[World]:
    """A lab in which people sign in; alice runs it."""
    environment = {"LORASAE_HOME": str(home), "LORASAE_ACCESS": "sign-in", "SPACE_CREATOR_USER_ID": user_id("alice")}
    lab = open_lab(settings_from({**environment, **space_environment(hub)}))
    yield World(lab)
    lab.__exit__(None, None, None)


def agreed(client: TestClient, user: str, to: str = "/") -> str:
    """Go to the Hub, press a button there, and come back: the path of the callback with what the Hub put there."""
    begun = client.get("/auth/sign-in", params={"to": to}, follow_redirects=False)
    assert begun.status_code == 303, begun.text
    question = begun.headers["location"]
    assert httpx.get(question).status_code == 200
    form = {name: values[0] for name, values in parse_qs(urlsplit(question).query).items()}
    back = urlsplit(httpx.post(question, data={**form, "user": user}).headers["location"])
    return f"{back.path}?{back.query}"


def signed_in(world: World, user: str) -> TestClient:
    client = world.client("nobody")
    assert client.get(agreed(client, user), follow_redirects=False).status_code == 303
    return client


def me(client: TestClient) -> dict[str, Any]:
    return client.get("/lab/visitor").json()


def test_who_signed_in_owns_what_they_start_in_every_browser_of_theirs(world: World) -> None:
    first, second, other = signed_in(world, "bob"), signed_in(world, "bob"), signed_in(world, "alice")
    run_id = first.post("/lab/start-pocket", json={"submission": "a-click-of-bobs-1"}).json()["run_id"]
    assert world.lab.store.open_id(run_id).about.owner == hub_owner(user_id("bob"))
    assert [card["run_id"] for card in second.get("/lab/runs").json()["runs"]] == [run_id]
    assert other.get(f"/lab/runs/{run_id}").status_code == 404 and world.client("nobody").get(f"/lab/runs/{run_id}").status_code == 404
    assert me(first) == {
        "access": "sign-in", "can_sign_in": True, "name": "bob", "user_id": user_id("bob"), "may_start": True, "is_operator": False,
    }  # fmt: skip


@pytest.mark.parametrize("address", LOOKS)
def test_looking_needs_no_sign_in(world: World, address: str) -> None:
    assert world.client("nobody").get(address).status_code == 200


@pytest.mark.parametrize(
    ("address", "body"),
    [
        ("/lab/start-pocket", {"submission": "a-click-of-nobody"}),
        ("/lab/estimate/measure", {"config": {}}),
        ("/lab/preview", {"config": {}}),
        ("/lab/uploads?name=a.txt", {"any": "text"}),
        ("/lab/open", {"repo_id": "alice/adapter"}),
    ],
)
def test_what_costs_something_needs_somebody_who_is_signed_in(world: World, address: str, body: dict[str, Any]) -> None:
    answer = world.client("nobody").post(address, json=body)
    assert answer.status_code == 401 and "Sign in with Hugging Face" in answer.json()["problem"]
    assert not list(world.lab.store.all()) and not (world.settings.home / "uploads").exists()


def test_an_answer_counts_in_the_browser_that_asked_and_once(world: World) -> None:
    asking, other = world.client("nobody"), world.client("nobody")
    back = agreed(asking, "bob")
    stolen = other.get(back, follow_redirects=False)
    assert stolen.status_code == 400 and "did not begin to sign in here" in stolen.text and me(other)["name"] is None
    agreed(other, "alice")  # has begun an attempt of its own
    assert other.get(back, follow_redirects=False).status_code == 400 and me(other)["name"] is None
    assert asking.get(back, follow_redirects=False).status_code == 303 and me(asking)["name"] == "bob"
    again = asking.get(back, follow_redirects=False)
    assert again.status_code == 400 and CANARY not in again.text


def test_who_says_no_comes_back_and_is_nobody(world: World) -> None:
    client = world.client("nobody")
    answer = client.get(agreed(client, "", to="/runs"), follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/runs") and me(client)["name"] is None


@pytest.mark.parametrize("to", ["/adapt?model=gpt2&x=1", "/"])
def test_one_comes_back_to_the_page_one_left(world: World, to: str) -> None:
    client = world.client("nobody")
    assert client.get(agreed(client, "bob", to), follow_redirects=False).headers["location"] == to


@pytest.mark.parametrize(
    "to",
    [
        "https://evil.example/",
        "//evil.example",
        "///evil.example",
        "/" + 999 * "ü",
        "/\\evil.example",
        "javascript:alert(1)",
        "",
        "/a\nb",
        "evil",
    ],
)
def test_one_is_never_led_to_another_site(world: World, to: str) -> None:
    client = world.client("nobody")
    assert client.get(agreed(client, "bob", to), follow_redirects=False).headers["location"] == "/"


def test_signing_out_and_the_end_of_the_token_end_it(world: World) -> None:
    client = signed_in(world, "bob")
    assert client.post("/auth/sign-out").status_code == 200 and me(client)["name"] is None
    assert world.settings.hub_app is not None
    for left_s, owner in ((60, hub_owner("5a")), (-1, NOBODY)):
        cookie = login_cookie(Login("5a", "bob", "token", int(time.time()) + left_s), world.settings.hub_app)
        assert owner_of(world.settings, {COOKIE: cookie}) == owner


def test_only_this_lab_can_make_and_read_the_cookie(world: World, hub: LocalHub) -> None:
    hub.next_oauth_token = CANARY
    client = world.client("nobody")
    answer = client.get(agreed(client, "bob"), headers={"x-forwarded-proto": "https"}, follow_redirects=False)
    line = next(line for line in answer.headers.get_list("set-cookie") if line.startswith(COOKIE))
    assert all(word in line for word in ("HttpOnly", "SameSite=lax", "Secure", "Path=/", "Max-Age="))
    value = line.split("=", 1)[1].split(";")[0]
    held = login_of(world.settings, {COOKIE: value})
    assert held is not None and held.token == CANARY and CANARY not in repr(held)
    assert CANARY.encode() not in base64.urlsafe_b64decode(value + "==") and CANARY not in value
    changed = value[:-5] + ("A" if value[-5] != "A" else "B") + value[-4:]
    assert owner_of(world.settings, {COOKIE: changed}) == NOBODY
    other = settings_from({"LORASAE_ACCESS": "sign-in", "OAUTH_CLIENT_ID": "the-lab", "OAUTH_CLIENT_SECRET": "another"})
    assert other.hub_app is not None and owner_of(other, {COOKIE: value}) == NOBODY
    for hostile in ("../../etc", "", "a" * 65, "local"):
        forged = Login(hostile, "bob", "t", int(time.time()) + 100)
        assert world.settings.hub_app is not None
        owner = owner_of(world.settings, {COOKIE: login_cookie(forged, world.settings.hub_app)})
        assert owner == (hub_owner("local") if hostile == "local" else NOBODY)
    assert "the-lab-secret" not in repr(world.settings)


def test_the_hub_may_lead_back_but_no_other_site_may_begin_or_end_a_sign_in(world: World) -> None:
    foreign = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    client = world.client("nobody")
    assert client.get(agreed(client, "bob"), headers=foreign, follow_redirects=False).status_code == 303
    assert client.get("/auth/sign-in", headers=foreign, follow_redirects=False).status_code == 403
    assert (
        client.post("/auth/sign-out", headers={**foreign, "origin": "https://evil.example"}).status_code == 403
        and me(client)["name"] == "bob"
    )


def test_in_a_frame_one_is_led_into_a_tab_of_its_own(world: World) -> None:
    framed = {"sec-fetch-dest": "iframe", "sec-fetch-site": "same-origin", "sec-fetch-mode": "navigate"}
    answer = world.client("nobody").get("/auth/sign-in?to=/adapt%3Fa%3D1", headers=framed, follow_redirects=False)
    assert answer.status_code == 200 and 'target="_blank"' in answer.text and 'href="/auth/sign-in?to=%2Fadapt%3Fa%3D1"' in answer.text


def test_a_hub_that_does_not_answer_is_told_in_a_sentence(home: Path, example: Path) -> None:
    app = {"OAUTH_CLIENT_ID": "x", "OAUTH_CLIENT_SECRET": "y", "OPENID_PROVIDER_URL": "http://127.0.0.1:9"}
    lab = open_lab(settings_from({"LORASAE_HOME": str(home), "LORASAE_ACCESS": "sign-in", **app}))
    answer = World(lab).client("nobody").get("/auth/sign-in", follow_redirects=False)
    assert answer.status_code == 503 and "Hugging Face does not answer" in answer.text
    lab.__exit__(None, None, None)


def test_a_space_without_sign_in_lets_everybody_look_and_says_so(home: Path, example: Path) -> None:
    lab = open_lab(settings_from({"LORASAE_HOME": str(home), "SYSTEM": "spaces"}))
    client = World(lab).client("nobody")
    assert client.get("/lab/runs/example").status_code == 200 and not me(client)["can_sign_in"]
    assert "hf_oauth: true" in client.get("/auth/sign-in", follow_redirects=False).text
    assert client.post("/lab/start-pocket", json={"submission": "a-click-of-nobody"}).status_code == 401
    lab.__exit__(None, None, None)


def test_who_runs_the_lab_is_not_held_to_a_visitors_bounds(world: World) -> None:
    large = run_config({"train": {"tokens": 15_360_000}})
    assert me(signed_in(world, "alice"))["is_operator"]
    with pytest.raises(LabError, match="visitors' runs go up to"):
        world.lab.jobs.submit(hub_owner(user_id("bob")), large, "bobs-large-run")
    assert world.lab.jobs.submit(hub_owner(user_id("alice")), large, "alices-large-run").about.owner == hub_owner(user_id("alice"))


def test_an_operator_is_named_by_id(home: Path) -> None:
    with pytest.raises(LabError, match="ids, not names"):
        settings_from({"LORASAE_HOME": str(home), "LORASAE_OPERATORS": "../me"})


def test_runs_are_published_under_the_visitors_own_name_and_nowhere_else(
    world: World, hub: LocalHub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PublishingDesk, "_measured_again", as_measured)  # else a process that loads the model
    monkeypatch.setenv("HF_TOKEN", hub.accounts.token("operator"))  # of the machine: it is nobody's here
    bob = signed_in(world, "bob")
    run = finished(world, "A")
    run.write_about(owner=hub_owner(user_id("bob")))
    address = f"/lab/runs/{run.run_id}/publishing"
    assert bob.get(address).json()["namespace"] == "bob"
    for target, said in {"alice/adapter": "does not allow this", "operator/adapter": "does not allow this"}.items():
        bob.post(address, json={"repo_id": target, "private": True})
        assert said in ended(bob, address)["latest"]["problem"]
    bob.post(address, json={"repo_id": "bob/adapter", "private": True})
    assert (said := ended(bob, address)["latest"])["state"] == "done", said["problem"]
    assert "adapter_model.safetensors" in hub.repo("bob/adapter").at(hub.repo("bob/adapter").oid_of("main")).files
    bob.post(address, json={"repo_id": "bob/adapter", "private": True})
    assert ended(bob, address)["latest"]["state"] == "done"  # the same again: a private one that the app has made is its own to read


# Gated models


GATED = {
    "model": {"model": "google/gemma-2-2b"},
    "saes": [{"release": "gemma-scope-2b-pt-res", "sae_id": "layer_12/width_16k/average_l0_82"}],
    "adapter": {"rank": 2},
    "data": {"source": miniatures.DATASET, "context_length": 16, "heldout_tokens": 64},
    "train": {"tokens": 64, "tokens_per_step": 32, "micro_batch_size": 1},
    "watch": {"evaluations": 1},
    "trust_measured": True,
}


@pytest.fixture
def gated(world: World, hub: LocalHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """Gemma behind its gate, through which bob may go; workers find this Hub, and the operator's login on the machine."""
    miniatures.publish(hub, ["google/gemma-2-2b", "google/gemma-scope-2b-pt-res", miniatures.DATASET], accepted=("bob",))
    for name, value in hub.environment(tmp_path / "cache", hub.accounts.token("operator")).items():
        monkeypatch.setenv(name, value)
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    return world


def test_a_gated_model_is_for_those_whom_the_hub_lets_in(gated: World, hub: LocalHub) -> None:
    config, submit = run_config(GATED), gated.lab.jobs.submit
    alice, bob = hub_owner(user_id("alice")), hub_owner(user_id("bob"))
    with pytest.raises(LabError, match=r"your account may not read it yet.*Accept its licence at https://huggingface.co/google/gemma-2-2b"):
        submit(alice, config, "alices-click-1", hub_token=hub.accounts.token("alice", "oauth", scopes=("gated-repos",)))
    with pytest.raises(LabError, match=r"only people who are signed in"):
        submit("visitor-somebody", config, "a-visitors-click")
    with pytest.raises(LabError, match="your account may not read it yet"):  # agreed to less than the lab asks for
        submit(bob, config, "bobs-click-1", hub_token=hub.accounts.token("bob", "oauth", scopes=("contribute-repos",)))
    with pytest.raises(NotSignedIn, match="no longer takes your sign-in"):
        submit(bob, config, "bobs-click-2", hub_token="test-token-that-was-revoked")
    assert not list(gated.lab.store.all())
    hub.faults.inject(answer(503), path="/auth-check", times=99)
    with pytest.raises(LabError, match="cannot be asked whether you may use it"):  # it may be in the cache, from somebody else
        submit(bob, config, "bobs-click-3", hub_token=hub.accounts.token("bob", "oauth", scopes=("gated-repos",)))


def test_a_visitors_run_fetches_a_gated_model_with_the_visitors_token_which_is_nowhere_else(
    gated: World, hub: LocalHub, tmp_path: Path
) -> None:
    hub.next_oauth_token = CANARY
    bob = signed_in(gated, "bob")
    run = gated.lab.jobs.submit(hub_owner(user_id("bob")), run_config(GATED), "bobs-click-1", hub_token=CANARY)
    jobs, environments = gated.lab.jobs, set()
    jobs.start()
    deadline = time.monotonic() + 90
    while (view := jobs.view(run.run_id)).state in ("queued", "running") and time.monotonic() < deadline:
        if pid := run.told.pid:
            environments |= {_of_process(pid, "environ"), _of_process(pid, "cmdline")}
        time.sleep(0.05)
    assert view.state == "succeeded", view.message + run.log.read_text()
    assert jobs.scheduler.tokens.of(run.run_id) is None
    shown = [bob.get(f"/lab/runs/{run.run_id}{rest}").text for rest in ("", "/log")]
    assert any(one.authorized for one in hub.asked(path="gemma-2-2b/resolve"))  # the operator would not have been let through
    assert any(environments) and not any(CANARY in text for text in [*environments, *shown, *(one.url for one in hub.log)])
    held = [path for path in tmp_path.rglob("*") if path.is_file() and "hub/" not in str(path.relative_to(tmp_path))]
    assert len(held) > 20 and not [path for path in held if CANARY.encode() in path.read_bytes()]


def _of_process(pid: int, what: str) -> str:
    try:
        return Path(f"/proc/{pid}/{what}").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def test_this_process_itself_was_given_no_canary() -> None:
    assert CANARY not in "".join(os.environ.values())


def test_what_is_here_of_a_gated_model_needs_no_token_any_more(gated: World, hub: LocalHub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that crashes in training is tried again when its owner's token is forgotten: the model is here by then."""
    monkeypatch.delenv("HF_TOKEN")
    model = ModelConfig(model="google/gemma-2-2b")
    with asking_as(hub.accounts.token("bob", "oauth", scopes=("gated-repos",))):
        commit = fetch_weights("Gemma was asked for", model.model, None).commit
    pinned = model.model_copy(update={"revision": commit})
    with asking_as(False), pytest.raises(LabError, match="is gated"):  # what was never looked up is not taken for absent
        load_tokenizer(pinned)
    with asking_as(hub.accounts.token("bob", "oauth", scopes=("gated-repos",))):
        load_tokenizer(pinned)
    with asking_as(False):
        assert fetch_weights("Gemma was asked for", model.model, commit).commit == commit
        assert load_tokenizer(pinned).vocab_size > 0
