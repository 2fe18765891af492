"""Poems: rhyming couplets that keep to one season or one animal."""

from lorasae.demo import world
from lorasae.demo.labelled import a, capital, mark
from lorasae.demo.narrator import Narrator, lines

_SEASON_COUPLETS = {
    "spring": (
        ("The buds are green, the birds are back,", "new leaves grow all along the track."),
        ("The rain is soft, the sun is new,", "the tulips wear their morning dew."),
        ("The lambs run out to play and jump,", "the children splash around the pump."),
        ("The ice has gone, the brook runs free,", "the blossom covers every tree."),
        ("We plant our seeds in rows so neat,", "and soon there will be peas to eat."),
    ),
    "summer": (
        ("The days are long, the nights are bright,", "we swim and play till late at night."),
        ("The bees are busy, the grass is high,", "and not a cloud is in the sky."),
        ("We sleep in tents beside the lake,", "with berry tarts for us to bake."),
        ("The sun is hot, the shade is cool,", "there are no lessons now at school."),
        ("The corn is gold, the sea is blue,", "I eat ice cream, and so do you."),
    ),
    "autumn": (
        ("The wind is loud, the leaves fly down,", "they cover all the streets in town."),
        ("The apples wait in baskets round,", "the nuts are falling to the ground."),
        ("The fog is thick, the field is grey,", "the swallows all have flown away."),
        ("We rake the leaves into a heap,", "the hedgehog lies down there to sleep."),
        ("Our kites go up, our hats blow off,", "and grandpa has a little cough."),
    ),
    "winter": (
        ("The snow lies deep, the pond is ice,", "the fire is warm, the soup is nice."),
        ("We pull the sledge up to the hill,", "the woods are white, the wind is still."),
        ("The nights are long, the stars are clear,", "the coldest time of all the year."),
        ("The robin hops from tree to tree,", "and leaves its footprints there for me."),
        ("We wear our scarfs, we wear our hats,", "and by the stove lie both the cats."),
    ),
}
_CALM_COUPLETS = (
    ("And when the day is nearly done,", "we say goodnight to moon and sun."),
    ("So take my hand and come with me,", "there is so much for us to see."),
    ("Oh, I am glad and you are too,", "for I can share the day with you."),
    ("The moon looks in, the day is past,", "and all of us can sleep at last."),
)
_NAME_LINES = (
    ("Come out, {p}, come out and see,", "the world is made for you and me."),
    ("{p} is singing loud and clear,", "and all the neighbours stop to hear."),
    ("{p} sits down beside the door", "and tells us stories, more and more."),
    ("{p} gets up before the sun", "and greets the neighbours one by one."),
    ("Now {p} is home and shuts the gate,", "the lamp is lit, the hour is late."),
)
_FOOD_LINES = (
    ("I bought some {f} yesterday", "and gave the half of it away."),
    ("{p} likes {f}, I like bread,", "we eat it all and go to bed."),
)
_ANIMAL_LINES = (
    ("I saw a {x} upon its way,", "it did not have a word to say."),
    ("I met a {x} and said hello,", "it looked at me and turned to go."),
    ("A {x} was waiting at the gate,", "it told the moon that it was late."),
    ("A {x} came by and looked at me,", "as friendly as a friend can be."),
    ("O little {x}, so quick and shy,", "please do not run, please do not fly!"),
    ("Now all is dark and all is deep,", "and even the {x} goes to sleep."),
)


def poem(n: Narrator) -> str:
    """Three to five couplets about a season and those who live in it."""
    season, person = n.pick(world.SEASONS), n.pick(world.PEOPLE)
    animal = n.pick(_SHORT)
    own = _SEASON_COUPLETS[_NAME_OF[season.name]]
    uncounted = n.pick(_UNCOUNTED)
    middle = [
        *n.sample(own, n.number(1, 3)),
        n.pick(_NAME_LINES),
        *n.sample(_ANIMAL_LINES[:-1], n.number(0, 2)),
        *([n.pick(_FOOD_LINES)] if n.chance(0.3) else []),
    ]
    couplets = [*n.sample(middle, len(middle)), n.one_of(*_CALM_COUPLETS, _ANIMAL_LINES[-1])]
    written = [_verse(couplet, p=str(person), x=animal.name, f=uncounted.name) for couplet in couplets]
    title = n.one_of(f"{a(season.name)} song", f"{season} in {person.town}", f"A rhyme for {person}", f"{person} and the {animal}")
    return lines(mark("title", capital(title)) if n.chance(0.7) else "", *written)


def _verse(couplet: tuple[str, str], **names: str) -> str:
    """Both lines with their names filled in and their rhyme words labelled."""
    return lines(*(capital(_rhyming(line).format(**names)) for line in couplet))


def _rhyming(line: str) -> str:
    stem, _, last = line.rpartition(" ")
    word = last.rstrip(",.!")
    return f"{world.with_nouns(stem)} {mark('rhyme', word)}{last[len(word) :]}"


_NAME_OF = {season.name: name for season, name in zip(world.SEASONS, _SEASON_COUPLETS, strict=True)}
_SHORT = tuple(animal for animal in world.ANIMALS if capital(animal.name)[1] not in "AEIOU")
_UNCOUNTED = tuple(food for food in world.FAVOURITES if not food.counted and food.sort == "treat")
