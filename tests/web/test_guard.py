"""Whom the guard lets in, what it closes in every spelling, and what it puts on each answer."""

from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from lorasae.identity import COOKIE, NOBODY
from lorasae.settings import settings_from
from lorasae.web.addresses import Addresses
from lorasae.web.guard import Guard
from lorasae.web.logins import owner_of

PAGES = ("/", "/adapt", "/runs", "/run", "/inspect")
HERE = {"host": "127.0.0.1:7860"}
SPACE = {"SYSTEM": "spaces", "LORASAE_ACCESS": "visitors", "SPACE_HOST": "someone-lab.hf.space"}


def client(environment: dict[str, str] | None = None) -> TestClient:
    """An app that answers everything, behind the guard; it tells who it thinks is asking, and how much it was sent."""
    settings = settings_from({"LORASAE_HOME": "/nowhere", **(environment or {})})

    async def told(request: Request) -> PlainTextResponse:
        sent = len(await request.body())
        return PlainTextResponse(f"{owner_of(settings, request.cookies)} {sent}")

    app = Starlette(routes=[Route("/{rest:path}", told, methods=["GET", "POST", "PUT", "DELETE", "OPTIONS"])])
    return TestClient(Guard(app, settings, PAGES), headers=HERE)


@pytest.mark.parametrize("host", ["127.0.0.1:7860", "localhost", "LOCALHOST:7860", "[::1]:7860", "127.0.0.1"])
def test_this_machine_by_its_own_names_is_let_in(host: str) -> None:
    assert client().get("/", headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:7860",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "10.0.0.1",
        "",
        "127.0.0.1@evil.example",
        "[::1",
        "0x7f.1",
    ],
)
def test_a_foreign_name_that_was_bound_to_this_machine_is_refused(host: str) -> None:
    answer = client().get("/", headers={"host": host})
    assert answer.status_code == 403
    assert "LORASAE_ALLOWED_HOSTS" in answer.json()["problem"]


def test_the_operator_names_further_hosts() -> None:
    lab = client({"LORASAE_ALLOWED_HOSTS": "lab.example, Other.example"})
    assert lab.get("/", headers={"host": "lab.example"}).status_code == 200
    assert lab.get("/", headers={"host": "other.example:8443"}).status_code == 200
    assert lab.get("/", headers={"host": "third.example"}).status_code == 403


def test_a_space_answers_to_its_name_and_to_health_checks_by_number() -> None:
    lab = client(SPACE)
    assert lab.get("/", headers={"host": "someone-lab.hf.space"}).status_code == 200
    assert lab.get("/healthz", headers={"host": "10.20.30.40:7860"}).status_code == 200
    assert lab.get("/", headers={"host": "else-lab.hf.space"}).status_code == 403


ELSEWHERE = [
    {"origin": "https://evil.example"},
    {"origin": "null"},
    {"origin": "http://127.0.0.1:9999"},
    {"origin": "http://127.0.0.1.evil.example:7860"},
    {"origin": "http://["},
    {"sec-fetch-site": "cross-site"},
    {"sec-fetch-site": "same-site"},
    {"sec-fetch-site": "cross-site", "origin": "http://127.0.0.1:7860"},
    {"sec-fetch-site": "same-origin", "origin": "https://evil.example"},
]
CONTENT_TYPES = ["application/json", "text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded", ""]


@pytest.mark.parametrize("headers", ELSEWHERE, ids=str)
@pytest.mark.parametrize("content_type", CONTENT_TYPES)
@pytest.mark.parametrize("path", ["/lab/runs/x/stop", "/gradio_api/queue/join", "/gradio_api/upload", "/lab/uploads"])
def test_no_page_elsewhere_acts_for_a_visitor(path: str, content_type: str, headers: dict[str, str]) -> None:
    answer = client().post(path, content=b"--x--", headers={**headers, "content-type": content_type, "cookie": f"{COOKIE}={'s' * 43}"})
    assert answer.status_code == 403


@pytest.mark.parametrize("headers", ELSEWHERE, ids=str)
@pytest.mark.parametrize("path", ["/lab/runs/x/steer?prompt=a", "/lab/runs/x/live", "/lab/assets/dom.js", "/gradio_api/queue/data"])
def test_no_page_elsewhere_reads_or_starts_work_by_reading(path: str, headers: dict[str, str]) -> None:
    assert client().get(path, headers=headers).status_code == 403
    assert client().get(path, headers={**headers, "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}).status_code == 403


def test_a_link_elsewhere_opens_a_page() -> None:
    link = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate"}
    assert client().get("/run?run=x", headers=link).status_code == 200
    assert client().post("/run?run=x", headers={**link, "origin": "https://evil.example"}).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": "http://127.0.0.1:7860"},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "same-origin", "origin": "http://localhost:7860"},
    ],
    ids=str,
)
def test_the_lab_itself_acts(headers: dict[str, str]) -> None:
    assert client().post("/lab/runs/x/stop", headers=headers).status_code == 200


CLOSED = [
    "/gradio_api/file=/etc/passwd",
    "/gradio_api/file=http://evil.example/x",
    "/gradio_api/file/http://evil.example/x",
    "/gradio_api/file/etc/passwd",
    "/gradio_api/proxy=http://evil.example",
    "/proxy=http://evil.example",
    "/file=/etc/passwd",
    "/gradio_api/component_server",
    "/gradio_api/component_server/",
    "/gradio_api/deep_link",
    "/gradio_api/stream/x",
    "/gradio_api/stream/x/1/2/playlist.m3u8",
    "/gradio_api/custom_component/x/client/component/index.js",
    "/gradio_api/runs",
    "/gradio_api/run-history/records",
    "/gradio_api/process_recording",
    "/gradio_api/vibe-edit",
    "/gradio_api/vibe-code/",
    "/gradio_api/undo-vibe-edit",
    "/gradio_api/vibe-starter-queries",
    "/gradio_api/profiling/traces",
    "/gradio_api/dev/reload",
    "/gradio_api/mcp/",
    "/gradio_api/token",
    "/gradio_api/user",
    "/gradio_api/login_check",
    "/gradio_api/info",
    "/gradio_api/openapi.json",
    "/gradio_api/call/start",
    "/gradio_api/call/v2/start",
    "/gradio_api/api/start",
    "/gradio_api/run/start",
    "/gradio_api/queue/status",
    "/monitoring",
    "/monitoring/summary",
    "/login",
    "/login/",
    "/logout",
    "/pwa_icon",
]


def spellings(path: str) -> list[str]:
    """Ways in which a scanner writes an address."""
    encoded = "".join(f"%{ord(character):02x}" if character not in "/" else character for character in path)
    return [
        path,
        path.upper(),
        "/" + path,
        path.replace("=", "%3d"),
        path.replace("/", "%2f").replace("%2f", "/", 1),
        path.replace("/", "%252f").replace("%252f", "/", 1),
        encoded,
        encoded.replace("%", "%25"),
        path.replace("/gradio_api", "/gradio_api/."),
        "/lab/.." + path,
        "/lab/%2e%2e" + path,
        "/assets/..%2f" + path.lstrip("/"),
        "/assets/.." + path,
        path + ";x",
        path + "\t",
        path + "%00",
        path + "%0a",
    ]


@pytest.mark.parametrize("path", CLOSED)
def test_what_the_lab_does_not_need_is_closed_in_every_spelling(path: str) -> None:
    lab = client()
    assert lab.get(path).status_code == 403
    assert lab.post(path).status_code == 403
    guard = Guard(lab.app, settings_from({"LORASAE_HOME": "/nowhere"}), PAGES)
    for spelling in spellings(path):
        as_served = unquote(spelling)  # as the server puts it into the scope
        assert guard.refusal("GET", as_served, Headers(HERE)) is not None, spelling
        assert guard.refusal("POST", as_served, Headers(HERE)) is not None, spelling


OPEN = [
    *PAGES,
    "/adapt/",
    "/config",
    "/theme.css",
    "/assets/index-DAx5Uzyn.js",
    "/assets/svelte/svelte.js",
    "/static/img/logo.svg",
    "/gradio_api/queue/join",
    "/gradio_api/queue/data",
    "/gradio_api/run/predict",
    "/gradio_api/heartbeat/abc123",
    "/gradio_api/app_id",
    "/gradio_api/cancel",
    "/lab/runs/x/live",
    "/healthz",
    "/readyz",
]


@pytest.mark.parametrize("path", OPEN)
def test_what_the_pages_use_is_open(path: str) -> None:
    assert client().get(path).status_code == 200


@given(st.text(min_size=1, max_size=60))
def test_an_address_that_nobody_listed_is_closed(text: str) -> None:
    path = f"/{text}"
    if Addresses(PAGES).is_open(path):
        assert (
            path.startswith("/lab/")
            or path.removesuffix("/") in (*PAGES, "", "/config")
            or path in OPEN
            or path.startswith(("/assets/", "/static/"))
        )
        assert path.startswith("/lab/") or (".." not in path and path.isascii())


@pytest.mark.parametrize("path", ["/", "/lab/runs", "/nowhere", "/gradio_api/file=x", "/healthz"])
@pytest.mark.parametrize("environment", [{}, SPACE], ids=["local", "space"])
def test_every_answer_carries_its_headers(path: str, environment: dict[str, str]) -> None:
    headers = client(environment).get(path).headers
    policy = headers["content-security-policy"]
    assert (
        "default-src 'self'" in policy and "connect-src 'self'" in policy and "object-src 'none'" in policy and "base-uri 'self'" in policy
    )
    assert ("frame-ancestors 'self' https://huggingface.co" in policy) == bool(environment)
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"
    assert "cache-control" in headers


def test_files_named_by_their_content_are_kept_and_nothing_else_is() -> None:
    assert "immutable" in client().get("/assets/index-DAx5Uzyn.js").headers["cache-control"]
    assert client().get("/assets/plain.js").headers["cache-control"] == "no-cache"
    assert client().get("/").headers["cache-control"] == "no-cache"


def test_a_person_reads_a_refusal_as_a_page_with_a_way_back() -> None:
    answer = client().get("/<script>alert(1)</script>", headers={"accept": "text/html,*/*", "sec-fetch-mode": "navigate"})
    assert answer.status_code == 404 and answer.headers["content-type"].startswith("text/html")
    assert 'href="/"' in answer.text and "<script>" not in answer.text
    named = client().get("/", headers={"accept": "text/html", "host": "<script>alert(1)</script>"})
    assert named.status_code == 403 and "<script>" not in named.text


# What is sent


@pytest.mark.parametrize(
    ("path", "most"), [("/lab/uploads", 25_000_000), ("/gradio_api/upload", 25_000_000), ("/lab/runs/x/pins", 1_000_000)]
)
def test_more_than_an_address_needs_is_refused_whether_it_is_announced_or_not(path: str, most: int) -> None:
    def unannounced() -> Any:
        for _ in range(0, most + 1, 500_000):
            yield b"x" * 500_001

    assert client().post(path, content=b"x" * most).text.endswith(f" {most}")
    for content in (b"x" * (most + 1), unannounced()):
        answer = client().post(path, content=content)
        assert answer.status_code == 413 and "Send less" in answer.json()["problem"]
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("length", ["-1", "1e3", "٣", "0x10", "9" * 30])
def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    assert client().post("/lab/uploads", headers={"content-length": length.encode()}).status_code == 413  # type: ignore[dict-item]


# Visitors


def visitors() -> TestClient:
    return client({"LORASAE_ACCESS": "visitors"})


def test_a_new_visitor_gets_a_secret_with_a_page_and_is_known_from_that_very_request_on() -> None:
    lab = visitors()
    first = lab.get("/")
    line = first.headers["set-cookie"]
    assert "HttpOnly" in line and "SameSite=Lax" in line and "Path=/" in line
    assert len(lab.cookies[COOKIE]) == 43
    second = lab.get("/lab/runs")
    assert "set-cookie" not in second.headers
    assert first.text.split()[0] == second.text.split()[0] != NOBODY


def test_two_visitors_are_two() -> None:
    assert visitors().get("/").text != visitors().get("/").text


def test_without_a_page_there_is_no_new_visitor() -> None:
    answer = visitors().get("/lab/runs")
    assert "set-cookie" not in answer.headers and answer.text.startswith(NOBODY)


@pytest.mark.parametrize(
    "cookie", [f"{COOKIE}=short", f"x{COOKIE}={'a' * 43}", f"{COOKIE}=", f"{COOKIE}={'a' * 42}!", f"{COOKIE}={'a' * 400}"]
)
def test_a_cookie_that_the_lab_did_not_give_makes_nobody_an_owner(cookie: str) -> None:
    answer = visitors().get("/", headers={"cookie": cookie})
    assert "set-cookie" in answer.headers and answer.text != visitors().get("/", headers={"cookie": cookie}).text


def test_in_the_frame_of_a_space_the_cookie_is_kept_apart_and_encrypted() -> None:
    line = client(SPACE).get("/", headers={"host": "someone-lab.hf.space", "x-forwarded-proto": "https"}).headers["set-cookie"]
    assert "SameSite=None" in line and "Secure" in line and "Partitioned" in line


def test_a_local_lab_gives_no_cookie() -> None:
    answer = client().get("/")
    assert "set-cookie" not in answer.headers and answer.text.startswith("local")
