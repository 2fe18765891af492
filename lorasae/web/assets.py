"""Scripts, styles and pictures of the lab, and the scripts of others it ships: nothing is fetched from elsewhere.

Each file is compressed once and named by its content, so that a browser asks whether it changed and gets an empty answer when it did not.
"""

import gzip
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI, Request
from starlette.responses import Response

from lorasae.web.access import Unknown

WEB_ASSETS = Path(__file__).resolve().parents[2] / "assets" / "web"
_TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".json": "application/json",
    ".woff2": "font/woff2",
}
_ADDRESS = re.compile(r"[\w-][\w.-]*(?:/[\w-][\w.-]*)*", re.ASCII)
_DAY = "public, max-age=86400"
_ASK = "no-cache"  # keep it, but ask each time whether it changed


@dataclass(frozen=True)
class Asset:
    """A file as it is sent."""

    version: tuple[int, int]  # time and size of the file that was read
    content: bytes
    packed: bytes  # gzip; empty where that saves nothing
    etag: str
    media_type: str


class Assets:
    """The files, each read when it is first asked for and again when it changed."""

    def __init__(self) -> None:
        self._read: dict[Path, Asset] = {}

    def at(self, path: Path) -> Asset:
        stat = path.stat()
        version = (stat.st_mtime_ns, stat.st_size)
        known = self._read.get(path)
        if known is None or known.version != version:
            known = self._read[path] = _asset(path, version)
        return known


def add_asset_routes(app: FastAPI) -> None:
    """`/lab/assets/…`."""
    assets = Assets()

    @app.api_route("/lab/assets/{address:path}", methods=["GET", "HEAD"])
    def asset(request: Request, address: str) -> Response:
        path = WEB_ASSETS / address
        if not _ADDRESS.fullmatch(address) or path.suffix not in _TYPES or not path.is_file():
            raise Unknown("A file of the lab was asked for", "There is none of that name", "Reload the page")
        return _sent(assets.at(path), request, _DAY if address.startswith("vendor/") else _ASK)


def _sent(asset: Asset, request: Request, keep: str) -> Response:
    headers = {"etag": asset.etag, "cache-control": keep, "vary": "accept-encoding"}
    if asset.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if asset.packed and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(asset.packed, headers={**headers, "content-encoding": "gzip"}, media_type=asset.media_type)
    return Response(asset.content, headers=headers, media_type=asset.media_type)


def _asset(path: Path, version: tuple[int, int]) -> Asset:
    content = path.read_bytes()
    packed = gzip.compress(content, 6, mtime=0)
    etag = f'"{hashlib.sha256(content).hexdigest()[:20]}"'
    return Asset(version, content, packed if len(packed) < 0.9 * len(content) else b"", etag, _TYPES[path.suffix])
