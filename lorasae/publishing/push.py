"""A package brought to the Hub in one commit. A retried push never makes two commits, and no push leaves half of one.

What is there already, on the main branch or in an open pull request, is compared with what is to be there before anything is committed, and
again when an answer was lost: the files decide, not what the network said.
"""

import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from huggingface_hub import CommitOperationAdd, HfApi
from huggingface_hub.errors import HfHubHTTPError

from lorasae.errors import LabError
from lorasae.publishing.contents import are_there, contents_there


@dataclass(frozen=True)
class Target:
    """Where a package is to lie."""

    repo_id: str  # NAMESPACE/NAME
    private: bool = True
    as_pull_request: bool = False


@dataclass(frozen=True)
class Pushed:
    """Where it lies."""

    repo_id: str
    commit: str
    url: str
    is_new: bool  # whether this push made the commit, or found it
    note: str = ""  # what is not as one would think, in a sentence


def push(package: Path, run_id: str, target: Target, api: HfApi, told: Callable[[str], None] = lambda _: None) -> Pushed:
    """Create the repository if need be, and commit the package if it is not there yet.

    Args:
        package: Folder made by `make_package`.
        run_id: The run; a repository that holds another run, or something else, is left alone.
        target: Where to.
        api: A client with the author's token.
        told: Hears the phases, in words.

    Raises:
        LabError: If the repository holds something else.
        HfHubHTTPError, OSError: What the Hub or the network had to say; `hub_problems` tells it in words.
    """
    told("creating the repository")
    api.create_repo(target.repo_id, private=target.private, exist_ok=True)
    head, there = contents_there(api, target.repo_id)
    _refuse_to_overwrite(api, target.repo_id, run_id, head, there)
    files = sorted(path for path in package.rglob("*") if path.is_file())
    wanted = {str(path.relative_to(package)): path for path in files}
    if are_there(wanted, there):
        return _found(api, target.repo_id, head)
    if target.as_pull_request and (open_request := _open_request(api, target.repo_id, run_id, wanted)):
        return open_request
    told(f"uploading {len(files)} files, {sum(path.stat().st_size for path in files) / 1e6:.1f} MB")
    try:
        made = api.create_commit(
            target.repo_id,
            [CommitOperationAdd(name, path) for name, path in wanted.items()],
            commit_message=_title(run_id),
            parent_commit=head,
            create_pr=target.as_pull_request,
        )
    except (HfHubHTTPError, OSError):
        found = _carried_out(api, target, run_id, wanted)
        if found is None:
            raise
        return found  # only the answer was lost
    if target.as_pull_request and (kept := _open_request(api, target.repo_id, run_id, wanted)) is not None:
        return replace(kept, is_new=True)
    return Pushed(target.repo_id, made.oid, made.pr_url or made.commit_url, True)


def _title(run_id: str) -> str:
    """Of the commit, and of the pull request that it makes."""
    return f"Adapter of the run {run_id}"


def _carried_out(api: HfApi, target: Target, run_id: str, wanted: dict[str, Path]) -> Pushed | None:
    """What a commit did whose answer never came."""
    if target.as_pull_request:
        return _open_request(api, target.repo_id, run_id, wanted)
    head, there = contents_there(api, target.repo_id)
    return _found(api, target.repo_id, head) if are_there(wanted, there) else None


def _open_request(api: HfApi, repo_id: str, run_id: str, wanted: dict[str, Path]) -> Pushed | None:
    """The pull request that a retry would repeat: open, of the same author, about this run, with these very files. Of several the first is
    kept and the others, made by a client that asked again on its own after a lost answer, are closed.
    """
    author = str(api.whoami()["name"])
    found: list[tuple[int, str]] = []
    for request in api.get_repo_discussions(repo_id, author=author, discussion_type="pull_request"):
        if request.author == author and request.title == _title(run_id) and request.status in ("open", "draft"):
            head, there = contents_there(api, repo_id, revision=f"refs/pr/{request.num}")
            if are_there(wanted, there):
                found.append((request.num, head))
    for number, _ in sorted(found)[1:]:
        api.change_discussion_status(repo_id, number, "closed", comment="The same as an earlier request")
    if not found:
        return None
    number, head = min(found)
    return Pushed(repo_id, head, f"{api.endpoint}/{repo_id}/discussions/{number}", False)


def _refuse_to_overwrite(api: HfApi, repo_id: str, run_id: str, head: str, there: dict[str, str]) -> None:
    ours = set(there) - {".gitattributes"}
    if not ours:
        return
    asked = f"The run {run_id} was to be published as {repo_id}"
    remedy = "Choose another name"
    if "lorasae.json" not in ours:
        raise LabError(asked, "That repository holds something else", remedy)
    with tempfile.TemporaryDirectory() as folder:
        path = api.hf_hub_download(repo_id, "lorasae.json", revision=head, local_dir=folder)
        other = json.loads(Path(path).read_text(encoding="utf-8")).get("run_id")
    if other != run_id:
        raise LabError(asked, f"That repository holds the run {other}", remedy)


def _found(api: HfApi, repo_id: str, commit: str) -> Pushed:
    return Pushed(repo_id, commit, f"{api.endpoint}/{repo_id}/commit/{commit}", False)
