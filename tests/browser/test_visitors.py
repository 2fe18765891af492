"""Two strangers in one lab: neither can see, stop, rename or delete what belongs to the other."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import LabProcess
from tests.browser.test_first_visit import SOON, start_the_pocket_repair


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabProcess]:
    """A lab that strangers can reach."""
    process = LabProcess(tmp_path_factory.mktemp("open") / "home", {"LORASAE_ACCESS": "visitors"}).start()
    yield process
    process.stop()


def test_a_stranger_cannot_touch_a_run_and_sees_it_only_once_it_is_shared(visit, lab):
    owner, stranger = visit("/"), visit("/")
    run = start_the_pocket_repair(owner.page)
    expect(owner.page.get_by_role("button", name="Stop…")).to_be_visible(timeout=SOON)

    def status(visitor, method: str, rest: str = "", body: str | None = None) -> int:
        return visitor.page.evaluate(
            "async ([path, method, body]) => (await fetch(path, {method, body, headers: {'content-type': 'application/json'}})).status",
            [f"/lab/runs/{run}{rest}", method, body],
        )

    assert status(owner, "GET") == 200 and status(stranger, "GET") == 404
    for act, body in (("stop", "{}"), ("discard", "{}"), ("rename", '{"name": "mine now"}'), ("share", '{"shared": true}')):
        assert status(stranger, "POST", f"/{act}", body) in (403, 404), act
    assert status(stranger, "POST", "/delete", '{"with_files": true}') in (403, 404)
    assert status(stranger, "GET", "/live") == 404 and status(stranger, "GET", "/files/lorasae.json") == 404

    assert status(owner, "POST", "/share", '{"shared": true}') == 200
    stranger.page.goto(f"{lab.address}/run?run={run}")
    expect(stranger.page.locator(".gap svg")).to_be_visible(timeout=SOON)
    expect(stranger.page.get_by_role("button", name="Stop…")).to_have_count(0)
    assert status(stranger, "POST", "/stop", "{}") == 403

    stranger.page.goto(f"{lab.address}/runs")
    expect(stranger.page.get_by_text("Example", exact=False).first).to_be_visible()
    expect(stranger.page.get_by_role("link", name=re.compile("my first repair", re.I))).to_have_count(0)
    assert status(owner, "POST", "/discard", "{}") == 200
    owner.clean()
