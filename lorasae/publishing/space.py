"""The lab itself brought to the Hub as a Space: one commit with exactly the files that git knows, however often it is tried."""

import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi
from huggingface_hub.errors import HfHubHTTPError

from lorasae.errors import LabError
from lorasae.publishing.contents import are_there, contents_there

CHECKOUT = Path(__file__).resolve().parents[2]
_MARK = "lorasae/lab.py"  # a Space that holds it is a lab, and may be brought up to date
_THE_HUBS_OWN = {".gitattributes"}
_OF_A_NEW_SPACE = _THE_HUBS_OWN | {"README.md"}


@dataclass(frozen=True)
class SpaceTarget:
    """Where the lab is to run."""

    repo_id: str  # NAMESPACE/NAME
    private: bool = True
    hardware: str = ""  # such as l4x1; empty leaves it as it is, free to begin with


@dataclass(frozen=True)
class UploadedSpace:
    """Where it lies."""

    url: str
    n_files: int
    is_new: bool  # whether anything had to be committed


def upload_space(target: SpaceTarget, api: HfApi, told: Callable[[str], None] = lambda _: None, checkout: Path = CHECKOUT) -> UploadedSpace:
    """Create the Space if need be, and make it hold what this checkout holds.

    Raises:
        LabError: If this is no git checkout, or the Space holds something else.
        HfHubHTTPError, OSError: What the Hub or the network had to say; `hub_problems` tells it in words.
    """
    wanted = tracked_files(checkout)
    if unknown := _listed(checkout, "--others", "--exclude-standard"):
        some = ", ".join(unknown[:3]) + (", …" if len(unknown) > 3 else "")
        told(f"git does not know {len(unknown)} files, which stay here: {some}. What the lab needs of them: git add")
    told("creating the Space")
    api.create_repo(target.repo_id, repo_type="space", space_sdk="gradio", private=target.private, exist_ok=True)
    head, there = contents_there(api, target.repo_id, "space")
    _refuse_to_overwrite(target.repo_id, there)
    is_new = not _is_the_same(wanted, there)
    if is_new:
        told(f"uploading {len(wanted)} files, {sum(path.stat().st_size for path in wanted.values()) / 1e6:.1f} MB")
        _commit(api, target.repo_id, wanted, there, head)
    if target.hardware:
        told(f"asking for the hardware {target.hardware}")
        api.request_space_hardware(target.repo_id, target.hardware)  # type: ignore[arg-type]
    return UploadedSpace(f"{api.endpoint}/spaces/{target.repo_id}", len(wanted), is_new)


def tracked_files(checkout: Path) -> dict[str, Path]:
    """The files of a checkout that git knows, as they are now: path in the repository -> path here.

    Raises:
        LabError: If git knows nothing of the folder.
    """
    return {name: checkout / name for name in _listed(checkout, "--cached") if (checkout / name).is_file()}


def _listed(checkout: Path, *which: str) -> list[str]:
    try:
        listed = subprocess.run(["git", "ls-files", "-z", *which], cwd=checkout, capture_output=True, check=True).stdout.decode()
    except (OSError, subprocess.CalledProcessError):
        found = f"{checkout} is no git checkout, so that nobody knows which files belong to it"
        raise LabError("The lab was to be uploaded as a Space", found, "Install git, clone the repository, and try again there") from None
    return sorted(name for name in listed.split("\0") if name)


def _commit(api: HfApi, repo_id: str, wanted: Mapping[str, Path], there: Mapping[str, str], head: str) -> None:
    """All of it at once; what is there and no longer here goes."""
    gone = [CommitOperationDelete(name) for name in sorted(_superfluous(wanted, there))]
    added = [CommitOperationAdd(name, path) for name, path in wanted.items()]
    try:
        api.create_commit(repo_id, [*gone, *added], repo_type="space", commit_message="LoRA-SAE Lab", parent_commit=head)
    except (HfHubHTTPError, OSError):
        if not _is_the_same(wanted, contents_there(api, repo_id, "space")[1]):
            raise  # else it had been carried out; only the answer was lost


def _is_the_same(wanted: Mapping[str, Path], there: Mapping[str, str]) -> bool:
    return not _superfluous(wanted, there) and are_there(wanted, there)


def _superfluous(wanted: Mapping[str, Path], there: Mapping[str, str]) -> set[str]:
    return set(there) - set(wanted) - _THE_HUBS_OWN


def _refuse_to_overwrite(repo_id: str, there: Mapping[str, str]) -> None:
    if set(there) - _OF_A_NEW_SPACE and _MARK not in there:
        raise LabError(f"The lab was to be uploaded as the Space {repo_id}", "That Space holds something else", "Choose another name")
