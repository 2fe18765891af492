"""`python -m lorasae push|gallery|open|space`: a run to the Hub, what others published there, and back; the lab itself as a Space."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lorasae.errors import LabError
from lorasae.home import home
from lorasae.identity import LOCAL_OWNER
from lorasae.store.runs import RunStore

if TYPE_CHECKING:
    from lorasae.publishing.gallery import GalleryRow


def push_command(options: argparse.Namespace) -> None:
    """Publish a run, or only make its files."""
    from lorasae.publishing.check import measured_again
    from lorasae.publishing.publish import preview, publish
    from lorasae.publishing.push import Target

    run = RunStore(home()).open(options.run)
    if options.preview:
        folder = Path(options.preview)
        if folder.exists() and any(folder.iterdir()):
            raise LabError(f"The files of {run.run_id} were to be written into {folder}", "It is not empty", "Name an empty folder")
        folder.mkdir(parents=True, exist_ok=True)
        print("\n".join(str(folder / name) for name in preview(run, options.repository, folder)))
        return
    target = Target(options.repository, private=not options.public, as_pull_request=options.pull_request)
    pushed = publish(run, target, _client(), None if options.no_check else measured_again, _say)
    print(pushed.url)
    if pushed.note:
        print(pushed.note)


def open_command(options: argparse.Namespace) -> None:
    """Make a published adapter a run of this home; of one that was made elsewhere, say what it is and how it is measured."""
    from lorasae.publishing.foreign import look
    from lorasae.publishing.reopen import reopen

    store = RunStore(home())
    found = look(options.repository, options.revision, LOCAL_OWNER, store, _client())
    if found.kind == "peft":
        places = f"{', '.join(found.modules)} of layers {', '.join(map(str, found.layers))}"
        print(f"{found.repo_id} is a LoRA adapter of {found.model}: rank {found.rank} on {places}. It was not published from the lab.")
        print(f"Measure it around an SAE: python -m lorasae adapt --start {found.repo_id}@{found.commit} --tokens 0 --sae RELEASE SAE_ID")
        return
    run = reopen(store, options.repository, _client(), revision=options.revision)
    print(f"run: {run.folder}\nLook inside: python -m lorasae inspect {run.run_id} --text 'Any sentence.'")


def space_command(options: argparse.Namespace) -> None:
    """Bring the lab to the Hub as a Space, or bring the Space up to date."""
    from lorasae.publishing.space import SpaceTarget, upload_space
    from lorasae.sources.hub_problems import hub_problems_told

    name = options.space
    with hub_problems_told(f"The lab was to be uploaded as the Space {name}", name, ()):
        space = upload_space(SpaceTarget(name, private=not options.public, hardware=options.hardware), _client(), _say)
    print(f"{space.url}\n{space.n_files} files, {'uploaded' if space.is_new else 'all there already'}.")
    print(f"Hardware and storage: {space.url}/settings. What to choose there: docs/space.md")


def gallery_command(options: argparse.Namespace) -> None:
    """The adapters that were published from labs, newest first."""
    from lorasae.metrics import LEARNED, has_learned
    from lorasae.publishing.gallery import published_adapters

    found = published_adapters(_client())
    words = (options.search or "").lower().split()
    rows = [row for row in found.rows if all(word in f"{row.repo_id} {row.model} {row.saes}".lower() for word in words)]
    if not rows:
        print("No adapter on the Hub matches." if words else "Nobody has published an adapter yet, or the Hub does not show them to you.")
        return
    print("\n".join([f"{'adapter':<40}{'model':<26}{'rank':>6}{'gap closed':>18}  SAE", *map(_gallery_line, rows)]))
    if found.has_more:
        print(f"These are among the newest {len(found.rows)}; there are more on the Hub.")
    print("\nThe numbers are what each author's card states. Open one: python -m lorasae open NAME/ADAPTER")
    if any(has_learned(row.gap_closed) for row in rows):
        print(LEARNED)


def add_hub_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The commands' options."""
    push = commands.add_parser("push", help="publish a finished run on the Hub")
    push.add_argument("run", help="id or folder of the run")
    push.add_argument("repository", help="NAMESPACE/NAME")
    push.add_argument(
        "--public",
        action="store_true",
        help="for everybody to see; else only for you. A private repository that is there already is made public",
    )
    push.add_argument("--pull-request", action="store_true", help="as a pull request instead of a commit")
    push.add_argument("--no-check", action="store_true", help="do not download and measure it again")
    push.add_argument("--preview", metavar="FOLDER", help="write the files there and publish nothing")
    push.set_defaults(command=push_command)

    gallery = commands.add_parser("gallery", help="adapters that were published from the lab")
    gallery.add_argument("search", nargs="?", help="words that the name, the model or an SAE must have")
    gallery.set_defaults(command=gallery_command)

    reopen = commands.add_parser("open", help="open an adapter that was published from the lab, or look at any other")
    reopen.add_argument("repository", help="NAMESPACE/NAME")
    reopen.add_argument("--revision", help="a commit, branch or tag")
    reopen.set_defaults(command=open_command)

    space = commands.add_parser("space", help="upload the lab itself as a Hugging Face Space, or bring that up to date")
    space.add_argument("space", metavar="NAME/SPACE", help="the Space; made if it is not there")
    space.add_argument("--public", action="store_true", help="for everybody to see; else only for you. Asked when it is made")
    space.add_argument("--hardware", default="", help="ask for this hardware, such as l4x1; it is paid by the hour")
    space.set_defaults(command=space_command)


def _gallery_line(row: "GalleryRow") -> str:
    error = f" ± {100 * row.gap_closed_error:.1f}" if row.gap_closed_error else ""
    gap = "–" if row.gap_closed is None else f"{100 * row.gap_closed:.1f} %{error}"
    saes = "; ".join(f"{each['release']} / {each['sae_id']}" for each in row.saes) or "–"
    return f"{row.repo_id:<40}{row.model or '–':<26}{row.rank if row.rank is not None else '–':>6}{gap:>18}  {saes}"


def _client():  # noqa: ANN202  # imported late
    from huggingface_hub import HfApi

    return HfApi()  # the token of the environment or of `hf auth login`


def _say(phase: str) -> None:
    print(f"… {phase}", file=sys.stderr, flush=True)
