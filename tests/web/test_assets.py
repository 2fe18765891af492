"""Scripts and styles come from here, compressed once, and are sent again only when they changed."""

import re
from pathlib import Path

import pytest

from lorasae.web import assets
from tests.web.conftest import World


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "web" / "inner").mkdir(parents=True)
    (tmp_path / "web" / "view.js").write_text("export const x = 1;\n" * 200)
    (tmp_path / "web" / "inner" / "view.css").write_text("a { color: red }")
    (tmp_path / "web" / "secret.py").write_text("x")
    (tmp_path / "canary.js").write_text("canary")
    monkeypatch.setattr(assets, "WEB_ASSETS", tmp_path / "web")
    return tmp_path / "web"


def test_a_file_is_asked_for_again_and_sent_again_only_when_it_changed(local: World, folder: Path) -> None:
    client = local.client()
    first = client.get("/lab/assets/view.js")
    assert first.headers["cache-control"] == "no-cache" and first.headers["content-type"].startswith("text/javascript")
    unchanged = client.get("/lab/assets/view.js", headers={"if-none-match": first.headers["etag"]})
    assert unchanged.status_code == 304 and unchanged.content == b""
    (folder / "view.js").write_text("changed")
    changed = client.get("/lab/assets/view.js", headers={"if-none-match": first.headers["etag"]})
    assert changed.status_code == 200 and changed.text == "changed"


def test_it_is_compressed_for_who_can_read_that(local: World, folder: Path) -> None:
    packed = local.client().get("/lab/assets/view.js", headers={"accept-encoding": "gzip"})
    plain = local.client().get("/lab/assets/view.js", headers={"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
    assert packed.text == plain.text and int(packed.headers["content-length"]) < len(plain.content) / 5


@pytest.mark.parametrize(
    "address",
    [
        "../canary.js",
        "..%2fcanary.js",
        "%2e%2e/canary.js",
        "inner/../../canary.js",
        "secret.py",
        "",
        "inner",
        ".hidden.js",
        "view.js%00",
        "/etc/passwd",
        "view.js/",
    ],
)
def test_nothing_else_of_the_disk_is_given(local: World, folder: Path, address: str) -> None:
    answer = local.client().get(f"/lab/assets/{address}")
    assert answer.status_code in (404, 307) and "canary" not in answer.text


def test_plotly_comes_from_the_lab_itself_small_and_kept_for_a_day(local: World) -> None:
    answer = local.client().get("/lab/assets/vendor/plotly-basic.min.js", headers={"accept-encoding": "gzip"})
    assert "plotly.js (basic - minified)" in answer.text[:300] and "max-age" in answer.headers["cache-control"]
    assert int(answer.headers["content-length"]) < 500_000


def test_no_script_of_ours_reads_text_as_markup_or_fetches_elsewhere() -> None:
    for script in Path(assets.WEB_ASSETS).glob("*.js"):
        code = re.sub(r"^\s*//.*$", "", script.read_text(), flags=re.MULTILINE)
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", code), script.name
        for address in re.findall(r"""(?:fetch|import|EventSource)\(\s*["'`](https?:[^"'`]*)""", code):
            raise AssertionError(f"{script.name} asks {address}")
