"""Whether a run's process still gets somewhere: seen from outside, in what it writes."""

from lorasae.store.run_folder import Run
from lorasae.store.run_records import Status

_QUIET_S = {"training": 120.0, "measuring": 600.0, "evaluating": 600.0}  # without a sign of life
_QUIET_ELSE_S = 1800.0  # loading, downloading, reading, saving: they tell nothing while they work
_STEPS_OF_QUIET = 20


def patience(told: Status) -> float:
    """How many seconds the process may show no sign of life, doing what it said it does."""
    return max(_QUIET_S.get(told.phase, _QUIET_ELSE_S), _STEPS_OF_QUIET * (told.step_s or 0.0))


def sign_of_life(run: Run) -> tuple[int, ...]:
    """Changes whenever the process writes anything: status, metrics, or a line of its log such as the progress of a download."""
    times = []
    for path in (run.status_file, run.metrics_file, run.log):
        try:
            times.append(path.stat().st_mtime_ns)
        except OSError:
            times.append(0)
    return tuple(times)
