"""The narrator: one seeded source of choices, and the small turns of phrase that every kind of text shares."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TypeVar

from lorasae.demo import world
from lorasae.demo.labelled import a, capital, quote
from lorasae.demo.world import Feeling, Move, Person, Place, Season, TimeOfDay, Weather

T = TypeVar("T")


@dataclass(frozen=True)
class Scene:
    """When a text happens; its weather is one the season can have."""

    season: Season
    next_season: Season
    month: str
    weather: Weather
    time: TimeOfDay
    day: str


class Narrator:
    """Makes every choice in a text. The same key makes the same choices on every machine."""

    def __init__(self, key: str) -> None:
        self._random = Random(key).random

    def one_of(self, *options: T) -> T:
        return options[int(self._random() * len(options))]

    def pick(self, options: Sequence[T]) -> T:
        return options[int(self._random() * len(options))]

    def chance(self, probability: float) -> bool:
        return self._random() < probability

    def maybe(self, *options: str) -> str:
        """One of the options, or nothing, equally likely."""
        return self.one_of(*options) if self._random() < 0.5 else ""

    def number(self, low: int, high: int) -> int:
        """A whole number from low to high, both possible."""
        return low + int(self._random() * (high - low + 1))

    def sample(self, options: Sequence[T], n: int) -> list[T]:
        """n different options in random order."""
        left = list(options)
        return [left.pop(int(self._random() * len(left))) for _ in range(n)]

    def shuffled(self, *parts: T) -> list[T]:
        return self.sample(parts, len(parts))

    def scene(self) -> Scene:
        now = self.number(0, 3)
        season = world.SEASONS[now]
        return Scene(
            season,
            world.SEASONS[(now + 1) % 4],
            self.pick(season.months),
            self.pick(season.weathers),
            self.pick(world.TIMES),
            self.pick(world.DAYS),
        )

    def neighbours(self, n: int) -> list[Person]:
        """n different people who live in the same town."""
        return self.sample(world.RESIDENTS[self.pick(world.TOWNS)], n)

    def feeling(self, group: str) -> Feeling:
        return self.pick(world.FEELINGS[group])

    def places(self, n: int) -> list[Place]:
        return self.sample(world.PLACES, n)

    def colour(self) -> str:
        return self.pick(tuple(world.COLOURS.values()))

    def once(self, scene: Scene) -> str:
        """An opening adverbial without its comma: "one rainy morning in April"."""
        return self.one_of(
            f"one {scene.weather.adjective} {scene.time} in {self.one_of(scene.month, scene.season.name)}",
            f"on {a(scene.weather.adjective)} {scene.day} in {scene.month}",
            f"one {scene.time} in {scene.month}, when {scene.weather.happened}",
            f"late one {scene.time} in {scene.season}",
            f"early one {scene.day} {scene.time}",
        )

    def introduced(self, person: Person) -> str:
        """A first sentence about a person, true to the facts of the world."""
        job, town = person.job, person.town
        return self.one_of(
            f"{person} lived in {town}, a town {town.landscape}, and worked as {a(job.name)}.",
            f"{person}, {a(job.name)} from {town}, liked {person.food.some} more than anything.",
            f"In {town}, {town.landscape}, there lived {a(job.name)} called {person}.",
            f"{person} was {a(job.name)} in {town}. Every day {person.he} had to {job.does}.",
            f"Everyone in {town} knew {person} the {job}.",
            f"There was once {a(job.name)} called {person}, who lived in {town} with {person.his} {person.pet}.",
        )

    def reaction(self, person: Person, group: str) -> str:
        """What a feeling made a person do; the feeling is named."""
        feeling = self.feeling(group)
        deed = self.pick(feeling.reactions)
        return self.one_of(
            f"{person} felt {feeling} and {deed}.",
            f"{person} was {self.one_of('very', 'so', 'quite')} {feeling}. {person.He} {deed}.",
            f"{person} was so {feeling} that {person.he} {deed}.",
            f"Feeling {feeling}, {person} {deed}.",
            f"This made {person} {feeling}. {person.He} {deed}.",
        )

    def said(self, person: Person | str, words: str, verb: str = "said") -> str:
        """A sentence of direct speech; a full stop before the speaker's name turns into a comma."""
        leading = f"{words[:-1]}," if words.endswith(".") else words
        return self.one_of(f"{quote(leading)} {verb} {person}.", f"{person} {verb}, {quote(words)}")

    def move(self) -> Move:
        return self.pick(world.MOVES)


def prose(*sentences: str) -> str:
    """One paragraph: the sentences that are not empty, each with a capital."""
    return " ".join(capital(sentence) for sentence in sentences if sentence)


def lines(*parts: str) -> str:
    """The parts that are not empty, one a line."""
    return "\n".join(part for part in parts if part)


def listing(items: Sequence[str]) -> str:
    """ "apples, plums and figs"."""
    return f"{', '.join(items[:-1])} and {items[-1]}" if len(items) > 1 else items[0]
