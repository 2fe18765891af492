"""What a run leaves can be taken away, always as a file, and a spreadsheet runs none of it."""

import io
import json
import zipfile

import pytest
import yaml

from lorasae.config import run_config
from lorasae.web.downloads import FILES
from tests.web.conftest import World


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_file_is_an_attachment_of_a_safe_name(local: World, name: str) -> None:
    run = local.run(name='"; filename=evil.html\r\n')
    local.finish(run)
    answer = local.client().get(f"/lab/runs/{run.run_id}/files/{name}")
    assert answer.status_code == 200
    assert answer.headers["content-disposition"] == f'attachment; filename="{run.run_id}-{name}"'
    assert answer.headers["x-content-type-options"] == "nosniff" and answer.headers["cache-control"] == "no-store"


def test_metrics_as_a_table_and_as_json_hold_every_row(local: World) -> None:
    run = local.run(n_rows=3000)
    run.append_metrics({"step": 3000, "gap_closed": 0.5, "note": "=cmd|' /C calc'!A0"})
    with run.metrics_file.open("a") as file:
        file.write('{"step": 3001, "gap_closed": NaN}\n{"torn')
    client = local.client()
    table = client.get(f"/lab/runs/{run.run_id}/files/metrics.csv").text.splitlines()
    assert table[0] == "step,gap_closed,kl_train,tokens_per_s,note" and len(table) == 3003
    assert table[-2] == "3000,0.5,,,'=cmd|' /C calc'!A0"
    told = json.loads(client.get(f"/lab/runs/{run.run_id}/files/metrics.json").text)
    assert len(told) == 3002 and told[-1] == {"step": 3001, "gap_closed": None}


def test_a_run_without_metrics_gives_an_empty_table(local: World) -> None:
    run = local.run(n_rows=0)
    assert local.client().get(f"/lab/runs/{run.run_id}/files/metrics.csv").text == "step\n"
    assert local.client().get(f"/lab/runs/{run.run_id}/files/metrics.json").json() == []


def test_settings_taken_away_start_the_same_run(local: World) -> None:
    run = local.run()
    text = local.client().get(f"/lab/runs/{run.run_id}/files/config.yaml").text
    assert run_config(yaml.safe_load(text)) == run.config


def test_an_adapter_taken_away_is_the_adapter(local: World) -> None:
    run = local.run()
    local.finish(run)
    (run.adapter / "link").symlink_to("/etc/passwd")
    archive = zipfile.ZipFile(io.BytesIO(local.client().get(f"/lab/runs/{run.run_id}/files/adapter.zip").content))
    assert archive.testzip() is None
    expected = {f"{run.run_id}/{name}" for name in ("adapter_config.json", "adapter_model.safetensors", "lorasae.json")}
    assert set(archive.namelist()) == expected
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert archive.read(f"{run.run_id}/{name}") == (run.adapter / name).read_bytes()


@pytest.mark.parametrize("name", ["adapter.zip", "lorasae.json"])
def test_what_is_not_there_yet_is_told_before_anything_is_sent(local: World, name: str) -> None:
    answer = local.client().get(f"/lab/runs/{local.run().run_id}/files/{name}")
    assert answer.status_code == 404 and "none yet" in answer.json()["problem"]
    assert "content-disposition" not in answer.headers


@pytest.mark.parametrize(
    "name", ["status.json", "about.json", "lock", "heldout.npy", "..%2f..%2fetc%2fpasswd", "metrics.csv%00", "METRICS.CSV", "a" * 3000]
)
def test_no_other_file_of_the_folder_is_given(local: World, name: str) -> None:
    assert local.client().get(f"/lab/runs/{local.run().run_id}/files/{name}").status_code == 404


def test_a_log_taken_away_holds_no_secret(local: World) -> None:
    run = local.run()
    run.log.write_text("token=abcdefghijklmnopqrst https://user:pw@host/ hf_abcdefghijk\n")
    text = local.client().get(f"/lab/runs/{run.run_id}/files/run.log").text
    assert "abcdefghijk" not in text and "pw@" not in text
