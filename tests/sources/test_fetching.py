"""Files arrive whole from the Hub, tell how far they are, go on where they stopped, and need no network a second time."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from huggingface_hub.errors import HfHubHTTPError
from huggingface_hub.utils import hf_raise_for_status

from lorasae.errors import LabError
from lorasae.sources.fetching import fetch, has_hash
from lorasae.sources.hub_problems import _found_and_remedy
from tests.small_hub import COMMIT, SmallHub, fill_cache, sha256

CONTENT = os.urandom(300_000)
NAMES = ("a/params.npz", "a/cfg.json")
FILES = {"org/saes": {"a/params.npz": CONTENT, "a/cfg.json": b'{"d_in": 3}', "b/params.npz": b"another's"}}


@pytest.fixture
def hub(hub_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallHub]:
    from huggingface_hub import constants

    small = SmallHub(FILES)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", small.address)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", small.address + "/{repo_id}/resolve/{revision}/{filename}")
    yield small
    small.close()


def asked_for(hub: SmallHub, method: str) -> list[str]:
    return [path.rpartition("/resolve/")[2].partition("/")[2] for kind, path, _ in hub.asked if kind == method]


def test_exactly_the_files_that_are_needed_arrive_with_their_commit(hub, hub_cache):
    fetched = fetch("An SAE was asked for", "org/saes", NAMES)
    assert fetched.commit == COMMIT
    assert {name: path.read_bytes() for name, path in fetched.files.items()} == {name: FILES["org/saes"][name] for name in NAMES}
    assert asked_for(hub, "GET") == list(NAMES)
    assert not list(hub_cache.rglob("*.partial"))


def test_bytes_are_told_as_they_arrive(hub):
    told = []
    fetch("An SAE was asked for", "org/saes", NAMES, progress=lambda *each: told.append(each))
    n_bytes = len(CONTENT) + len(FILES["org/saes"]["a/cfg.json"])
    assert told[0] == ("org/saes", 0, n_bytes) and told[-1] == ("org/saes", n_bytes, n_bytes)
    assert [here for _, here, _ in told] == sorted(here for _, here, _ in told)


def test_what_is_here_is_not_fetched_again_and_tells_nothing(hub):
    fetch("An SAE was asked for", "org/saes", NAMES)
    hub.asked.clear()
    told = []
    fetch("An SAE was asked for", "org/saes", NAMES, revision=COMMIT, progress=lambda *each: told.append(each))
    assert hub.asked == [] and told == []  # a commit says all: the Hub need not be asked


@pytest.mark.parametrize("revision", [None, "v1", COMMIT])
def test_what_was_fetched_by_the_name_of_a_branch_is_found_by_it_without_a_network(hub, monkeypatch, revision):
    from huggingface_hub import constants

    fetched = fetch("An SAE was asked for", "org/saes", NAMES, revision=revision)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch("An SAE was asked for", "org/saes", NAMES, revision=revision) == fetched
    other = "v1" if revision is None else None
    with pytest.raises(LabError, match="cannot be reached"):
        fetch("An SAE was asked for", "org/saes", NAMES, revision=other)


def test_optional_files_are_left_out_where_the_repository_lacks_them(hub):
    fetched = fetch("An SAE was asked for", "org/saes", ("b/params.npz",), optional=("b/cfg.json", "a/cfg.json"))
    assert set(fetched.files) == {"b/params.npz", "a/cfg.json"}


class Cut(Exception):
    """The process ends here."""


def test_a_download_that_was_cut_off_goes_on_where_it_stopped(hub, hub_cache, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 50_000)

    def cut(_repository, here, _n_bytes):
        if here >= 100_000:
            raise Cut

    with pytest.raises(Cut):
        fetch("An SAE was asked for", "org/saes", NAMES, progress=cut)
    (partial,) = hub_cache.rglob("*.partial")
    kept = partial.stat().st_size
    assert 0 < kept < len(CONTENT)
    told = []
    fetched = fetch("An SAE was asked for", "org/saes", NAMES, progress=lambda *each: told.append(each[1]))
    assert fetched.files["a/params.npz"].read_bytes() == CONTENT
    assert told[0] == kept and f"bytes={kept}-" in [asked for _, _, asked in hub.asked]


def test_a_connection_that_breaks_is_taken_up_again(hub):
    hub.stops_after = 120_000
    assert fetch("An SAE was asked for", "org/saes", NAMES).files["a/params.npz"].read_bytes() == CONTENT


def test_content_with_another_hash_than_stated_is_refused_and_not_kept(hub, hub_cache):
    hub.lying = ("a/params.npz",)
    with pytest.raises(LabError, match=r"What arrived of org/saes/a/params\.npz is not what the Hub states"):
        fetch("An SAE was asked for", "org/saes", NAMES)
    assert not [path for path in hub_cache.rglob("*") if path.is_file() and path.stat().st_size > 1000]
    hub.lying = ()
    assert fetch("An SAE was asked for", "org/saes", NAMES).files["a/params.npz"].read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("repository", "name", "said"),
    [
        ("org/nothing", "a", "org/nothing is no repository on the Hub that you may see"),
        ("org/saes", "nothing.npz", "org/saes lacks a file"),
        ("no such name!", "a", "no such name! is no repository on the Hub that you may see"),
    ],
)
def test_what_is_not_there_is_told_in_a_sentence(hub, repository, name, said):
    with pytest.raises(LabError, match=said):
        fetch("An SAE was asked for", repository, (name,))


def test_a_disk_that_is_too_small_is_told_before_anything_is_fetched(hub, monkeypatch):
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr("lorasae.sources.fetching.shutil.disk_usage", lambda _: usage(10, 10, 1000))
    with pytest.raises(LabError, match=r"needs 0\.0 GB, the disk of .* has 0\.0 GB left"):
        fetch("An SAE was asked for", "org/saes", NAMES)
    assert asked_for(hub, "GET") == []


def test_a_filled_cache_needs_no_network(hub_cache):
    fill_cache(hub_cache, "org/saes", FILES["org/saes"])
    fetched = fetch("An SAE was asked for", "org/saes", NAMES, optional=("a/not-there.json",))
    assert (fetched.commit, set(fetched.files)) == (COMMIT, set(NAMES))
    assert fetch("An SAE was asked for", "org/saes", NAMES, revision=COMMIT) == fetch("An SAE was asked for", "org/saes", NAMES)


def test_an_empty_cache_without_a_network_is_told_in_a_sentence(hub_cache):
    with pytest.raises(LabError, match="The Hub cannot be reached, and org/saes is not in the cache"):
        fetch("An SAE was asked for", "org/saes", NAMES)


def test_no_token_goes_to_the_host_that_only_keeps_the_content(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_" + "s" * 34)
    hub.elsewhere = True
    assert fetch("An SAE was asked for", "org/saes", NAMES).files["a/params.npz"].read_bytes() == CONTENT
    assert hub.authorized == {"127.0.0.1"} and any("signature" in path for _, path, _ in hub.asked)


def test_neither_a_token_nor_a_signed_address_stands_in_an_error(hub):
    told = str(
        LabError(
            "a", *_found_and_remedy(OSError(f"403 for url 'https://cdn.org/f?X-Sig=abc&b=1' token {'hf_' + 's' * 34}"), "o/r", (), False)
        )
    )
    assert "https://cdn.org/f" in told and "abc" not in told and "sss" not in told


def refused(status: int, code: str) -> HfHubHTTPError:
    """As the client says it."""
    request = httpx2.Request("GET", "https://huggingface.co/api/models/o/r")
    with pytest.raises(HfHubHTTPError) as told:
        hf_raise_for_status(httpx2.Response(status, headers={"X-Error-Code": code} if code else {}, request=request))
    return told.value


@pytest.mark.parametrize(("status", "code"), [(403, "GatedRepo"), (404, "RepoNotFound"), (401, "")])
@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "log in with hf auth login"),
        ({"SYSTEM": "spaces"}, "sign in with Hugging Face"),
        ({"SYSTEM": "spaces", "LORASAE_ACCESS": "visitors"}, "nobody signs in to this lab"),
    ],
)
def test_who_is_not_known_to_the_hub_is_told_how_to_be_in_this_lab(status, code, environment, said, monkeypatch):
    for name, value in {"SYSTEM": "", "LORASAE_ACCESS": "", **environment}.items():
        monkeypatch.setenv(name, value)
    assert said in _found_and_remedy(refused(status, code), "o/r", (), has_token=False)[1]


@pytest.mark.parametrize(("status", "code"), [(403, "GatedRepo"), (404, "RepoNotFound")])
def test_who_has_a_token_is_not_told_to_log_in(status, code):
    remedy = _found_and_remedy(refused(status, code), "o/r", (), has_token=True)[1]
    assert "the account in use" in remedy and "log in" not in remedy


def test_hashes_are_those_of_large_files_and_of_git(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"hello\n")
    assert has_hash(path, sha256(b"hello\n")) and not has_hash(path, sha256(b"hello"))
    assert has_hash(path, "ce013625030ba8dba906f756967f9e9ca394464a") and not has_hash(path, "0" * 40)
