"""Catalog, estimates and uploads over HTTP: for whoever may, in sentences where something is wrong."""

import pytest
from starlette.testclient import TestClient

from lorasae.config import RunConfig
from tests.web.conftest import World

CONFIG = RunConfig().model_dump(mode="json")
ORIGIN = {"origin": "http://127.0.0.1"}


def told(client: TestClient, address: str, **json: object) -> str:
    answer = client.post(address, json=json, headers=ORIGIN)
    assert answer.status_code == 400, answer.text
    return answer.json()["problem"]


def test_the_pocket_model_is_the_first_of_the_catalog(local: World) -> None:
    models = local.client().get("/lab/catalog").json()["models"]
    assert models[0] == {"model": "pocket", "n_saes": 18, "needs_hub": False}
    assert "google/gemma-2-2b" in [each["model"] for each in models[1:]] and all(each["needs_hub"] for each in models[1:])


def test_a_models_saes_are_told_by_either_of_its_names(local: World) -> None:
    client = local.client()
    short, full = (client.get("/lab/catalog/saes", params={"model": name}).json() for name in ("gemma-2-2b", "google/gemma-2-2b"))
    assert short == full and len(full["saes"]) > 900
    assert {"layer", "site", "d_sae", "l0", "release", "sae_id"} <= set(full["saes"][0])


def test_an_estimate_says_steps_memory_and_time_and_where_they_come_from(local: World) -> None:
    found = local.client().post("/lab/estimate", json={"config": CONFIG}, headers=ORIGIN).json()
    assert found["n_steps"] == 144 and found["n_trained"] == 165_888 and found["known_from"] == "assumed"
    assert found["memory"]["verdict"] == "fits" and found["time"]["total_s"] > 0 and found["cannot_measure"] is None


def test_a_measurement_is_not_begun_while_a_run_trains(local: World) -> None:
    run = local.run()
    local.lab.index.change(run.run_id, job="running")
    answer = local.client().post("/lab/estimate/measure", json={"config": CONFIG}, headers=ORIGIN).json()
    assert "A run is training" in answer["cannot_measure"] and answer["known_from"] == "assumed"


@pytest.mark.parametrize("address", ["/lab/estimate", "/lab/estimate/measure", "/lab/preview"])
def test_visitors_ask_about_no_file_of_the_machine(open_to_visitors: World, address: str) -> None:
    config = {**CONFIG, "data": {**CONFIG["data"], "source": "/etc/hostname"}}
    assert "visitors cannot name files" in told(open_to_visitors.client("A"), address, config=config)


def test_settings_that_mean_nothing_are_told(local: World) -> None:
    assert "There is no such setting" in told(local.client(), "/lab/estimate", config={"trian": {}})
    assert "config was given" in told(local.client(), "/lab/estimate")


def test_an_upload_is_its_owners_alone(open_to_visitors: World) -> None:
    answer = open_to_visitors.client("A").post("/lab/uploads?name=a.txt", content=b"One day.\n\nThe end.", headers=ORIGIN)
    kept = answer.json()
    assert answer.status_code == 200 and kept["n_documents"] == 2
    config = {**CONFIG, "data": {**CONFIG["data"], "source": kept["path"]}}
    assert open_to_visitors.client("A").post("/lab/estimate", json={"config": config}, headers=ORIGIN).status_code == 200
    assert "visitors cannot name files" in told(open_to_visitors.client("B"), "/lab/estimate", config=config)


def test_a_bad_upload_is_told(local: World) -> None:
    answer = local.client().post("/lab/uploads?name=a.txt", content=b"\0", headers=ORIGIN)
    assert answer.status_code == 400 and "zero bytes" in answer.json()["problem"]
