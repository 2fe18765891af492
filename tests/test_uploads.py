"""Text that people bring is checked and kept; visitors reach no other file of the machine."""

import pytest

from lorasae.config import run_config
from lorasae.errors import LabError
from lorasae.identity import LOCAL_OWNER, NOBODY
from lorasae.planning.uploads import MAX_BYTES, MAX_FILES, keep, refuse_foreign_files, refuse_too_little_text
from lorasae.sources.data import documents


def test_a_text_is_kept_under_its_content_and_read_as_the_documents_it_states(tmp_path):
    kept = keep(tmp_path, "visitor-1", "story.txt", b"One day.\nIt rained.\n\n\nThe end.\n")
    again = keep(tmp_path, "visitor-1", "other name.txt", b"One day.\nIt rained.\n\n\nThe end.\n")
    assert kept.path == again.path and kept.path.parent == tmp_path / "uploads" / "visitor-1"
    read = list(documents(run_config({"data": {"source": str(kept.path)}}).data))
    assert read == ["One day.\nIt rained.", "The end."] and kept.n_documents == 2


def test_json_lines_tell_which_fields_hold_text_in_every_row(tmp_path):
    kept = keep(tmp_path, "local", "rows.jsonl", b'{"id": 1, "body": "a", "text": "b"}\n\n{"body": "c", "text": "d", "x": "y"}\n')
    assert kept.columns == ("text", "body") and kept.n_documents == 2


def test_a_csv_file_tells_its_columns_the_one_with_most_text_first_and_is_read_by_name(tmp_path):
    content = 'id,label,review\r\n1,good,"It rained, and\r\nthe ""cat"" sat."\r\n2,bad,Ünd so weiter\r\n'
    kept = keep(tmp_path, "local", "reviews.csv", b"\xef\xbb\xbf" + content.encode())
    assert kept.columns == ("review", "label", "id") and kept.n_documents == 2
    source = {"source": str(kept.path), "column": kept.columns[0]}
    assert list(documents(run_config({"data": source}).data)) == ['It rained, and\r\nthe "cat" sat.', "Ünd so weiter"]
    with pytest.raises(LabError, match="no text under 'text'; it has: id, label, review"):
        list(documents(run_config({"data": {**source, "column": "text"}}).data))


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.pdf", b"text", "Files ending in .pdf are not read"),
        ("a", b"text", "Files ending in nothing are not read"),
        ("a.txt", b"", "It is empty"),
        ("a.txt", b" \n ", "It is empty"),
        ("a.txt", b"a\0b", "zero bytes"),
        ("a.txt", "é".encode("latin-1"), "not UTF-8"),
        ("a.txt", b"a" * (MAX_BYTES + 1), "more than 20"),
        ("a.jsonl", b'{"text": "a"}\nnot json', "Line 2 is not JSON"),
        ("a.jsonl", b"[1]", "Line 1 is no JSON object"),
        ("a.csv", b"id,text\n1,a\n2,b,c\n", "Line 3 has 3 fields, the first line names 2"),
        ("a.csv", b"text,text\na,b\n", "Two of its columns are called 'text'"),
        ("a.csv", b"text\n", "It holds no row"),
        ("a.csv", b'text\n"never closed\n', "is not CSV"),
        ("a.csv", b"text\n" + b"a" * 200_000, "is not CSV"),
        ("a.jsonl", b'{"text": "a"}\n{"body": "b"}', "Up to line 2 no field holds text"),
    ],
)
def test_what_is_no_text_is_refused_in_a_sentence(tmp_path, name, content, found):
    with pytest.raises(LabError, match=found):
        keep(tmp_path, "local", name, content)
    assert not list(tmp_path.rglob("*.*"))


def test_a_name_cannot_lead_out_of_the_owners_folder(tmp_path):
    kept = keep(tmp_path, "visitor-1", "../../../etc/passwd.txt", b"text")
    assert kept.path.parent == tmp_path / "uploads" / "visitor-1"


@pytest.mark.parametrize(("name", "plain"), [("My story (2).txt", "My_story_2"), ("$(rm -rf).txt", "rm_-rf"), ("日記.txt", "text")])
def test_a_kept_text_is_known_by_its_name(tmp_path, name, plain):
    kept = keep(tmp_path, "visitor-1", name, b"text")
    assert kept.path.name.startswith(f"{plain}.") and kept.path.suffix == ".txt"


def test_a_browser_without_a_cookie_keeps_nothing(tmp_path):
    with pytest.raises(LabError, match="does not know whose it would be"):
        keep(tmp_path, NOBODY, "a.txt", b"text")


def test_a_visitor_keeps_a_bounded_number_of_texts(tmp_path):
    for index in range(MAX_FILES):
        keep(tmp_path, "visitor-1", "a.txt", b"text %d" % index)
    with pytest.raises(LabError, match="texts of yours already"):
        keep(tmp_path, "visitor-1", "a.txt", b"one more")
    keep(tmp_path, "visitor-1", "a.txt", b"text 0")
    keep(tmp_path, "visitor-2", "a.txt", b"one more")


def test_visitors_name_what_is_built_in_on_the_hub_or_their_own(tmp_path):
    own = keep(tmp_path, "visitor-1", "a.txt", b"text")
    for values in (
        {},
        {"data": {"source": "roneneldan/TinyStories"}},
        {"data": {"source": str(own.path)}},
        {"model": {"model": "openai-community/gpt2"}},
    ):
        refuse_foreign_files(run_config(values), "visitor-1", tmp_path)


@pytest.mark.parametrize(
    "values",
    [
        {"model": {"model": "/etc"}},
        {"model": {"model": "assets/demo/model"}},
        {"saes": [{"release": "assets/demo/saes/layer_1"}]},
        {"saes": [{"release": "pocket-scope", "sae_id": "../../x"}]},
        {"data": {"source": "/etc/hostname"}},
        {"data": {"source": "README.md"}},
        {"data": {"source": "~/notes.txt"}},
        {"data": {"source": "docs"}},
        {"data": {"source": "missing.jsonl"}},
    ],
)
def test_visitors_name_no_other_file_of_the_machine(values, tmp_path):
    config = run_config(values)
    with pytest.raises(LabError, match="visitors cannot name files"):
        refuse_foreign_files(config, "visitor-1", tmp_path)
    refuse_foreign_files(config, LOCAL_OWNER, tmp_path)


def test_the_upload_of_another_visitor_is_out_of_reach(tmp_path):
    other = keep(tmp_path, "visitor-2", "a.txt", b"text")
    with pytest.raises(LabError, match="visitors cannot name files"):
        refuse_foreign_files(run_config({"data": {"source": str(other.path)}}), "visitor-1", tmp_path)


# Whether a text is enough


def too_little(path, **data) -> str:
    with pytest.raises(LabError) as caught:
        refuse_too_little_text(run_config({"data": {"source": str(path), **data}}))
    return str(caught.value)


def test_a_text_that_cannot_fill_a_sequence_on_each_side_is_refused_by_its_name(tmp_path):
    kept = keep(tmp_path, "visitor-1", "small.txt", b"Hello there.")
    told = too_little(kept.path)
    assert told.startswith("The text small.txt was given. It has 12 bytes of text in 1 document: about 3 tokens. ")
    assert "128 tokens each at least. Give more documents" in told
    few = tmp_path / "few.jsonl"
    few.write_text('{"body": "One day a cat sat."}\n' * 3)
    assert "54 bytes of text in 3 documents: about 13 tokens" in too_little(few, column="body")
    assert "no text under 'text'" in too_little(few)
    assert "There is no such file" in too_little(tmp_path / "gone.txt")


def test_enough_text_passes_and_a_long_one_is_not_read_to_its_end(tmp_path):
    text = tmp_path / "text.txt"
    enough = b"a cat sat. " * 60 + b"\n\n" + b"a dog ran. " * 60
    text.write_bytes(enough + b"\n\n" + b"On and on.\n" * 10_000 + b"\xff")  # the last byte would be refused where it is read
    refuse_too_little_text(run_config({"data": {"source": str(text)}}))
    refuse_too_little_text(run_config({"data": {"source": "roneneldan/TinyStories"}}))
    refuse_too_little_text(run_config({}))


def test_a_text_that_grew_is_judged_anew(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("a cat sat.")
    too_little(text)
    text.write_text("a cat sat on the mat. " * 60 + "\n\n" + "The end. " * 60)
    refuse_too_little_text(run_config({"data": {"source": str(text)}}))
