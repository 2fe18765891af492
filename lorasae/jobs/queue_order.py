"""Whose run is next: owners take turns, and each owner's runs go in the order they came. Pure: rows in, order out."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping

from lorasae.store.run_index import Row


def order(waiting: Iterable[Row], turns: Mapping[str, int]) -> Iterator[Row]:
    """The waiting runs in the order they will start, if nothing else comes.

    Args:
        waiting: Queued runs, first come first.
        turns: The number of each owner's last turn. Who waits longest for a turn is next; who never had one, before all others.
    """
    lines: dict[str, deque[Row]] = {}
    for row in waiting:
        lines.setdefault(row.owner, deque()).append(row)
    last = {owner: turns.get(owner, 0) for owner in lines}
    turn = max(turns.values(), default=0)
    while lines:
        owner = min(lines, key=lambda name: (last[name], lines[name][0].place))
        yield lines[owner].popleft()
        turn += 1
        last[owner] = turn
        if not lines[owner]:
            del lines[owner]
