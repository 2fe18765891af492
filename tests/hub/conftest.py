"""A Hub of its own for every test, empty, and somebody on it."""

from collections.abc import Iterator

import pytest
from huggingface_hub import HfApi

from tests.hub.client import REPO
from tests.hub.server import LocalHub, local_hub


@pytest.fixture
def hub(tmp_path) -> Iterator[LocalHub]:
    with local_hub(tmp_path / "hub") as hub:
        yield hub


@pytest.fixture
def folder(tmp_path):
    """Something to upload: a card, a plain file in a folder, a large file, an empty one."""
    files = {
        "README.md": b"---\nlicense: mit\ntags: [lorasae, gemma-scope]\nbase_model: google/gemma-2-2b\n---\n# An adapter\n",
        "notes/read me.txt": "Grüße\n".encode(),
        "adapter_model.safetensors": bytes(range(256)) * 400,
        "empty.txt": b"",
    }
    for name, content in files.items():
        path = tmp_path / "upload" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return tmp_path / "upload"


@pytest.fixture
def alice(hub) -> HfApi:
    """The client of somebody with a repository."""
    api = hub.api(hub.accounts.token("alice"))
    api.create_repo(REPO)
    return api
