"""replay.jsonl: what the pinned features did on the pinned text, and how far the predictions were from the original's, over training.

One frame per evaluation: {"step", "text", "tokens", "kl": [per token], "pins": [{"release", "sae_id", "feature", "hook_point", "acts"}]}.
Frames are written by lorasae/training/recorder.py; there is never more than one of a step.
"""

import json
from typing import Any

from lorasae.store.durable import json_lines, replace_file
from lorasae.store.run_folder import Run

Frame = dict[str, Any]


def frames(run: Run) -> list[Frame]:
    """All frames, oldest first; a damaged one is left out."""
    return [row for row in json_lines(run.replay) if isinstance(row.get("step"), int) and isinstance(row.get("kl"), list)]


def add_frame(run: Run, frame: Frame) -> None:
    """Add a frame; one of the same step or a later one, left by a process that was broken off, gives way."""
    earlier = [each for each in frames(run) if each["step"] < frame["step"]]
    replace_file(run.replay, "".join(json.dumps(each) + "\n" for each in (*earlier, frame)).encode())


def forget_frames_after(run: Run, step: int) -> None:
    """Drop the frames that a resumed run will record again."""
    if run.replay.exists():
        kept = [each for each in frames(run) if each["step"] <= step]
        replace_file(run.replay, "".join(json.dumps(each) + "\n" for each in kept).encode())


def replay_of(run: Run) -> dict[str, Any]:
    """What can be replayed: {"text", "tokens", "frames": [{"step", "kl", "pins"}]}, all on one text.

    The text may be changed during a run; shown are the frames on the text that is pinned now, or else on the one recorded last.
    """
    recorded = frames(run)
    if not recorded:
        return {"text": run.pins.text, "tokens": [], "frames": []}
    texts = {frame["text"] for frame in recorded}
    text = run.pins.text if run.pins.text in texts else recorded[-1]["text"]
    shown = [frame for frame in recorded if frame["text"] == text]
    return {"text": text, "tokens": shown[-1]["tokens"], "frames": [{key: f[key] for key in ("step", "kl", "pins")} for f in shown]}
