"""No secret is shown or logged."""

import io
import logging
import traceback

import pytest

from lorasae.redaction import RedactingFormatter, RedactingStream, redacted

SECRETS = [
    "hf_AbCdEfGhIjKlMnOpQrStUv",
    "Authorization: Bearer abcdefghijklmnop.qrst",
    "authorization': 'Bearer abcdefghijklmnop",
    "Bearer abcdefghijklmnop",
    '{"token": "abcdefghijklmnop"}',
    "HF_TOKEN=abcdefghijklmnop",
    "https://user:abcdefghijklmnop@host/x",
    "https://host/x?X-Amz-Signature=abcdefghijklmnop&a=b",
    "https://host/x?__sign=abcdefghijklmnop",
    "Cookie: lorasae_visitor=abcdefghijklmnop",
    "sk-abcdefghijklmnopqrst",
    "ghp_abcdefghijklmnopqrst",
    "password=abcdefghijklmnop",
]


@pytest.mark.parametrize("secret", SECRETS)
def test_what_looks_like_a_secret_is_taken_out(secret: str) -> None:
    shown = redacted(f"before {secret} after")
    assert "abcdefghijklmnop" not in shown.lower() and shown.startswith("before") and "…" in shown


@pytest.mark.parametrize(
    "line", ["12:00:01 training: step 5 of 144, 2,300 tokens/s", "loading google/gemma-2-2b at 12ab34cd", "mean KL per token reconstructed"]
)
def test_ordinary_lines_stay_as_they_are(line: str) -> None:
    assert redacted(line) == line


def test_a_traceback_in_the_log_is_redacted() -> None:
    try:
        raise RuntimeError("hf_AbCdEfGhIjKlMnOpQrStUv")
    except RuntimeError:
        record = logging.LogRecord("x", logging.ERROR, "x.py", 1, "it failed", None, __import__("sys").exc_info())
    told = RedactingFormatter().format(record)
    assert "RuntimeError" in told and "AbCdEf" not in told


def test_a_traceback_printed_past_the_log_is_redacted() -> None:
    written = io.StringIO()
    try:
        raise RuntimeError("hf_AbCdEfGhIjKlMnOpQrStUv")
    except RuntimeError:
        traceback.print_exc(file=RedactingStream(written))
    assert "RuntimeError: hf_…" in written.getvalue()
