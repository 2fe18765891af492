"""Who is told what about the whole lab."""

from dataclasses import replace
from pathlib import Path

import pytest

from lorasae.keeping.keeper import Keeper
from lorasae.keeping.place import Place
from lorasae.settings import LabSettings
from lorasae.web.notices import may_have_notices
from tests.web.conftest import make_world

KEPT = Place(Path("/data/lorasae"), Path("/data"))


def told(home: Path, **settings) -> list[dict]:
    world = make_world(home, "visitors")
    world.lab.settings = replace(world.lab.settings, **settings)
    if settings.get("keep"):
        world.lab.keeper = Keeper(world.lab.store, settings["keep"])
        world.lab.keeper.look()
    return world.client("A").get("/lab/notices").json()["notices"]


def keys(found: list[dict]) -> list[str]:
    return [each["key"] for each in found]


def test_a_space_with_a_bucket_has_nothing_to_say(home):
    assert told(home, space="alice/lab", keep=Place(home.parent / "bucket")) == []


@pytest.mark.parametrize("keep", [None, Place(Path("/tmp/lorasae-nowhere"), is_doubtful=True)], ids=["none", "doubtful"])
def test_a_space_without_one_says_that_runs_are_lost(home, keep):
    assert keys(told(home, space="alice/lab", keep=keep))[0] == "no-bucket"


def test_visitors_are_told_that_nothing_is_saved_and_not_where(home):
    (found,) = told(home, space="alice/lab", keep=KEPT)
    assert found["key"] == "not-kept" and "/data" not in str(found["text"]) and found["link"].endswith("docs/space.md#storage")


def test_the_machines_own_user_is_told_where_and_why(home):
    (found,) = told(home, access="local", keep=KEPT)
    assert "Runs are not being copied to /data/lorasae: /data is not connected any more." in found["text"]


def test_on_zero_gpu_there_is_one_notice_and_not_two(home):
    assert keys(told(home, space="alice/lab", zero_gpu=True)) == ["zero-gpu"]


def test_a_lab_on_ones_own_machine_is_never_asked(home):
    settings = LabSettings(home, "local", "127.0.0.1", 7860, ())
    assert not may_have_notices(settings)
    assert may_have_notices(replace(settings, keep=KEPT)) and may_have_notices(replace(settings, space="alice/lab"))
