"""The Xet store that `hf_xet` keeps in a folder of this disk when the Hub names it by a `local://` address.

The client never tells the Hub a file's Xet hash; the store's shards hold it beside the SHA-256 (layout of `mdb_shard`, version 2).
"""

import shutil
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.hub.storage import Storage

_BLOCK, _END = 48, b"\xff" * 32
_VERIFIED, _HAS_SHA256 = 1 << 31, 1 << 30


def fetch_from_xet(root: Path, storage: Storage, sha256: str) -> str | None:
    """The Xet hash of a file whose chunks lie in the store, after its bytes were copied to where other clients find them."""
    found = next((xet for xet, held in _files(root) if held == sha256), None)
    if found and not storage.large_path(sha256).is_file():
        entry = storage.add_large(_read(root, found))
        assert entry.sha256 == sha256, "the Xet store gave other bytes than it was given"
    return found


def _files(root: Path) -> Iterator[tuple[str, str]]:
    """(Xet hash, SHA-256) of every file in the store."""
    for shard in root.glob("xet/xorbs/shards/*.mdb"):
        content, at = shard.read_bytes(), _BLOCK
        while (name := content[at : at + 32]) != _END:
            flags, n_segments = struct.unpack_from("<II", content, at + 32)
            at += _BLOCK * (1 + n_segments * (2 if flags & _VERIFIED else 1))
            if flags & _HAS_SHA256:
                yield _hex(name), _hex(content[at : at + 32])
                at += _BLOCK


def _hex(stored: bytes) -> str:
    return "".join(f"{word:016x}" for word in struct.unpack("<4Q", stored))


def _read(root: Path, xet: str) -> bytes:
    """The bytes of a file, put together from a copy of the store: the client that fills it has locked its index."""
    from hf_xet import XetFileInfo, XetSession  # type: ignore[attr-defined]

    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(root / "xet/xorbs", Path(folder) / "xet/xorbs")
        with XetSession().new_download_stream_group(endpoint=f"local://{folder}", token="local", token_expiry_unix_secs=2**40) as group:
            return b"".join(group.download_stream(XetFileInfo(xet, None)))
