"""Text to tokens: the split by document, the order of chunks, and files that cannot be read."""

import json

import numpy as np
import pytest
import torch

from lorasae.config import DataConfig
from lorasae.errors import LabError
from lorasae.sources.data import documents, is_heldout, micro_batches, prepare, step_chunks


class ByteTokenizer:
    """Bytes as tokens, 1 as BOS and 2 as EOS."""

    bos_token_id, eos_token_id = 1, 2

    def __call__(self, texts, add_special_tokens):
        assert not add_special_tokens
        return {"input_ids": [[byte + 3 for byte in text.encode()] for text in texts]}

    @staticmethod
    def documents_in(chunks):
        """The texts of packed chunks; the first and last of the stream may be cut."""
        stream = [int(token) for chunk in chunks for token in chunk if token != 1]
        texts, current = [], []
        for token in stream:
            if token == 2:
                texts.append(bytes(current).decode())
                current = []
            else:
                current.append(token - 3)
        return texts


def text_file(tmp_path, n=200):
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(f"Document {i} tells of {i * i}." for i in range(n)))
    return path


def config(source, **changes):
    return DataConfig(**{"source": str(source), "context_length": 32, "heldout_tokens": 128, **changes})


def test_no_document_stands_on_both_sides(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(f"Document {i % 40}." for i in range(400)))  # every document ten times over
    corpus = prepare(config(path, heldout_tokens=10_000), ByteTokenizer(), 100_000)
    train, heldout = (set(ByteTokenizer.documents_in(chunks)) for chunks in (corpus.train, corpus.heldout))
    assert train and heldout and not train & heldout
    assert all(is_heldout(text) for text in heldout) and not any(is_heldout(text) for text in train)


def test_the_heldout_text_does_not_depend_on_how_much_is_trained_on(tmp_path):
    path = text_file(tmp_path)
    small, large = (prepare(config(path), ByteTokenizer(), tokens) for tokens in (64, 2048))
    assert np.array_equal(small.heldout, large.heldout)
    assert len(small.train) == 2 and len(large.train) == 64


def test_every_chunk_begins_with_bos_and_the_fingerprint_knows_the_text(tmp_path):
    path = text_file(tmp_path)
    corpus = prepare(config(path), ByteTokenizer(), 512)
    assert (corpus.train[:, 0] == 1).all() and corpus.train.shape == (16, 32)
    assert corpus.fingerprint == prepare(config(path), ByteTokenizer(), 512).fingerprint
    path.write_text(path.read_text().replace("tells", "speaks"))
    assert corpus.fingerprint != prepare(config(path), ByteTokenizer(), 512).fingerprint


def test_what_a_step_sees_is_a_function_of_seed_and_step_alone():
    chunks = np.arange(40, dtype=np.int32).reshape(10, 4)
    assert torch.equal(step_chunks(chunks, 7, 3, 4), step_chunks(chunks, 7, 3, 4))
    assert not torch.equal(step_chunks(chunks, 7, 3, 4), step_chunks(chunks, 8, 3, 4))


def test_an_epoch_sees_every_chunk_once_and_the_next_in_another_order():
    chunks = np.arange(10, dtype=np.int32)[:, None]
    seen = torch.cat([step_chunks(chunks, 0, step, 4) for step in range(5)]).flatten().tolist()
    assert sorted(seen[:10]) == sorted(seen[10:]) == list(range(10))
    assert seen[:10] != seen[10:]


def test_micro_batches_cover_the_chunks_in_order():
    chunks = np.arange(20, dtype=np.int32).reshape(10, 2)
    batches = list(micro_batches(chunks, 4, torch.device("cpu")))
    assert [len(batch) for batch in batches] == [4, 4, 2] and torch.equal(torch.cat(batches), torch.from_numpy(chunks).long())


def test_documents_of_a_text_file_lie_between_blank_lines(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("one\nstill one\n\n\n  \ntwo\n")
    assert list(documents(config(path))) == ["one\nstill one", "two"]


def test_documents_of_a_jsonl_file_come_from_the_named_column(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps({"body": text}) for text in ("one", "two", "  ")))
    assert list(documents(config(path, column="body"))) == ["one", "two"]


def test_a_local_dataset_is_streamed_through_the_datasets_library(tmp_path):
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "train.jsonl").write_text("\n".join(json.dumps({"text": f"row {i}"}) for i in range(5)))
    assert list(documents(config(folder))) == [f"row {i}" for i in range(5)]
    with pytest.raises(LabError, match="no text under 'body'; they have: text"):
        list(documents(config(folder, column="body")))


def dataset_of(tmp_path, rows: list[dict]) -> DataConfig:
    folder = tmp_path / "dataset"
    folder.mkdir()
    (folder / "train.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    return DataConfig(source=str(folder), column="body")


def test_rows_without_text_are_passed_over_but_not_a_column_that_is_not_there(tmp_path):
    config = dataset_of(tmp_path, [{"body": "one"}, {"body": None}, {"body": "two"}])
    assert list(documents(config)) == ["one", "two"]
    with pytest.raises(LabError, match="no text under 'text'; they have: body"):
        list(documents(config.model_copy(update={"column": "text"})))


def test_a_dataset_made_by_a_script_is_refused_and_the_script_not_run(tmp_path, monkeypatch):
    folder = tmp_path / "scripted"
    folder.mkdir()
    (folder / "scripted.py").write_text("raise SystemExit('code of a stranger')")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LabError, match="script of its publisher's"):
        list(documents(DataConfig(source="scripted")))


def test_a_split_that_is_not_there_is_told(tmp_path):
    with pytest.raises(LabError, match="Bad split: nosuch"):
        list(documents(dataset_of(tmp_path, [{"body": "one"}]).model_copy(update={"split": "nosuch"})))


def test_a_dataset_of_the_hub_that_cannot_be_reached_is_told():
    with pytest.raises(LabError, match="Text from the dataset 'nobody/has-this' was asked for"):
        list(documents(DataConfig(source="nobody/has-this", config_name="small")))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("missing.txt", None, "There is no such file"),
        ("empty.txt", b"", "The file is empty"),
        ("binary.txt", b"\x7fELF\x00\x01\x02", "binary"),
        ("latin.txt", "größe".encode("latin-1"), "not UTF-8"),
        ("short.txt", b"too short", "not one full chunk of 32 tokens"),
        ("blank.txt", b"\n \n\n", "not one full chunk"),
        ("table.xlsx", b"a,b", r"Files ending in \.xlsx are not read"),
        ("table.csv", b"a,b\n1,2", "Line 2 has no text under 'text'; it has: a, b"),
        ("ragged.csv", b"text\n1,2", "Line 2 has 2 fields, the first line names 1"),
        ("broken.jsonl", b'{"text": "fine"}\n{oops', "Line 2 is not JSON"),
        ("other.jsonl", b'{"body": "fine"}', "Line 1 has no text under 'text'; it has: body"),
        ("list.jsonl", b"[1]", "Line 1 has no text"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_a_sentence(tmp_path, name, content, sentence):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(LabError, match=sentence):
        prepare(config(path), ByteTokenizer(), 512)


def test_a_name_that_is_nothing_is_refused_in_a_sentence():
    with pytest.raises(LabError, match="neither a file, nor a folder, nor a dataset id"):
        prepare(config("what is this"), ByteTokenizer(), 512)
