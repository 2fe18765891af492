"""Requests worked on in turns by one thread: short ones first, long ones a step at a time, so that none waits for another's end.

A request's work is a function that answers at once, or a generator that yields pieces and returns its answer. A generator must leave
nothing switched between two pieces: another request uses the same model meanwhile.
"""

import sys
import time
import traceback
from collections import deque
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import Any

from lorasae.errors import LabError
from lorasae.store.device_turns import Turn

LOOK_S = 0.5  # between two looks, when idle, at whether the memory is wanted
Message = dict[str, Any]
Pieces = Generator[Message, None, Message]


@dataclass
class Request:
    """One request and what is left of its work."""

    number: int
    work: Callable[[], Message | Pieces]
    limit_s: float  # of working time, waiting not counted
    is_long: bool
    pieces: Pieces | None = None
    worked_s: float = 0.0
    on_device: bool = False  # whether its next step needs the device that a job may want too


@dataclass
class Turns:
    """The requests under way. Other threads put orders into `orders`: a Request, or the number of one to give up."""

    tell: Callable[[Message], None]
    device: Turn = field(default_factory=Turn)  # taken by a request's work once it has opened its run; given back after every step
    is_wanted: Callable[[], bool] = lambda: False  # asked when idle: whether somebody else wants the memory that is held here
    orders: "SimpleQueue[Request | int]" = field(default_factory=SimpleQueue)
    _short: deque[Request] = field(default_factory=deque)
    _long: deque[Request] = field(default_factory=deque)

    def run(self, idle_s: float) -> None:
        """Work until there was nothing to do for idle_s, or nothing to do and the memory wanted elsewhere."""
        while self._receive(idle_s):
            if self._short:
                self._turn(self._short)
            if self._long:
                self._turn(self._long)

    def _receive(self, idle_s: float) -> bool:
        """Take in what was ordered, waiting for it only when there is nothing else to do."""
        try:
            if not self._short and not self._long:
                self._order(self._awaited(idle_s))
            while True:
                self._order(self.orders.get_nowait())
        except Empty:
            return bool(self._short or self._long) or not self.orders.empty() or idle_s == float("inf")

    def _awaited(self, idle_s: float) -> Request | int:
        """What is ordered next.

        Raises:
            Empty: If it is time to go.
        """
        until = time.monotonic() + idle_s
        while True:
            try:
                return self.orders.get(timeout=max(0.0, min(LOOK_S, until - time.monotonic())))
            except Empty:
                if time.monotonic() >= until or self.is_wanted():
                    raise

    def _order(self, order: Request | int) -> None:
        if isinstance(order, Request):
            (self._long if order.is_long else self._short).append(order)
            return
        for queue in (self._short, self._long):
            for request in [each for each in queue if each.number == order]:
                queue.remove(request)
                if request.pieces is not None:
                    request.pieces.close()

    def _turn(self, queue: deque[Request]) -> None:
        """One step of the first request in the queue; what is not finished goes to its end."""
        request = queue.popleft()
        if request.on_device:
            self.device.take()
        started = time.monotonic()
        try:
            answer = self._step(request)
        except LabError as error:
            answer = {"problem": [error.asked, error.found, error.remedy]}
        except Exception as error:  # noqa: BLE001  # a bug of ours must not end the others' requests
            traceback.print_exc(file=sys.stderr)
            answer = {"failed": f"{type(error).__name__}: {error}"[:500]}
        finally:
            request.on_device = self.device.give_back()
        request.worked_s += time.monotonic() - started
        if answer is None and request.worked_s > request.limit_s:
            found = f"It has taken {request.worked_s:.0f} s of work"
            answer = {"problem": ["Something was to be inspected", found, "Ask for less: a shorter text, fewer tokens, a smaller model"]}
        if answer is None:
            queue.append(request)
        else:
            self.tell({"id": request.number, **answer})

    def _step(self, request: Request) -> Message | None:
        """The answer, or None if there is more to do."""
        if request.pieces is None:
            self.tell({"id": request.number, "begun": True})
            begun = request.work()
            if isinstance(begun, dict):
                return {"result": begun}
            request.pieces = begun
        try:
            piece = next(request.pieces)
        except StopIteration as end:
            return {"result": end.value}
        self.tell({"id": request.number, "piece": piece})
        return None
