"""Sums: small numbers added, taken away and multiplied, in signs and in words."""

from lorasae.demo import world
from lorasae.demo.labelled import mark
from lorasae.demo.narrator import Narrator, lines

_COUNTED = tuple(food.some for food in world.FOODS if food.counted) + tuple(
    thing.plural
    for thing in world.THINGS
    if thing.name in {mark("thing", t) for t in ("button", "coin", "book", "pencil", "ball", "candle", "stamp", "cup")}
)


def sums(n: Narrator) -> str:
    """Small sums on lines, or word problems with worked answers."""
    if n.chance(0.5):
        return lines(
            n.one_of(
                "Sums for today:",
                f"{n.pick(world.PEOPLE)} does sums:",
                "Can you add and take away?",
                "Numbers are fun.",
            ),
            *(mark("sum", _equation(n)) for _ in range(n.number(8, 14))),
            n.maybe("Well done!", "That is all for today."),
        )
    return lines(*(_problem(n) for _ in range(n.number(2, 3))))


def _equation(n: Narrator) -> str:
    x, y = n.number(0, 10), n.number(0, 10)
    return n.one_of(f"{x} + {y} = {x + y}", f"{x + y} - {y} = {x}", f"{x % 6} x {y % 6} = {(x % 6) * (y % 6)}")


def _problem(n: Narrator) -> str:
    """One word problem; who has how many of what stays the same from question to answer."""
    one, two = n.sample(world.PEOPLE, 2)
    many = n.pick(_COUNTED)
    x, y = n.number(2, 9), n.number(2, 9)
    more, fewer = max(x, y) + 1, min(x, y)
    given, question, equation, answer = n.one_of(
        (
            f"{one} has {x} {many} and {two} gives {one.him} {y} more.",
            f"How many {many} does {one} have now?",
            f"{x} + {y} = {x + y}",
            f"{one} has {x + y} {many}.",
        ),
        (
            f"{one} had {more} {many} and gave {fewer} of them to {two}.",
            f"How many {many} are left?",
            f"{more} - {fewer} = {more - fewer}",
            f"{more - fewer} of the {many} {'is' if more - fewer == 1 else 'are'} left.",
        ),
        (
            f"{one} found {x} {many} and {two} found {y}.",
            f"How many {many} did they find together?",
            f"{x} + {y} = {x + y}",
            f"They found {x + y} {many} together.",
        ),
        (
            f"There are {x} {many} in each of {fewer} boxes.",
            f"How many {many} are there in all?",
            f"{x} x {fewer} = {x * fewer}",
            f"There are {x * fewer} {many}.",
        ),
    )
    return f"{given} {question} {mark('sum', equation)}. {mark('answer', answer)}"
