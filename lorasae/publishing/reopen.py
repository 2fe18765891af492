"""A published adapter made a run of this lab again: fetched file by file, checked before it is believed, laid out as a run folder."""

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi

from lorasae.config import DataConfig, RunConfig, SAERef, run_config
from lorasae.errors import Busy, LabError
from lorasae.identity import LOCAL_OWNER
from lorasae.planning.uploads import refuse_foreign_files
from lorasae.publishing.published_result import MOST_BYTES, believed, check_heldout, json_of
from lorasae.sources.commits import Commits
from lorasae.sources.hub_adapters import licence_named
from lorasae.sources.hub_names import refuse_no_name
from lorasae.sources.hub_problems import first_line, hub_problems_told
from lorasae.sources.peft_files import CONFIG, WEIGHTS, plain_settings, shape_of, shape_of_files, tensor_shapes
from lorasae.store.commit_record import record_commits
from lorasae.store.durable import write_json
from lorasae.store.lineage import MOST_ANCESTORS, Ancestor, lineage, origin_of
from lorasae.store.run_folder import Run
from lorasae.store.run_records import Status
from lorasae.store.runs import RunStore

_NEEDED = ("lorasae.json", CONFIG, WEIGHTS, "heldout.npy")
_WELCOME = ("metrics.jsonl",)
_MOST_BYTES = 8_000_000_000  # of one repository's files together
_WAIT_S = 20.0  # for an adapter that is being fetched
_STRANGER = "whoever published it"
VISITORS_ADAPTERS = 10  # that one visitor may have open
VISITORS_BYTES = 1_000_000_000  # of them together


@dataclass(frozen=True)
class Fetched:
    """A repository's files in a folder, and which commit they are of."""

    named: Ancestor  # repository, commit, and the licence that its card names
    folder: Path
    result: dict[str, Any]

    @property
    def config(self) -> RunConfig:
        """The settings of the run that was published."""
        return run_config(self.result["config"])


def reopen(
    store: RunStore,
    repo_id: str,
    api: HfApi,
    owner: str = LOCAL_OWNER,
    revision: str | None = None,
    permitted: Callable[[RunConfig], None] = lambda _: None,
) -> Run:
    """A new run of this home that holds the published result; the same commit is opened once.

    Adapters come one at a time, in a process: each is counted before the next is let in.

    Args:
        store: Where the run will lie.
        repo_id: The repository.
        api: A client that sees what the owner may see.
        owner: Whose run it becomes.
        revision: Branch, tag or commit; None: the newest.
        permitted: Raises a LabError if the owner may not use what the published settings name.

    Raises:
        Busy: If another one is still being fetched.
        LabError: If the repository cannot be had, holds no adapter of this lab, or holds something damaged.
    """
    asked = f"The adapter {repo_id} was to be opened"
    refuse_no_name(asked, repo_id)
    with hub_problems_told(asked, repo_id, (), api):
        commit = str(api.model_info(repo_id, revision=revision).sha)
    if known := _opened_already(store, owner, repo_id, commit):
        return known
    if not store.opening.acquire(timeout=_WAIT_S):
        raise Busy(asked, "Another adapter is being fetched", "Try again in a moment")
    try:
        return _opened_already(store, owner, repo_id, commit) or _brought(asked, store, repo_id, api, owner, commit, permitted)
    finally:
        store.opening.release()


def _opened(store: RunStore, owner: str) -> list[Run]:
    return [run for run in store.all() if run.about.owner == owner and origin_of(run) is not None]


def _opened_already(store: RunStore, owner: str, repo_id: str, commit: str) -> Run | None:
    return next((run for run in _opened(store, owner) if origin_of(run) == (repo_id, commit)), None)


def _brought(asked: str, store: RunStore, repo_id: str, api: HfApi, owner: str, commit: str, permitted: Callable[[RunConfig], None]) -> Run:
    """The repository at that commit, fetched and made a run, within its owner's limits."""
    most_bytes = _MOST_BYTES if owner == LOCAL_OWNER else _left_to_a_visitor(asked, _opened(store, owner))
    with tempfile.TemporaryDirectory(prefix="lorasae-reopen-") as folder:
        fetched = fetch(repo_id, api, Path(folder), commit, most_bytes)
        without_text = fetched.config.model_copy(update={"data": DataConfig()})  # which is not looked at again
        refuse_foreign_files(without_text, _STRANGER, store.home)
        permitted(without_text)
        measured = tuple(SAERef(release=each["release"], sae_id=each["sae_id"]) for each in fetched.result["saes"])
        refuse_foreign_files(fetched.config.model_copy(update={"data": DataConfig(), "saes": measured}), _STRANGER, store.home)
        return store.create(fetched.config, owner, name=repo_id, fill=lambda run: lay_out(fetched, run))


def _left_to_a_visitor(asked: str, opened: list[Run]) -> int:
    """Bytes that a visitor may still fetch.

    Raises:
        LabError: If there are none, or the visitor has as many adapters open as one may.
    """
    remedy = "Delete one on the page Runs"
    if len(opened) >= VISITORS_ADAPTERS:
        found = f"You have {len(opened)} adapters of others open; in this lab, visitors have up to {VISITORS_ADAPTERS}"
        raise LabError(asked, found, remedy)
    used = sum(path.stat().st_size for run in opened for path in run.folder.rglob("*") if path.is_file())
    if used >= VISITORS_BYTES:
        found = f"The adapters of others that you have open take {used / 1e6:,.0f} MB; visitors have {VISITORS_BYTES // 1_000_000} here"
        raise LabError(asked, found, remedy)
    return VISITORS_BYTES - used


def fetch(repo_id: str, api: HfApi, folder: Path, revision: str | None = None, most_bytes: int = _MOST_BYTES) -> Fetched:
    """The files of a published adapter, checked.

    Raises:
        LabError: As `reopen`.
    """
    asked = f"The adapter {repo_id} was to be opened"
    with hub_problems_told(asked, repo_id, (), api):
        info = api.model_info(repo_id, revision=revision, files_metadata=True)
        sizes = {each.rfilename: each.size or 0 for each in info.siblings or []}
        if missing := [name for name in _NEEDED if name not in sizes]:
            remedy = "Give a repository that was published from LoRA-SAE Lab"
            if CONFIG in sizes:
                remedy += ", or measure this adapter here around an SAE: `python -m lorasae adapt --start`, or the page Gallery"
            raise LabError(asked, f"It holds no {', no '.join(missing)}", remedy)
        names = [*_NEEDED, *(name for name in _WELCOME if name in sizes)]
        _refuse_large(asked, {name: sizes[name] for name in names}, most_bytes)
        for name in names:
            api.hf_hub_download(repo_id, name, revision=info.sha, local_dir=folder)
    named = {"repo_id": repo_id, "commit": str(info.sha)}
    if licence := licence_named(info):
        named["licence"] = licence
    return Fetched(named, folder, read_back(asked, folder))


def _refuse_large(asked: str, sizes: Mapping[str, int], most_bytes: int) -> None:
    """Whether the files of a repository are of a size that is fetched."""
    if (n_bytes := sum(sizes.values())) > most_bytes:
        found = f"Its files have {n_bytes / 1e6:,.1f} MB; {most_bytes / 1e6:,.1f} MB may be fetched"
        raise LabError(asked, found, "Open a smaller adapter")
    if large := next((name for name, size in sizes.items() if size > MOST_BYTES.get(name, most_bytes)), None):
        found = f"Its {large} has {sizes[large] / 1e6:,.1f} MB; {MOST_BYTES[large] / 1e6:,.1f} MB may be fetched"
        raise LabError(asked, found, "Open another")


def refuse_what_none_could_open(asked: str, package: Path) -> None:
    """Read files that are to be published as whoever opens them will.

    Raises:
        LabError: If they could not be opened again.
    """
    sizes = {name: (package / name).stat().st_size for name in (*_NEEDED, *_WELCOME)}
    try:
        _refuse_large(asked, sizes, _MOST_BYTES)
        read_back(asked, package)
    except LabError as problem:
        found = f"Nobody could open it again: {problem.found}"
        raise LabError(asked, found, "Nothing was published. Do the run again, or report this with its lorasae.json") from problem


def read_back(asked: str, folder: Path) -> dict[str, Any]:
    """The result, once every file is known to be what it should be. Nothing in them is code, and none is believed to be ours.

    Raises:
        LabError: If one of them is not.
    """
    remedy = "Publish it again, or open another"
    try:
        stated, adapter = json_of(folder / "lorasae.json"), json_of(folder / CONFIG)
        shapes = tensor_shapes(folder / WEIGHTS)
        check_heldout(folder / "heldout.npy")
    except (ValueError, OSError, RecursionError, MemoryError) as error:
        raise LabError(asked, f"One of its files is damaged: {first_line(error)[:200]}", remedy) from None
    result = believed(asked, stated)
    try:
        config = run_config(result["config"])
    except LabError as problem:
        raise LabError(asked, f"Its settings are not this lab's: {str(problem)[:300]}", remedy) from None
    if not isinstance(adapter, dict) or adapter.get("base_model_name_or_path") != config.model.model:
        base = adapter.get("base_model_name_or_path") if isinstance(adapter, dict) else None
        found = f"Its adapter is of {repr(base)[:200]}, its settings name {config.model.model[:200]!r}"
        raise LabError(asked, found, remedy)
    shape_of(asked, adapter, shapes)  # PEFT believes whatever its settings say
    return result


def lay_out(fetched: Fetched, run: Run) -> None:
    """Fill a run folder with what was fetched."""
    run.adapter.mkdir()
    settings = json.loads((fetched.folder / CONFIG).read_text(encoding="utf-8"))
    shape = shape_of_files(f"The adapter {fetched.named['repo_id']} was to be opened", fetched.folder)
    write_json(run.adapter / CONFIG, plain_settings(settings, shape))
    shutil.copyfile(fetched.folder / WEIGHTS, run.adapter / WEIGHTS)
    shutil.copyfile(fetched.folder / "heldout.npy", run.heldout)
    if (fetched.folder / "metrics.jsonl").is_file():
        shutil.copyfile(fetched.folder / "metrics.jsonl", run.metrics_file)
    result = fetched.result
    origin = {**fetched.named, "run_id": result["run_id"], "before": lineage(result)[: MOST_ANCESTORS - 1]}
    write_json(run.folder / "origin.json", origin)
    record_commits(run, _commits_of(result))
    run.write_result({key: value for key, value in result.items() if key not in ("format", "run_id")} | {"origin": origin})
    ended_early = result["step"] < result["n_steps"]
    state = "stopped" if ended_early else "succeeded"
    run.write_status(
        Status(state, "done", step=result["step"], n_steps=result["n_steps"], message=f"Published as {fetched.named['repo_id']}")
    )


def _commits_of(result: dict[str, Any]) -> Commits:
    """The commits that model and SAEs were of, as far as a stranger's word for them is a commit."""

    def commit(stated: Any) -> str | None:
        return stated if isinstance(stated, str) and re.fullmatch(r"[0-9a-f]{40}", stated) else None

    names = {f"{record['release']} / {record['sae_id']}": commit(record.get("revision")) for record in result["saes"]}
    return Commits(commit(result.get("model_revision")), {name: found for name, found in names.items() if found})
