"""The app is killed and started again in mid-run: the run goes on, and the page that was open comes back by itself."""

import re

from playwright.sync_api import expect

from tests.browser.conftest import LabProcess
from tests.browser.test_first_visit import SOON, points, start_the_pocket_repair, wait_for_points


def test_a_page_survives_a_killed_app(visit, tmp_path):
    lab = LabProcess(tmp_path / "home").start()
    try:
        page = visit("/", of=lab).page
        run = start_the_pocket_repair(page)
        before = wait_for_points(page, 3)
        lab.kill()
        expect(page.get_by_text(re.compile("reconnects by itself"))).to_be_visible(timeout=SOON)
        lab.start()
        assert wait_for_points(page, before) > before
        expect(page.get_by_text(re.compile("reconnects by itself"))).to_be_hidden(timeout=SOON)
        assert len(list((tmp_path / "home" / "runs").iterdir())) == 1, "nothing doubled"

        # Stopped politely, the run is kept and goes on with the next start.
        lab.stop()
        lab.start()
        page.goto(f"{lab.address}/run?run={run}")
        again = points(page)
        assert wait_for_points(page, max(again, before)) > before
        page.get_by_role("button", name="Stop…").click()
        page.get_by_role("dialog").get_by_role("button", name="Discard").click()
        page.wait_for_url(re.compile("/runs"))
        assert not (tmp_path / "home" / "runs" / run).exists()
    finally:
        lab.stop()
