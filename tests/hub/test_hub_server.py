"""The test Hub against the real client: what it promises to every other test that talks to a Hub."""

import json
from pathlib import Path

import httpx2
import huggingface_hub
import pytest
from huggingface_hub import CommitOperationDelete, constants
from huggingface_hub.errors import (
    BadRequestError,
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from transformers import AutoModelForCausalLM

from tests.hub import miniatures
from tests.hub.client import REPO, adding, contents, run_client
from tests.hub.server import LocalHub, local_hub

# There and back


def test_a_folder_comes_back_bit_by_bit(hub, alice, folder, tmp_path):
    done = alice.upload_folder(folder_path=folder, repo_id=REPO)
    assert set(alice.list_repo_files(REPO)) == {".gitattributes", *contents(folder)}
    assert alice.model_info(REPO).sha == done.oid
    got = Path(alice.snapshot_download(REPO, cache_dir=tmp_path / "cache"))
    assert got.name == done.oid
    assert {name: content for name, content in contents(got).items() if name != ".gitattributes"} == contents(folder)
    stored = {entry.path: entry for entry in alice.list_repo_tree(REPO, recursive=True)}
    assert stored["adapter_model.safetensors"].lfs.size == 102_400
    assert stored["README.md"].lfs is None


def test_a_large_file_can_go_up_in_parts(hub, alice, folder, tmp_path):
    hub.part_bytes = 30_000
    alice.upload_folder(folder_path=folder, repo_id=REPO)
    assert len(hub.asked("PUT", "part=")) == 4
    got = alice.hf_hub_download(REPO, "adapter_model.safetensors", cache_dir=tmp_path / "cache")
    assert Path(got).read_bytes() == (folder / "adapter_model.safetensors").read_bytes()


def test_xet_files_reach_clients_with_and_without_xet(hub, alice, folder, tmp_path):
    code = """
import sys
from pathlib import Path
from huggingface_hub import HfApi
api, folder = HfApi(), Path(sys.argv[1])
api.upload_folder(folder_path=folder, repo_id="alice/adapter")
got = Path(api.snapshot_download("alice/adapter"))
for path in folder.rglob("*.*"):
    assert (got / path.relative_to(folder)).read_bytes() == path.read_bytes(), path
assert [one.xet_hash for one in api.get_paths_info("alice/adapter", ["adapter_model.safetensors"])] != [None]
"""
    run_client(code, folder, environment=hub.environment(tmp_path / "home", alice.token, xet=True))
    assert hub.asked("GET", "/xet-write-token/") and hub.asked("GET", "/xet-read-token/")
    assert not hub.asked("PUT") and not hub.asked("GET", "/objects/")
    got = alice.hf_hub_download(REPO, "adapter_model.safetensors", cache_dir=tmp_path / "cache")
    assert Path(got).read_bytes() == (folder / "adapter_model.safetensors").read_bytes()


def test_what_has_not_changed_makes_no_commit_and_is_not_sent_again(hub, alice, folder):
    first = alice.upload_folder(folder_path=folder, repo_id=REPO)
    n_puts = len(hub.asked("PUT"))
    assert alice.upload_folder(folder_path=folder, repo_id=REPO).oid == first.oid
    assert len(hub.asked("PUT")) == n_puts
    assert [one.title for one in alice.list_repo_commits(REPO)] == ["Upload folder using huggingface_hub", "initial commit"]


def test_files_and_folders_can_be_taken_away_and_stay_in_the_history(alice, folder):
    before = alice.upload_folder(folder_path=folder, repo_id=REPO)
    operations = [CommitOperationDelete("notes/"), CommitOperationDelete("empty.txt")]
    alice.create_commit(REPO, operations, commit_message="Less")
    assert set(alice.list_repo_files(REPO)) == {".gitattributes", "README.md", "adapter_model.safetensors"}
    assert alice.file_exists(REPO, "notes/read me.txt", revision=before.oid)
    assert not alice.file_exists(REPO, "notes/read me.txt")


def test_branches_and_tags_name_commits(alice):
    first = alice.create_commit(REPO, [adding("a.txt", b"1")], commit_message="One")
    alice.create_tag(REPO, tag="v1")
    alice.create_branch(REPO, branch="try")
    alice.create_commit(REPO, [adding("a.txt", b"2")], commit_message="Two", revision="try")
    refs = alice.list_repo_refs(REPO)
    assert {ref.name for ref in refs.branches} == {"main", "try"}
    assert [ref.target_commit for ref in refs.tags] == [first.oid]
    assert alice.model_info(REPO, revision="v1").sha == alice.model_info(REPO).sha == first.oid
    assert len(alice.list_repo_commits(REPO, revision="try")) == 3
    with pytest.raises(HfHubHTTPError, match="409"):
        alice.create_branch(REPO, branch="try")
    alice.delete_branch(REPO, branch="try")
    alice.delete_tag(REPO, tag="v1")
    with pytest.raises(RevisionNotFoundError):
        alice.model_info(REPO, revision="try")


def test_a_part_of_a_file_can_be_asked_for(hub, alice):
    alice.create_commit(REPO, [adding("a.npz", b"0123456789")], commit_message="One")
    url = f"{hub.endpoint}/{REPO}/resolve/main/a.npz"
    got = httpx2.get(url, headers={"Range": "bytes=3-5"}, follow_redirects=True)
    assert (got.status_code, got.content, got.headers["Content-Range"]) == (206, b"345", "bytes 3-5/10")


def test_everything_outlives_the_server(hub, alice, folder, tmp_path):
    oid = alice.upload_folder(folder_path=folder, repo_id=REPO).oid
    again = LocalHub(hub.storage.root)
    again.start()
    try:
        assert again.api().model_info(REPO).sha == oid
    finally:
        again.stop()


# Who may what


def test_an_account_is_known_by_its_token(hub):
    token = hub.accounts.token("alice", "read", organisations={"acme": "write"})
    told = hub.api(token).whoami()
    assert told["name"] == "alice" and [(one["name"], one["roleInOrg"]) for one in told["orgs"]] == [("acme", "write")]
    assert told["auth"]["accessToken"]["role"] == "read"
    hub.accounts.revoke(token)
    with pytest.raises(HfHubHTTPError, match="Invalid user token") as refused:
        hub.api(token).whoami()
    assert refused.value.response.status_code == 401


def test_a_repository_is_made_once(alice):
    with pytest.raises(HfHubHTTPError, match="already created"):
        alice.create_repo(REPO)
    assert alice.create_repo(REPO, exist_ok=True).repo_id == REPO
    alice.create_repo(REPO, repo_type="dataset")
    assert alice.create_repo("alice/demo", repo_type="space", space_sdk="gradio").repo_type == "space"
    alice.delete_repo(REPO)
    assert not alice.repo_exists(REPO) and alice.repo_exists(REPO, repo_type="dataset")


@pytest.mark.parametrize(
    ("role", "rights", "may_create", "may_commit"),
    [
        ("write", {}, True, True),
        ("read", {}, False, False),
        ("fineGrained", {"grants": {"bob": ["repo.write"]}}, True, True),
        ("fineGrained", {"grants": {"bob/held": ["repo.write"]}}, False, True),
        ("fineGrained", {"grants": {"bob": ["repo.content.read"]}}, False, False),
        ("oauth", {"scopes": ["openid", "manage-repos"]}, True, True),
        ("oauth", {"scopes": ["openid", "write-repos"]}, False, True),
        ("oauth", {"scopes": ["openid", "read-repos"]}, False, False),
    ],
)
def test_a_token_does_what_its_role_says(hub, role, rights, may_create, may_commit):
    hub.publish({"a.txt": b"1"}, "bob/held")
    api = hub.api(hub.accounts.token("bob", role, **rights))

    def refused(call) -> bool:
        try:
            call()
        except HfHubHTTPError as error:
            assert error.response.status_code == 403
            return True
        return False

    assert refused(lambda: api.create_repo("bob/new")) == (not may_create)
    assert refused(lambda: api.create_commit("bob/held", [adding("b.txt", b"2")], commit_message="Two")) == (not may_commit)


def test_members_write_to_their_organisation_and_nobody_else_does(hub):
    member = hub.api(hub.accounts.token("bob", organisations={"acme": "write"}))
    reader = hub.api(hub.accounts.token("carol", organisations={"acme": "read"}))
    member.create_repo("acme/shared", private=True)
    assert reader.model_info("acme/shared").private
    with pytest.raises(HfHubHTTPError, match="pass `create_pr=1`"):
        reader.create_commit("acme/shared", [adding("a.txt", b"1")], commit_message="One")
    with pytest.raises(HfHubHTTPError, match="under the namespace"):
        reader.create_repo("acme/another")
    with pytest.raises(HfHubHTTPError, match="401"):
        hub.api().create_repo("acme/another")


def test_a_private_repository_does_not_exist_for_others(hub, alice, tmp_path):
    alice.create_repo("alice/secret", private=True)
    stranger, nobody = hub.api(hub.accounts.token("mallory")), hub.api()
    for api, status in ((stranger, 404), (nobody, 401)):
        with pytest.raises(RepositoryNotFoundError) as refused:
            api.model_info("alice/secret")
        assert refused.value.response.status_code == status
        with pytest.raises(RepositoryNotFoundError):
            api.snapshot_download("alice/secret", cache_dir=tmp_path / "cache")
        assert "alice/secret" not in [one.id for one in api.list_models(author="alice")]
    assert "alice/secret" in [one.id for one in alice.list_models(author="alice")]


def test_a_gate_lets_through_whom_its_keeper_accepts(hub, tmp_path):
    hub.publish({"config.json": b"{}"}, "google/gemma-2-2b", gated="manual", accepted=("alice",))
    accepted = hub.api(hub.accounts.token("alice", "read"))
    stranger, nobody = hub.api(hub.accounts.token("mallory")), hub.api()
    timid = hub.api(hub.accounts.token("alice", "fineGrained", grants={"alice": ["repo.write"]}))
    for api, status, words in (
        (stranger, 403, "not in the authorized list"),
        (nobody, 401, "Please log in"),
        (timid, 403, "fine-grained token settings"),
    ):
        assert api.model_info("google/gemma-2-2b").gated == "manual"  # that it exists is no secret
        with pytest.raises(GatedRepoError, match=words) as refused:
            api.hf_hub_download("google/gemma-2-2b", "config.json", cache_dir=tmp_path / "cache")
        assert refused.value.response.status_code == status
        with pytest.raises(GatedRepoError):
            api.auth_check("google/gemma-2-2b")
    accepted.hf_hub_download("google/gemma-2-2b", "config.json", cache_dir=tmp_path / "cache")
    keeper = hub.api(hub.accounts.token("keeper", organisations={"google": "admin"}))
    keeper.grant_access("google/gemma-2-2b", "mallory")
    stranger.hf_hub_download("google/gemma-2-2b", "config.json", cache_dir=tmp_path / "other")


def test_what_is_not_there_is_told_by_kind(hub, alice, tmp_path):
    with pytest.raises(RepositoryNotFoundError):
        alice.model_info("alice/none")
    with pytest.raises(RevisionNotFoundError):
        alice.model_info(REPO, revision="none")
    with pytest.raises(EntryNotFoundError):
        alice.hf_hub_download(REPO, "none.txt", cache_dir=tmp_path)
    with pytest.raises(EntryNotFoundError):
        list(alice.list_repo_tree(REPO, "none"))


def test_no_token_goes_to_the_storage_or_into_an_address(hub, folder, tmp_path):
    canary = hub.accounts.token("alice", value="canary-in-the-mine")
    api = hub.api(canary)
    api.create_repo(REPO, private=True)
    api.upload_folder(folder_path=folder, repo_id=REPO)
    api.snapshot_download(REPO, cache_dir=tmp_path / "cache")
    storage = [one for one in hub.log if one.host.startswith("localhost")]
    assert {one.method for one in storage} == {"PUT", "GET"} and not any(one.authorized for one in storage)
    assert not any(canary in one.url for one in hub.log)
    assert not [path for path in hub.storage.root.rglob("*") if path.is_file() and canary.encode() in path.read_bytes()]


# Finding


def test_models_are_found_by_what_their_cards_say(hub):
    card = "---\ntags: [{}]\nlicense: mit\nbase_model: {}\nlibrary_name: peft\n---\n"
    hub.publish({"README.md": card.format("lorasae", "google/gemma-2-2b").encode(), "adapter_config.json": b"{}"}, "alice/one")
    hub.publish({"README.md": card.format("lorasae", "openai-community/gpt2").encode()}, "bob/two")
    hub.publish({"README.md": b"no front matter"}, "bob/three")
    hub.page_size = 1  # so that every list has several pages

    def found(**asked) -> list[str]:
        return [one.id for one in hub.api().list_models(**asked)]

    assert found() == ["alice/one", "bob/three", "bob/two"]
    assert found(filter="lorasae") == ["alice/one", "bob/two"]
    assert found(filter=["lorasae", "base_model:google/gemma-2-2b"]) == ["alice/one"]
    assert found(filter="base_model:adapter:google/gemma-2-2b") == ["alice/one"]
    assert found(author="bob", search="TWO") == ["bob/two"]
    assert found(filter="lorasae", limit=1) == ["alice/one"]
    info = hub.api().model_info("alice/one", files_metadata=True)
    assert info.card_data.base_model == "google/gemma-2-2b" and info.library_name == "peft" and "license:mit" in info.tags
    assert {one.rfilename: one.size for one in info.siblings}["adapter_config.json"] == 2
    [listed] = hub.api().list_models(filter="lorasae", author="alice", full=True, cardData=True)
    assert listed.card_data.license == "mit" and listed.siblings


def test_a_card_with_broken_metadata_is_refused_before_anything_is_sent(hub, alice):
    with pytest.raises(ValueError, match="Invalid metadata"):
        alice.create_commit(REPO, [adding("README.md", b"---\ntags: [a\n---\n")], commit_message="One")
    assert not hub.asked("POST", "/commit/")


# Together


def test_a_pull_request_waits_beside_the_main_branch_until_it_is_merged(hub, alice):
    bob = hub.api(hub.accounts.token("bob"))
    made = bob.create_commit(REPO, [adding("a.txt", b"1")], commit_message="A proposal", create_pr=True)
    assert made.pr_revision == "refs/pr/1" and not alice.file_exists(REPO, "a.txt")
    assert alice.file_exists(REPO, "a.txt", revision="refs/pr/1")
    bob.create_commit(REPO, [adding("b.txt", b"2")], commit_message="More", revision="refs/pr/1")
    [discussion] = alice.get_repo_discussions(REPO)
    assert (discussion.num, discussion.is_pull_request, discussion.author) == (1, True, "bob")
    details = alice.get_discussion_details(REPO, 1)
    assert [event.summary for event in details.events if event.type == "commit"] == ["A proposal", "More"]
    assert [ref.ref for ref in alice.list_repo_refs(REPO, include_pull_requests=True).pull_requests] == ["refs/pr/1"]
    with pytest.raises(HfHubHTTPError, match="403"):
        bob.merge_pull_request(REPO, 1)
    alice.merge_pull_request(REPO, 1)
    assert alice.file_exists(REPO, "b.txt") and alice.get_discussion_details(REPO, 1).status == "merged"


def test_a_draft_pull_request_is_opened_commented_and_closed(alice):
    opened = alice.create_pull_request(REPO, "Later", description="Not yet")
    assert (opened.status, opened.git_reference) == ("draft", "refs/pr/1")
    alice.comment_discussion(REPO, 1, "Never")
    alice.change_discussion_status(REPO, 1, "closed")
    assert alice.get_discussion_details(REPO, 1).status == "closed"
    assert not alice.create_discussion(REPO, "A question").is_pull_request


def test_a_commit_on_a_state_that_has_moved_is_refused_whole(hub, alice):
    seen = alice.model_info(REPO).sha
    alice.create_commit(REPO, [adding("a.txt", b"1")], commit_message="Somebody else", parent_commit=seen)
    with pytest.raises(HfHubHTTPError, match="A commit has happened since") as refused:
        alice.create_commit(REPO, [adding("b.txt", b"2")], commit_message="Mine", parent_commit=seen)
    assert refused.value.response.status_code == 412
    assert "b.txt" not in alice.list_repo_files(REPO)


def test_a_commit_that_names_a_file_nobody_uploaded_is_refused(hub, alice):
    lines = [
        {"key": "header", "value": {"summary": "One", "description": ""}},
        {"key": "lfsFile", "value": {"path": "a.bin", "algo": "sha256", "oid": "0" * 64, "size": 1}},
    ]
    url, headers = f"{hub.endpoint}/api/models/{REPO}/commit/main", {"Authorization": f"Bearer {alice.token}"}
    refused = httpx2.post(url, content="\n".join(map(json.dumps, lines)), headers=headers)
    assert refused.status_code == 400 and "does not exist" in refused.json()["error"]


def test_this_process_knows_no_other_hub_while_one_runs_and_none_afterwards(tmp_path):
    with local_hub(tmp_path) as hub:
        miniatures.publish(hub, ["openai-community/gpt2"])
        assert [one.id for one in huggingface_hub.list_models()] == ["openai-community/gpt2"]
        assert huggingface_hub.get_token() is None
        model = AutoModelForCausalLM.from_pretrained("openai-community/gpt2")
        assert model.config.n_layer == 12 and list((tmp_path / "client" / "cache").glob("models--*"))
    assert constants.is_offline_mode() and hub.endpoint != constants.ENDPOINT


def test_the_names_of_repositories_stay_inside_their_folder(hub, alice):
    for name in ("..", "a--b", "-a", "a" * 97):
        refused = httpx2.post(f"{hub.endpoint}/api/repos/create", json={"name": name}, headers={"Authorization": f"Bearer {alice.token}"})
        assert refused.status_code == 400
    assert httpx2.get(f"{hub.endpoint}/api/models/%2E%2E/%2E%2E%2Fx").status_code == 401
    with pytest.raises(BadRequestError):
        alice.create_branch(REPO, branch="refs/pr/7")
