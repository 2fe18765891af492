"""Datasets offered by name, in the layouts they have on the Hub: streamed, found by both names, wrong columns told."""

import importlib.util
import io
import json
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from lorasae.cli.main import parser
from lorasae.cli.settings import config_from
from lorasae.sources.hub_problems import gate_told
from lorasae.sources.known_datasets import KNOWN_DATASETS, known_dataset
from tests.hub.client import run_client
from tests.hub.server import local_hub

TEXTS = [f"The document number {number}." for number in range(40)]
READER = """
import json, sys
from itertools import islice
from lorasae.config import DataConfig
from lorasae.errors import LabError
from lorasae.sources.data import documents

told = {}
for name, settings in json.loads(sys.argv[1]).items():
    try:
        told[name] = list(islice(documents(DataConfig(**settings)), 40))
    except LabError as problem:
        told[name] = str(problem)
print(json.dumps(told))
"""


def parquet(texts: list[str]) -> bytes:
    held = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"text": texts, "meta": [{"redpajama_set_name": "RedPajamaC4"}] * len(texts)}), held)
    return held.getvalue()


def layouts() -> dict[str, dict[str, bytes]]:
    """Files of each as they lie on the Hub, few and small."""
    rows = "".join(json.dumps({"text": text, "meta": {"pile_set_name": "Pile-CC"}}) + "\n" for text in TEXTS).encode()
    fineweb = "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: data/*/*\n"
    fineweb += "- config_name: sample-10BT\n  data_files:\n  - split: train\n    path: sample/10BT/*\n---\n"
    found = {
        "DKYoon/SlimPajama-6B": {
            "data/train-00000-of-00002-ab.parquet": parquet(TEXTS[:20]),
            "data/train-00001-of-00002-cd.parquet": parquet(TEXTS[20:]),
            "data/validation-00000-of-00001-ef.parquet": parquet(["validation"]),
        },
        "HuggingFaceFW/fineweb": {
            "README.md": fineweb.encode(),
            "data/CC-MAIN-2013-20/000_00000.parquet": parquet(["of another configuration"]),
            "sample/10BT/000_00000.parquet": parquet(TEXTS),
        },
        "roneneldan/TinyStories": {"data/train-00000-of-00001-ab.parquet": parquet(TEXTS)},
        "togethercomputer/RedPajama-Data-1T-Sample": {
            "RedPajama-Data-1T-Sample.py": b"raise SystemExit('code of a stranger')",
            "arxiv_sample.jsonl": rows,
        },
    }
    if importlib.util.find_spec("zstandard"):
        import zstandard  # type: ignore[import-not-found]  # in requirements.txt

        found["monology/pile-uncopyrighted"] = {
            name: zstandard.compress(rows) for name in ("train/00.jsonl.zst", "train/01.jsonl.zst", "val.jsonl.zst", "test.jsonl.zst")
        }
    return found


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str] | str]:
    """What a process that knows this Hub only reads of each, and of wrong ones."""
    root = tmp_path_factory.mktemp("datasets")
    with local_hub(root / "hub") as hub:
        for repo_id, files in layouts().items():
            hub.publish(files, repo_id, "dataset")
        asked = {each.name: each.settings for each in KNOWN_DATASETS}
        asked["wrong column"] = {**asked["redpajama"], "column": "content"}
        asked["wrong split"] = {**asked["redpajama"], "split": "dev"}
        hub.publish({"data.jsonl": b'{"text": "a"}'}, "bob/closed", "dataset", gated="manual")
        hub.publish({"data.jsonl": b'{"text": "a"}'}, "bob/hidden", "dataset", private=True)
        asked |= {"gated": {"source": "bob/closed"}, "private": {"source": "bob/hidden"}}
        asked["script"] = {"source": "togethercomputer/RedPajama-Data-1T-Sample"}
        said = run_client(READER, json.dumps(asked), environment=hub.environment(root / "cache"))
    return json.loads(said.stdout.splitlines()[-1])


@pytest.mark.parametrize("name", [each.name for each in KNOWN_DATASETS])
def test_a_known_dataset_is_streamed(told: dict[str, list[str] | str], name: str) -> None:
    if name == "pile" and importlib.util.find_spec("zstandard") is None:
        pytest.skip("zstandard of requirements.txt is not installed here")
    assert told[name] == TEXTS


def test_a_wrong_column_is_refused_with_those_that_exist(told: dict[str, list[str] | str]) -> None:
    assert "Its rows have no text under 'content'; they have: text, meta. Set data.column to one of these." in told["wrong column"]


def test_a_wrong_split_and_a_script_are_refused_in_a_sentence(told: dict[str, list[str] | str]) -> None:
    assert "dev" in told["wrong split"] and "Check the id, its configuration and split" in told["wrong split"]
    assert "no code is fetched and run" in told["script"] and "monology/pile-uncopyrighted" in told["script"]


@pytest.mark.parametrize("known", KNOWN_DATASETS, ids=lambda known: known.name)
def test_the_terminal_takes_both_names(known) -> None:
    for name in (known.name, known.source):
        config = config_from(parser().parse_args(["adapt", "--data", name]))
        assert config.data.model_dump(include=set(known.settings)) == known.settings
    assert known_dataset("org/mine") is None


def test_what_is_said_of_them_is_complete() -> None:
    assert all(each.about and each.licence and Path(each.source).parts != () for each in KNOWN_DATASETS)
    assert len({each.name for each in KNOWN_DATASETS}) == len({each.source for each in KNOWN_DATASETS}) == len(KNOWN_DATASETS)


def test_what_to_do_about_a_closed_dataset_depends_on_who_asks(told: dict[str, list[str] | str]) -> None:
    assert "https://huggingface.co/datasets/bob/closed, then log in with hf auth login" in told["gated"]
    assert "dataset on the Hub that you may see" in told["private"] and "if it is private, log in with hf auth login" in told["private"]
    assert "with the account in use, then try again" in gate_told("bob/closed", has_token=True, kind="datasets/")[1]
