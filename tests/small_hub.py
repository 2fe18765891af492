"""Repositories as the Hub serves them, and the Hub's cache as it lies on a disk once they were fetched."""

import hashlib
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"
Files = Mapping[str, bytes]


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def fill_cache(cache: Path, repository: str, files: Files, commit: str = COMMIT) -> Path:
    """What the client leaves behind after fetching `files` of `main`; returns the folder of the snapshot."""
    folder = cache / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(commit)
    for name, content in files.items():
        blob, pointer = folder / "blobs" / sha256(content), folder / "snapshots" / commit / name
        for path in (blob, pointer):
            path.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(content)
        pointer.symlink_to(blob)
    return folder / "snapshots" / commit


def folder_files(folder: Path, under: str = "") -> dict[str, bytes]:
    """Every file of a folder by the name it would have in a repository, below `under`."""
    return {f"{under}{path.relative_to(folder).as_posix()}": path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


class SmallHub:
    """A Hub of a few files at `main`, on this machine. Notes what was asked of it, and can be made to fail.

    A file listed in `lying` is stated with the hash of other content; after `stops_after` bytes of a file the connection is closed, once.
    With `elsewhere`, content lies on another host, as the Hub's large files do.
    """

    def __init__(self, files: Mapping[str, Files], lying: tuple[str, ...] = (), stops_after: int | None = None) -> None:
        self.files, self.lying, self.stops_after, self.elsewhere = dict(files), lying, stops_after, False
        self.asked: list[tuple[str, str, str]] = []  # method, path, range
        self.authorized: set[str] = set()  # hosts that were sent a token
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler(hub: SmallHub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer(head=True)

        def do_GET(self) -> None:
            self._answer(head=False)

        def _answer(self, head: bool) -> None:
            if "/resolve/" in self.path:
                hub.asked.append((self.command, self.path, self.headers.get("Range", "")))
            if self.headers.get("Authorization"):
                hub.authorized.add(self.headers["Host"].split(":")[0])
            repository, _, rest = self.path.lstrip("/").partition("/resolve/")
            name = rest.partition("/")[2].partition("?")[0]
            if repository not in hub.files or name not in hub.files[repository]:
                self._refuse("EntryNotFound" if repository in hub.files else "RepoNotFound")
                return
            content = hub.files[repository][name]
            start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
            away = hub.elsewhere and self.headers["Host"].startswith("127.0.0.1")
            self.send_response(302 if away else 206 if start else 200)
            if away:
                self.send_header("Location", f"http://localhost:{self.server.server_port}{self.path}?signature=secret")  # type: ignore[attr-defined]
            self.send_header("X-Repo-Commit", COMMIT)
            stated = content + b"!" if name in hub.lying else content
            self.send_header("ETag", f'"{sha256(stated)}"')
            self.send_header("X-Linked-ETag", f'"{sha256(stated)}"')
            self.send_header("X-Linked-Size", str(len(content)))
            self.send_header("Content-Length", str(len(content) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.end_headers()
            if head:
                return
            if hub.stops_after is not None and len(content) > hub.stops_after:
                self.wfile.write(content[start : start + hub.stops_after])
                hub.stops_after = None
                self.close_connection = True
                return
            self.wfile.write(content[start:])

        def _refuse(self, code: str) -> None:
            self.send_response(404)
            self.send_header("X-Error-Code", code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    return Handler
