"""Requests worked on in turns: who waits for whom, and who does not."""

import threading
import time

from lorasae.errors import LabError
from lorasae.inspection.turns import Request, Turns


def worked(*requests, then=()):
    """Everything that is told while the requests are worked on; `then` are orders given after the first piece."""
    told = []
    turns = Turns(told.append)
    orders = list(then)

    def tell(message):
        told.append(message)
        if "piece" in message:
            while orders:
                turns.orders.put(orders.pop(0))

    turns.tell = tell
    for request in requests:
        turns.orders.put(request)
    turns.run(idle_s=0.05)
    return told


def request(number, work, *, is_long=False, limit_s=10.0):
    return Request(number, work, limit_s, is_long)


def pieces(n, seconds=0.0):
    def work():
        for index in range(n):
            time.sleep(seconds)
            yield {"n": index}
        return {"sum": n}

    return work


def order_of(told):
    return [(message["id"], next(key for key in message if key != "id")) for message in told if "begun" not in message]


def test_two_long_requests_are_interleaved_and_each_ends_with_its_answer():
    told = worked(request(1, pieces(2), is_long=True), request(2, pieces(2), is_long=True))
    assert order_of(told) == [(1, "piece"), (2, "piece"), (1, "piece"), (2, "piece"), (1, "result"), (2, "result")]
    assert told[-1] == {"id": 2, "result": {"sum": 2}}


def test_a_short_request_waits_for_one_piece_of_a_long_one_and_not_for_its_end():
    told = worked(request(1, pieces(5), is_long=True), then=[request(2, lambda: {"quick": True}), request(3, lambda: {"quick": True})])
    assert order_of(told)[:5] == [(1, "piece"), (2, "result"), (1, "piece"), (3, "result"), (1, "piece")]


def test_what_is_given_up_is_not_worked_on_and_cleans_up_after_itself():
    closed = []

    def work():
        try:
            while True:
                yield {}
        finally:
            closed.append(True)

    told = worked(request(1, work, is_long=True), then=[1])
    assert order_of(told) == [(1, "piece")] and closed == [True]
    assert worked(1) == []  # of an unknown number nobody hears


def test_a_problem_is_told_and_a_bug_ends_its_own_request_alone(capsys):
    def problem():
        raise LabError("asked", "found", "remedy")

    def bug():
        yield {}
        raise ZeroDivisionError("oh")

    told = worked(request(1, problem), request(2, bug, is_long=True), request(3, lambda: {"fine": 1}))
    assert {"id": 1, "problem": ["asked", "found", "remedy"]} in told
    assert {"id": 2, "failed": "ZeroDivisionError: oh"} in told and {"id": 3, "result": {"fine": 1}} in told
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_working_time_is_limited_and_waiting_is_not_counted():
    told = worked(request(1, pieces(50, 0.02), is_long=True, limit_s=0.1), request(2, pieces(9, 0.02), is_long=True, limit_s=1.0))
    (ending,) = [message for message in told if message["id"] == 1 and "problem" in message]
    assert "s of work" in ending["problem"][1] and {"id": 2, "result": {"sum": 9}} in told


def test_a_request_in_the_instant_of_going_home_is_still_answered():
    told = []
    turns = Turns(told.append)
    thread = threading.Thread(target=lambda: turns.run(idle_s=0.2))
    thread.start()
    for number in range(3):
        time.sleep(0.1)
        turns.orders.put(request(number, lambda: {}))
    thread.join(2)
    assert not thread.is_alive() and len([message for message in told if "result" in message]) == 3
