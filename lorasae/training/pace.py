"""How long the rest of a run will take: from its steps and measurements so far, evaluations still to come included."""

from collections import deque

from lorasae.config import RunConfig

_STEPS = 50  # the latest ones say how fast it goes now
_CONDITIONS_PART, _CONDITIONS_ALL = 2, 3  # measured during training, and at the end: the others are known from before it
_FORWARDS_PER_STEP = 4  # of one micro-batch: the original model, the adapted one, and a backward pass that costs two


class Pace:
    """What was seen of a run's speed, and what its training and its measurements took so far, earlier processes included."""

    def __init__(self) -> None:
        self.train_s = 0.0  # without evaluations and checkpoints, and without what others computed meanwhile
        self.evaluation_s = 0.0
        self.forward_s: float | None = None  # one micro-batch of held-out text under one condition
        self._steps: deque[float] = deque(maxlen=_STEPS)
        self._n_steps = 0
        self._evaluated: frozenset[int] = frozenset()
        self._n_batches_part = self._n_batches_all = self._micro_batches = 1

    def plan(self, config: RunConfig, n_heldout: int, n_part: int, at_once: int) -> None:
        """What is to be done, in micro-batches of `at_once` sequences."""
        self._n_steps, self._evaluated = config.n_steps, evaluated_steps(config)
        self._n_batches_all, self._n_batches_part, self._micro_batches = (
            -(-sequences // at_once) for sequences in (n_heldout, n_part, config.sequences_per_step)
        )

    def step_took(self, seconds: float) -> None:
        """One more step. The first of a process warms up; for the speed it is dropped once there is another."""
        self.train_s += seconds
        if len(self._steps) == 1:
            self._steps.clear()
            self._steps.append(seconds)
        self._steps.append(seconds)

    def measuring_took(self, seconds: float, n_batches: int, n_conditions: int) -> None:
        """One more measurement."""
        self.evaluation_s += seconds
        if n_batches:
            self.forward_s = seconds / (n_batches * n_conditions)

    @property
    def step_s(self) -> float | None:
        """Seconds per step, lately; None before there were two."""
        return sum(self._steps) / len(self._steps) if len(self._steps) > 1 else None

    @property
    def last_evaluation_s(self) -> float | None:
        """Seconds that the measurement at the end will take."""
        return self.forward_s * self._n_batches_all * _CONDITIONS_ALL if self.forward_s else None

    def left_s(self, done: int) -> float | None:
        """Seconds until the run is done, after `done` steps; None while nobody can say."""
        step_s = self.step_s
        if step_s is None:
            return None
        forward_s = self.forward_s or step_s / (_FORWARDS_PER_STEP * self._micro_batches)
        evaluations = sum(step > done for step in self._evaluated) * self._n_batches_part * _CONDITIONS_PART
        return step_s * (self._n_steps - done) + forward_s * (evaluations + self._n_batches_all * _CONDITIONS_ALL)


def evaluated_steps(config: RunConfig) -> frozenset[int]:
    """The steps after which a run measures itself: evenly spaced, the start and the end left out."""
    n = config.watch.evaluations
    return frozenset(round(config.n_steps * i / (n + 1)) for i in range(1, n + 1))
