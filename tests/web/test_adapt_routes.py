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


# Every SAE there is


def test_the_search_over_all_saes_answers_in_pages_with_counts(local: World) -> None:
    client = local.client()
    first = client.get("/lab/catalog/search", params={"q": "gemma-2-2b 16k residual l0 80"}).json()
    assert len(first["rows"]) == 50 < first["n_found"] and {row["d_sae"] for row in first["rows"]} == {16_384}
    assert {"value": "google/gemma-2-2b", "n": first["n_found"]} in first["facets"]["model"]
    second = client.get("/lab/catalog/search", params={"q": "gemma-2-2b 16k residual l0 80", "offset": 50}).json()
    assert second["rows"] and not {row["sae_id"] for row in second["rows"]} & {row["sae_id"] for row in first["rows"]}
    assert sum(each["n"] for each in first["refused"]) > 5000 and all(each["sentence"] for each in first["refused"])


def test_a_row_says_what_it_costs_to_have_it(local: World) -> None:
    client = local.client()
    (gemma,) = client.get("/lab/catalog/search", params={"q": "gemma-2-2b/12-gemmascope-res-16k/7"}).json()["rows"]
    assert gemma["gated"] and gemma["canonical"] and not gemma["here"] and not gemma["built_in"]
    assert gemma["n_bytes"] == pytest.approx(302e6, rel=0.01)  # params.npz of that folder
    assert gemma["neuronpedia"] == "https://www.neuronpedia.org/gemma-2-2b/12-gemmascope-res-16k/7"
    pocket = client.get("/lab/catalog/search", params={"model": "pocket"}).json()["rows"]
    assert len(pocket) == 18 and all(row["here"] and row["built_in"] and not row["gated"] for row in pocket)


@pytest.mark.parametrize("asked", [{"q": "x" * 501}, {"offset": -1}, {"offset": "a"}])
def test_a_search_out_of_bounds_is_refused(local: World, asked: dict[str, str]) -> None:
    assert local.client().get("/lab/catalog/search", params=asked).status_code in (400, 422)


def test_an_estimate_says_what_is_to_be_fetched_and_whether_one_must_sign_in(local: World) -> None:
    def download(model: str, release: str, sae_id: str) -> dict:
        config = {**CONFIG, "model": {**CONFIG["model"], "model": model}, "saes": [{"release": release, "sae_id": sae_id}]}
        config["data"] = {**CONFIG["data"], "context_length": 64}
        return local.client().post("/lab/estimate", json={"config": config}, headers=ORIGIN).json()["download"]

    small = download("openai-community/gpt2", "gpt2-small-res-jb", "blocks.8.hook_resid_pre")
    assert not small["gated"] and small["to_fetch_bytes"] == pytest.approx(0.65e9, rel=0.05)
    gemma = download("google/gemma-2-2b", "gemma-scope-2b-pt-res", "layer_12/width_16k/average_l0_82")
    assert gemma["gated"] and gemma["gate"].endswith("google/gemma-2-2b") and gemma["to_fetch_bytes"] == pytest.approx(10.8e9, rel=0.05)
    assert download("pocket", "pocket-scope", "layer_2/width_2k/average_l0_17") | {"parts": []} == {
        **{"parts": [], "to_fetch_bytes": 0, "n_unknown": 0, "gated": False, "gate": None}
    }
