"""The live stream: whole history first, then every row once and soon; whoever comes back misses nothing; whoever may not look is let go."""

import os
import socket
import time

import httpx
import pytest

from lorasae.store.metrics_file import place_from
from lorasae.store.run_records import Status
from lorasae.web import tail
from tests.web.conftest import Served, Stream, World, make_world, serve, write_rows


def begun(stream: Stream) -> Stream:
    stream.wait(lambda each: bool(each.named("history") and each.named("status")))
    return stream


def test_a_viewer_gets_the_history_and_the_status_first(served: Served) -> None:
    run = served.world.run("A", n_rows=5)
    stream = begun(Stream(served, run))
    assert [event.name for event in stream.events] == ["history", "status"]
    history = stream.events[0].data
    assert history["series"]["kl_train"] == [[0, 1, 2, 3, 4], [1 / (1 + step) for step in range(5)]]
    assert (history["n_rows"], history["last_step"]) == (5, 4)
    assert stream.events[1].data["state"] == "created"


def test_a_new_row_arrives_within_half_a_second(served: Served) -> None:
    run = served.world.run("A")
    stream = begun(Stream(served, run))
    for step in range(3, 8):
        written = time.monotonic()
        write_rows(run, step, step + 1)
        stream.wait(lambda each, step=step: each.steps()[-1] == step, 2)
        assert stream.named("rows")[-1].at - written < 0.5
    assert stream.steps() == list(range(8))


def test_a_run_without_metrics_yet_is_watched_from_its_first_row(served: Served) -> None:
    run = served.world.run("A", n_rows=0)
    stream = begun(Stream(served, run))
    write_rows(run, 0, 2)
    stream.wait(lambda each: each.steps() == [0, 1])


def test_a_row_half_written_is_sent_once_it_is_whole(served: Served) -> None:
    run = served.world.run("A")
    stream = begun(Stream(served, run))
    with run.metrics_file.open("a") as file:
        file.write('{"step": 3, "kl_')
        file.flush()
        time.sleep(0.4)
        assert stream.steps() == [0, 1, 2]
        file.write('train": 0.5}\n')
    stream.wait(lambda each: each.steps() == [0, 1, 2, 3])


def test_a_changed_status_is_told(served: Served) -> None:
    run = served.world.run("A")
    stream = begun(Stream(served, run))
    with run.claimed():
        run.write_status(Status("running", "training", 3, 144, 60.0, pid=os.getpid()))
        stream.wait(lambda each: each.named("status")[-1].data["phase"] == "training")
        assert stream.named("status")[-1].data["eta_s"] == 60.0


def test_who_comes_back_misses_nothing_and_gets_nothing_twice(served: Served) -> None:
    run = served.world.run("A")
    first = begun(Stream(served, run))
    write_rows(run, 3, 5)
    first.wait(lambda each: each.steps() == [0, 1, 2, 3, 4])
    place = first.named("rows")[-1].place
    first.close()
    write_rows(run, 5, 9)
    again = Stream(served, run, place=place)
    again.wait(lambda each: len(each.named("rows")) == 1 and bool(each.named("status")))
    assert [event.name for event in again.events] == ["rows", "status"]
    write_rows(run, 9, 10)
    again.wait(lambda each: each.steps()[-1] == 9)
    assert again.steps() == [5, 6, 7, 8, 9]


def test_a_new_event_source_names_its_place_in_the_address(served: Served) -> None:
    run = served.world.run("A")
    place = begun(Stream(served, run)).named("history")[0].place
    write_rows(run, 3, 4)
    again = Stream(served, run, after=place)
    again.wait(lambda each: bool(each.named("status")))
    assert again.steps() == [3]


@pytest.mark.parametrize("place", ["1-2-3", "nonsense", "-1-5-5", "9" * 79])
def test_a_place_that_is_none_gets_the_whole_history(served: Served, place: str) -> None:
    run = served.world.run("A")
    stream = begun(Stream(served, run, place=place))
    assert stream.steps() == [0, 1, 2]


def test_a_file_written_anew_is_a_new_history_for_all_who_watch(served: Served) -> None:
    """A resumed run drops the rows it will write again."""
    run = served.world.run("A", n_rows=10)
    streams = [begun(Stream(served, run)), begun(Stream(served, run, points=100))]
    run.forget_metrics_after(4)
    write_rows(run, 5, 7)
    for stream in streams:
        stream.wait(lambda each: each.steps() == [0, 1, 2, 3, 4, 5, 6])
        assert len(stream.named("history")) == 2


def test_who_comes_back_after_the_file_was_written_anew_gets_the_new_history(served: Served) -> None:
    run = served.world.run("A", n_rows=10)
    first = begun(Stream(served, run))
    place = first.named("history")[-1].place
    first.close()
    run.forget_metrics_after(4)
    write_rows(run, 50, 70)
    again = begun(Stream(served, run, place=place))
    assert again.steps() == [0, 1, 2, 3, 4, *range(50, 70)]


def test_the_history_is_thinned_to_what_was_asked_for(served: Served) -> None:
    run = served.world.run("A", n_rows=2000)
    for points, most in ((100, 100), (777, 500), (1500, 1500)):
        stream = begun(Stream(served, run, points=points))
        assert most / 2 < len(stream.steps()) <= most
        assert (stream.steps()[0], stream.steps()[-1]) == (0, 1999)


def test_many_who_watch_get_the_same(served: Served) -> None:
    run = served.world.run("A", shared=True)
    streams = [begun(Stream(served, run, who)) for who in ("A", "B", "nobody") * 7]
    write_rows(run, 3, 6)
    for stream in streams:
        stream.wait(lambda each: each.steps() == list(range(6)))
    assert served.world.web.live.n_watching == 21


def test_nothing_is_read_for_a_run_that_nobody_watches(served: Served) -> None:
    run = served.world.run("A")
    stream = begun(Stream(served, run))
    assert served.world.web.live.n_watching == 1
    stream.close()
    deadline = time.monotonic() + 5
    while served.world.web.live.n_watching and time.monotonic() < deadline:
        time.sleep(0.02)
    assert served.world.web.live._followed == {}


# Who may watch


@pytest.mark.parametrize("who", ["B", "nobody"])
def test_a_private_run_is_not_there_for_others(served: Served, who: str) -> None:
    run = served.world.run("A")
    stream = Stream(served, run, who)
    assert stream.ended.wait(5) and stream.status_code == 404 and stream.events == []


def test_a_viewer_is_let_go_when_the_run_is_no_longer_shared(served: Served) -> None:
    run = served.world.run("A", shared=True)
    own, others = begun(Stream(served, run, "A")), begun(Stream(served, run, "B"))
    run.write_about(shared=False)
    assert others.ended.wait(3)
    write_rows(run, 3, 4)
    own.wait(lambda each: each.steps() == [0, 1, 2, 3])
    assert not own.ended.is_set() and others.steps() == [0, 1, 2]
    again = Stream(served, run, "B", place=others.events[0].place)
    assert again.ended.wait(5) and again.status_code == 404


def test_viewers_are_let_go_when_the_run_is_deleted(served: Served) -> None:
    run = served.world.run("A")
    stream = begun(Stream(served, run))
    served.world.lab.store.remove(run)
    assert stream.ended.wait(3)


# Who does not read


def test_a_reader_that_stops_reading_is_cut_off_and_the_others_are_not(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "_QUEUED_EVENTS", 8)
    run = served.world.run("A", shared=True)
    stuck = socket.socket()
    stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    stuck.connect(("127.0.0.1", served.port))
    stuck.sendall(f"GET /lab/runs/{run.run_id}/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    watching = begun(Stream(served, run))
    viewers = served.world.web.live._followed[run.run_id].tail.viewers
    assert len(viewers) == 2
    wide = {f"m{n}": n / 7 for n in range(1500)}
    step = 3
    while not any(viewer.is_cut for viewer in viewers):
        assert step < 3000, "the reader that does not read was kept"
        run.append_metrics({"step": step, "kl_train": 0.1, **wide})
        step += 1
        time.sleep(0.005)
    assert all(viewer.queue.qsize() <= 8 for viewer in viewers)
    watching.wait(lambda each: each.steps()[-1] == step - 1, 10)
    assert watching.steps() == list(range(step))
    stuck.close()


def test_a_reader_that_left_is_forgotten_and_harms_nobody(served: Served) -> None:
    run = served.world.run("A")
    for _ in range(20):
        gone = socket.create_connection(("127.0.0.1", served.port))
        gone.sendall(f"GET /lab/runs/{run.run_id}/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
        gone.close()
    stream = begun(Stream(served, run))
    write_rows(run, 3, 4)
    stream.wait(lambda each: each.steps() == [0, 1, 2, 3])


def test_the_server_stops_within_two_seconds_with_streams_open(open_to_visitors: World) -> None:
    served = serve(open_to_visitors)
    run = open_to_visitors.run("A")
    streams = [begun(Stream(served, run)) for _ in range(10)]
    assert served.stop() < 2
    assert not served.thread.is_alive()
    assert all(stream.ended.wait(1) for stream in streams)


def test_after_a_restart_a_viewer_goes_on_where_it_was(home: object, example: object) -> None:
    world = make_world(home, "visitors")  # type: ignore[arg-type]
    served = serve(world)
    run = world.run("A")
    place = begun(Stream(served, run)).named("history")[0].place
    served.stop()
    write_rows(run, 3, 5)
    served = serve(World(world.lab))
    again = Stream(served, run, place=place)
    again.wait(lambda each: bool(each.named("status")))
    assert again.steps() == [3, 4]
    served.stop()
    world.lab.__exit__(None, None, None)


def test_the_stream_is_not_held_back_by_proxies_or_compression(served: Served) -> None:
    run = served.world.run("A", shared=True)
    with httpx.stream("GET", f"{served.address}/lab/runs/{run.run_id}/live", headers={"accept-encoding": "gzip, br"}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["x-accel-buffering"] == "no" and "content-encoding" not in answer.headers
        assert answer.headers["cache-control"] == "no-store"
    assert place_from("1-2-3") is not None
