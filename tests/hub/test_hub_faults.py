"""Each fault as the real client meets it: what it raises, what it tries again, and what the Hub holds afterwards."""

import socket
import time
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError

from tests.hub.client import REPO, adding
from tests.hub.faults import answer, corrupt, cut, drop, lose_answer, stall


@pytest.mark.parametrize("status", [401, 403, 404, 409, 412, 500, 502, 503])
def test_a_refusal_on_purpose_reaches_the_client_and_changes_nothing(hub, alice, status):
    before = alice.model_info(REPO).sha
    rule = hub.faults.inject(answer(status, "Not today"), method="POST", path="/commit/main")
    with pytest.raises(HfHubHTTPError, match="Not today") as refused:
        alice.create_commit(REPO, [adding("a.txt", b"1")], commit_message="One")
    assert refused.value.response.status_code == status and rule.hits == 1
    assert alice.model_info(REPO).sha == before
    alice.create_commit(REPO, [adding("a.txt", b"1")], commit_message="One")  # the fault was for one request


def test_the_client_waits_as_long_as_it_is_told(hub, alice):
    hub.faults.inject(answer(429, retry_after=1), path="/tree/")
    started = time.monotonic()
    assert alice.list_repo_files(REPO) == [".gitattributes"]
    assert 1.9 < time.monotonic() - started < 6  # the client adds a second of its own
    hub.faults.inject(answer(429, retry_after=1), method="POST", path="/commit/")
    with pytest.raises(HfHubHTTPError, match="reached your 'api' rate limit"):
        alice.create_commit(REPO, [adding("a.txt", b"1")], commit_message="One")


def test_a_chosen_error_code_is_the_error_the_client_makes_of_it(hub, alice):
    hub.faults.inject(answer(403, "Not yours", code="GatedRepo"), path=f"/api/models/{REPO}$")
    with pytest.raises(GatedRepoError):
        alice.model_info(REPO)


def test_a_download_that_was_cut_goes_on_behind_its_last_whole_chunk(hub, alice, tmp_path):
    content = bytes(range(256)) * (constants.DOWNLOAD_CHUNK_SIZE // 256 + 5000)
    hub.publish({"w.safetensors": content}, "acme/large")
    hub.faults.inject(cut(after=len(content) - 1000), method="GET", path="/objects/")
    got = alice.hf_hub_download("acme/large", "w.safetensors", cache_dir=tmp_path)
    assert Path(got).read_bytes() == content
    assert [one.range for one in hub.asked("GET", "/objects/")] == ["", f"bytes={constants.DOWNLOAD_CHUNK_SIZE}-"]


def test_a_commit_whose_answer_is_lost_has_landed(hub, alice):
    before = alice.model_info(REPO).sha
    hub.faults.inject(lose_answer(), method="POST", path="/commit/")
    with pytest.raises(httpx2.TransportError):
        alice.create_commit(REPO, [adding("a.txt", b"1")], commit_message="One", parent_commit=before)
    assert "a.txt" in alice.list_repo_files(REPO)
    assert len(alice.list_repo_commits(REPO)) == 2


def test_a_dropped_request_has_not_happened(hub, alice):
    hub.faults.inject(drop(), method="POST", path="/commit/")
    with pytest.raises(httpx2.TransportError):
        alice.create_commit(REPO, [adding("a.txt", b"1")], commit_message="One")
    assert len(alice.list_repo_commits(REPO)) == 1
    hub.faults.inject(drop(), method="PUT", path="/upload/")  # the storage's PUT is tried again by the client
    alice.create_commit(REPO, [adding("w.bin", b"1" * 50_000)], commit_message="Two")
    assert alice.file_exists(REPO, "w.bin")


def test_a_stalled_answer_comes_late_or_is_not_waited_for(hub, alice, tmp_path):
    hub.faults.inject(stall(0.5), path="/api/models")
    started = time.monotonic()
    alice.model_info(REPO)
    assert time.monotonic() - started > 0.5
    hub.faults.inject(stall(5), method="HEAD", path="/resolve/")
    alice.hf_hub_download(REPO, ".gitattributes", etag_timeout=0.2, cache_dir=tmp_path)
    assert len(hub.asked("HEAD", "/resolve/")) == 2  # the client gave up and asked again


def test_a_spoiled_download_has_the_right_size_and_the_client_does_not_see_it(hub, alice, tmp_path):
    hub.publish({"w.safetensors": b"1" * 5000}, "acme/large")
    hub.faults.inject(corrupt(), method="GET", path="/objects/")
    got = Path(alice.hf_hub_download("acme/large", "w.safetensors", cache_dir=tmp_path)).read_bytes()
    assert len(got) == 5000 and got != b"1" * 5000


def test_a_client_that_dies_in_the_middle_of_an_upload_leaves_nothing(hub, alice):
    with socket.create_connection(("127.0.0.1", int(hub.endpoint.rpartition(":")[2]))) as dying:
        dying.sendall(b"PUT /upload/%s/x HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" % (b"0" * 64) + b"1" * 10)
    while not hub.asked("PUT"):
        time.sleep(0.01)
    alice.whoami()
    assert not list((hub.storage.root / "incoming").iterdir())


def test_a_fault_strikes_the_requests_it_was_made_for(hub, alice):
    rule = hub.faults.inject(answer(503), path="/api/models/", nth=2, times=2, when=lambda asking: asking.authorized)
    hub.api().model_info(REPO)  # without a token: not counted
    alice.model_info(REPO)
    for _ in range(2):
        with pytest.raises(HfHubHTTPError):
            alice.model_info(REPO)
    alice.model_info(REPO)
    assert (rule.seen, rule.hits) == (4, 2)
    hub.faults.inject(answer(500), times=None)
    with pytest.raises(HfHubHTTPError):
        alice.whoami()
    hub.faults.clear()
    alice.whoami()
