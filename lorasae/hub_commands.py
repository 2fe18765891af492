"""`python -m lorasae push|open|space`: a run to the Hub, and back; the lab itself as a Space."""

import argparse
import sys
from pathlib import Path

from lorasae.errors import LabError
from lorasae.home import home
from lorasae.store.runs import RunStore


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


def open_command(options: argparse.Namespace) -> None:
    """Make a published adapter a run of this home."""
    from lorasae.publishing.reopen import reopen

    run = reopen(RunStore(home()), options.repository, _client(), revision=options.revision)
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


def add_hub_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """The commands' options."""
    push = commands.add_parser("push", help="publish a finished run on the Hub")
    push.add_argument("run", help="id or folder of the run")
    push.add_argument("repository", help="NAMESPACE/NAME")
    push.add_argument("--public", action="store_true", help="for everybody to see; else only for you")
    push.add_argument("--pull-request", action="store_true", help="as a pull request instead of a commit")
    push.add_argument("--no-check", action="store_true", help="do not download and measure it again")
    push.add_argument("--preview", metavar="FOLDER", help="write the files there and publish nothing")
    push.set_defaults(command=push_command)

    reopen = commands.add_parser("open", help="open an adapter that was published from the lab")
    reopen.add_argument("repository", help="NAMESPACE/NAME")
    reopen.add_argument("--revision", help="a commit, branch or tag")
    reopen.set_defaults(command=open_command)

    space = commands.add_parser("space", help="upload the lab itself as a Hugging Face Space, or bring that up to date")
    space.add_argument("space", metavar="NAME/SPACE", help="the Space; made if it is not there")
    space.add_argument("--public", action="store_true", help="for everybody to see; else only for you. Asked when it is made")
    space.add_argument("--hardware", default="", help="ask for this hardware, such as l4x1; it is paid by the hour")
    space.set_defaults(command=space_command)


def _client():  # noqa: ANN202  # imported late
    from huggingface_hub import HfApi

    return HfApi()  # the token of the environment or of `hf auth login`


def _say(phase: str) -> None:
    print(f"… {phase}", file=sys.stderr, flush=True)
