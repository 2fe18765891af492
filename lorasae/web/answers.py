"""JSON as the lab answers it: whatever a run folder or a model's output held, the browser can read it."""

import json
import math
from typing import Any

import orjson
from starlette.responses import Response


def encoded(content: Any) -> bytes:
    """JSON. What JSON has no number for becomes null; half a surrogate pair is written as an escape."""
    try:
        return orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS)
    except TypeError:
        return json.dumps(_finite(content), default=str).encode()


class Answer(Response):
    """A JSON answer that no cache keeps: it may be for this visitor alone."""

    media_type = "application/json"

    def __init__(self, content: Any, status_code: int = 200) -> None:
        super().__init__(content, status_code, headers={"cache-control": "no-store"})

    def render(self, content: Any) -> bytes:
        return encoded(content)


def _finite(content: Any) -> Any:
    if isinstance(content, dict):
        return {str(key): _finite(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return [_finite(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
