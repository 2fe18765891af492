"""The pocket world: its people, animals, towns, things and foods, and the facts that never change from text to text.

Every entity is frozen and its strings are already labelled, so that texts can be written as plain f-strings.
"""

import re
from dataclasses import dataclass
from functools import cache, cached_property

from lorasae.demo import words
from lorasae.demo.labelled import capital, mark


@dataclass(frozen=True)
class Named:
    """Anything that stands in a text under its labelled name."""

    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Town(Named):
    """A town, which lies in one landscape for ever."""

    landscape: str
    sight: str

    @property
    def the_sight(self) -> str:
        return f"the {self.sight.partition(' ')[2]}"


@dataclass(frozen=True)
class Place(Named):
    """A building, room or open place; ``at`` is the place with its preposition, ``the`` with its article."""

    at: str
    the: str


@dataclass(frozen=True)
class Job(Named):
    """A job, and where it is done."""

    work_place: Place
    does: str


@dataclass(frozen=True)
class Animal(Named):
    """``habit`` is what it does in the plain form, ``habits`` in the third person, ``my_habit`` in its own words."""

    plural: str
    food: str
    home: str
    habit: str
    sound: str
    sort: str
    colour: str

    @cached_property
    def habits(self) -> str:
        return third_person(self.habit)

    @cached_property
    def my_habit(self) -> str:
        return re.sub(r"\bits\b", "my", self.habit)


@dataclass(frozen=True)
class Thing(Named):
    """A thing that can be held, owned, lost or given."""

    plural: str
    material: str
    use: str


@dataclass(frozen=True)
class Food(Named):
    """``some`` is how an unnamed amount of it is called: the plural, or the name of what is not counted."""

    some: str
    counted: bool
    colour: str
    sort: str


@dataclass(frozen=True)
class Feeling(Named):
    """A feeling, in a group of its likes."""

    group: str
    reactions: tuple[str, ...]


@dataclass(frozen=True)
class Weather:
    """``happened`` and ``forecast`` are clauses; pleasant weather draws people out of doors."""

    adjective: str
    noun: str
    happened: str
    forecast: str

    @property
    def pleasant(self) -> bool:
        return self.adjective in _PLEASANT


@dataclass(frozen=True)
class Season(Named):
    """A season, its months, its weathers and what people do in it."""

    months: tuple[str, ...]
    weathers: tuple[Weather, ...]
    pastimes: tuple[str, ...]


@dataclass(frozen=True)
class Move:
    """A way to get from place to place."""

    past: str
    plain: str


@dataclass(frozen=True)
class TimeOfDay(Named):
    """A time of day, and the mood of it."""

    mood: str


@dataclass(frozen=True)
class Person(Named):
    """A citizen, with the facts of their life. Capitalised fields begin a sentence."""

    he: str
    him: str
    his: str
    town: Town
    job: Job
    food: Food
    pet: Animal
    colour: str
    treasure: Thing

    @cached_property
    def He(self) -> str:
        return capital(self.he)

    @cached_property
    def His(self) -> str:
        return capital(self.his)


_PLEASANT = frozenset(mark("weather", adjective) for adjective in ("mild", "breezy", "sunny", "hot", "dry"))


def third_person(phrase: str) -> str:
    """A phrase that begins with a plain verb, as said of one: "wash its paws" becomes "washes its paws"."""
    verb, space, rest = phrase.partition(" ")
    if verb.endswith(("s", "sh", "ch", "x", "o")):
        verb += "es"
    elif re.search("[^aeiou]y$", verb):
        verb = verb[:-1] + "ies"
    else:
        verb += "s"
    return verb + space + rest


def plural_of(noun: str) -> str:
    """The plural of a thing's name."""
    if re.search("[^aeiou]y$", noun):
        return noun[:-1] + "ies"
    irregular = {"knife": "knives", "toy train": "toy trains"}
    return irregular.get(noun) or noun + ("es" if noun.endswith(("s", "sh", "ch", "x")) else "s")


@cache
def with_nouns(phrase: str) -> str:
    """A phrase with the animals, things, foods and places in it labelled; its first word is taken for a verb."""
    first, space, rest = phrase.partition(" ")
    return first + space + _NOUN.sub(lambda found: mark(_LABEL_OF_NOUN[found.group()], found.group()), rest)


def _rows(table: str) -> list[list[str]]:
    return [[field.strip() for field in line.split("|")] for line in table.strip().splitlines()]


def _mark_home(phrase: str) -> str:
    """A habitat with the noun part of "in a hollow tree" labelled as a place."""
    preposition, article, noun = re.fullmatch(r"(\w+ )(a |an |the )?(.*)", phrase).groups()  # type: ignore[union-attr]
    return f"{preposition}{article or ''}{mark('place', noun)}"


def _weather(row: str) -> Weather:
    adjective, noun, happened, forecast = (mark("weather", part.strip()) for part in row.split("/"))
    return Weather(adjective, noun, happened, forecast)


def _season(name: str, months: str, weathers: str, pastimes: str) -> Season:
    label = f"season: {name}"
    return Season(
        mark(label, name),
        tuple(mark(label, month) for month in months.split(", ")),
        tuple(_weather(row) for row in weathers.split(";")),
        tuple(with_nouns(pastime) for pastime in pastimes.split("; ")),
    )


def _feelings(group: str, names: str, reactions: str) -> tuple[Feeling, ...]:
    how = tuple(reactions.split("; "))
    return tuple(Feeling(mark(f"feeling: {group}", name), group, how) for name in names.split(", "))


def _citizen(i: int, name: str, pronouns: tuple[str, str, str]) -> Person:
    """The i-th citizen; strides without a common divisor spread the facts evenly and tie no two of them together."""
    he, him, his = (mark(f"pronoun: {pronouns[0]}", word) for word in pronouns)
    return Person(
        mark("person name", name), he, him, his,
        town=TOWNS[i * 7 % len(TOWNS)],
        job=JOBS[i * 11 % len(JOBS)],
        food=FAVOURITES[i * 13 % len(FAVOURITES)],
        pet=PETS[i * 4 % len(PETS)],
        colour=tuple(COLOURS.values())[(i * 5 + i // 12) % len(COLOURS)],
        treasure=THINGS[i * 17 % len(THINGS)],
    )  # fmt: skip


_LABEL_OF_NOUN = (
    {name: "place" for _, name in _rows(words.PLACES)}
    | {form: "thing" for name, *_ in _rows(words.THINGS) for form in (name, plural_of(name))}
    | {form: "animal" for name, plural, *_ in _rows(words.ANIMALS) for form in (name, plural)}
    | {form: "food" for name, some, *_ in _rows(words.FOODS) for form in (name, some) if form not in words.COLOURS}
)
for _verb in ("saw", "watch", "-"):
    _LABEL_OF_NOUN.pop(_verb, None)
_NOUN = re.compile(rf"\b({'|'.join(sorted(_LABEL_OF_NOUN, key=len, reverse=True))})\b")

COLOURS = {name: mark("colour", name) for name in words.COLOURS}
DAYS = tuple(mark("day of the week", day) for day in words.DAYS)
NUMBERS = tuple(mark("number", word) for word in words.NUMBERS)

TOWNS = tuple(Town(mark("town", name), mark("landscape", landscape), sight) for name, landscape, sight in _rows(words.TOWNS))
PLACES = tuple(
    Place(mark("place", name), f"{where} the {mark('place', name)}", f"the {mark('place', name)}") for where, name in _rows(words.PLACES)
)
_PLACE = {name: place for place, (_, name) in zip(PLACES, _rows(words.PLACES), strict=True)}
JOBS = tuple(Job(mark("job", name), _PLACE[place], with_nouns(does)) for name, place, does in _rows(words.JOBS))
ANIMALS = tuple(
    Animal(
        mark("animal", name), mark("animal", plural), mark("food", food), _mark_home(home), with_nouns(habit),
        "" if sound == "-" else mark("sound", sound), sort, COLOURS[colour],
    )
    for name, plural, food, home, habit, sound, sort, colour in _rows(words.ANIMALS)
)  # fmt: skip
THINGS = tuple(
    Thing(mark("thing", name), mark("thing", plural_of(name)), mark("material", material), with_nouns(use))
    for name, material, use in _rows(words.THINGS)
)
FOODS = tuple(
    Food(mark("food", name), mark("food", name if some == "-" else some), some != "-", COLOURS[colour], sort)
    for name, some, colour, sort in _rows(words.FOODS)
)
FEELINGS = {group: _feelings(group, names, reactions) for group, names, reactions in _rows(words.FEELINGS)}
SEASONS = tuple(_season(*row) for row in _rows(words.SEASONS))
MOVES = tuple(Move(mark("movement", past), mark("movement", plain)) for past, plain in _rows(words.MOVES))
TIMES = tuple(TimeOfDay(mark("time of day", name), mood) for name, mood in _rows(words.TIMES))
FAVOURITES = tuple(food for food in FOODS if food.sort in ("fruit", "vegetable", "nut", "treat", "drink"))
PETS = tuple(animal for animal in ANIMALS if animal.sort == "pet")
PEOPLE = tuple(_citizen(i, name, ("she", "her", "her")) for i, name in enumerate(words.WOMEN)) + tuple(
    _citizen(i, name, ("he", "him", "his")) for i, name in enumerate(words.MEN, len(words.WOMEN))
)
RESIDENTS = {town: tuple(person for person in PEOPLE if person.town is town) for town in TOWNS}
