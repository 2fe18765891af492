"""Instructions: everyday jobs, step by step."""

from lorasae.demo import world
from lorasae.demo.labelled import mark
from lorasae.demo.narrator import Narrator, prose

_HOW_TO = (
    (
        "plant a tree",
        "a spade and a bucket of water",
        (
            "dig a deep hole",
            "put the young tree into it",
            "fill the hole with earth",
            "press the earth down",
            "water the tree well",
        ),
        "Soon it will grow new leaves.",
    ),
    (
        "make tea",
        "a kettle, a teapot and a cup",
        (
            "fill the kettle with water",
            "boil the water",
            "put the tea into the teapot",
            "pour in the hot water",
            "wait and fill your cup",
        ),
        "Now your tea is ready to drink.",
    ),
    (
        "wash a dog",
        "a tub, some soap and a towel",
        (
            "fill the tub with warm water",
            "lift the dog into the tub",
            "rub the soap into its fur",
            "rinse the soap off",
            "dry the dog with the towel",
        ),
        "Now the dog is clean and you are wet.",
    ),
    (
        "paint a fence",
        "a brush and a pot of paint",
        (
            "clean the old fence",
            "stir the paint",
            "dip the brush into the paint",
            "paint one board after the other",
            "let the fence dry",
        ),
        "Do not touch it before evening.",
    ),
    (
        "write a letter",
        "a pen, some paper and a stamp",
        (
            "write the date at the top",
            "greet your friend by name",
            "tell your news",
            "sign the letter",
            "put the stamp on it",
        ),
        "Now take it to the post office.",
    ),
    (
        "fly a kite",
        "a kite and a long string",
        (
            "wait for a good wind",
            "tie the string to the kite",
            "hold the kite up high",
            "run against the wind",
            "let out the string slowly",
        ),
        "Now your kite dances in the sky.",
    ),
    (
        "light a fire",
        "dry wood, some paper and a match",
        (
            "clear a safe place",
            "put the paper in the middle",
            "lay small sticks on the paper",
            "light the paper with the match",
            "add bigger pieces of wood",
        ),
        "Never leave a fire alone.",
    ),
    (
        "make a bed",
        "a sheet, a pillow and a blanket",
        (
            "take everything off the bed",
            "spread the sheet",
            "shake the pillow",
            "put the pillow at the head",
            "lay the blanket on top",
        ),
        "Now you can sleep well.",
    ),
    (
        "feed the hens",
        "a bucket of corn",
        (
            "fill the bucket with corn",
            "open the gate",
            "call the hens",
            "throw the corn on the ground",
            "close the gate again",
        ),
        "You may find some eggs as well.",
    ),
    (
        "bake bread",
        "flour, water, salt and yeast",
        (
            "mix the flour, salt and yeast",
            "pour in the water",
            "knead the dough",
            "let the dough rise",
            "bake it until it is brown",
        ),
        "Let the bread cool before you cut it.",
    ),
    (
        "sew on a button",
        "a needle, some thread and a button",
        (
            "put the thread through the needle",
            "tie a knot in the thread",
            "hold the button in its place",
            "sew through the holes",
            "cut the thread",
        ),
        "Now you can close your coat again.",
    ),
    (
        "build a snowman",
        "snow, a carrot and an old hat",
        (
            "roll a big ball of snow",
            "roll two smaller balls",
            "put the balls on top of each other",
            "use the carrot as a nose",
            "set the hat on its head",
        ),
        "He will stay until the sun comes out.",
    ),
)


def instructions(n: Narrator) -> str:
    """How to do an everyday job, in steps that follow from each other."""
    title, tools, steps, done = n.pick(_HOW_TO)
    title, tools, done = (world.with_nouns(part) for part in (title, tools, done))
    helper, scene = n.pick(world.PEOPLE), n.scene()
    order = n.one_of(("First", "Then", "After that", "Next", "At the end"), ("First", "Second", "Third", "Fourth", "Last"))
    return prose(
        mark("title", f"How to {title}")
        + "\n"
        + n.one_of(
            f"You need {tools}.",
            f"{helper} showed me how to {title}. You need {tools}.",
            f"A good time to {title} is {scene.day} {scene.time}. Take {tools}.",
            f"Every {scene.day} {helper} likes to {title}. {helper.He} takes {tools}.",
        ),
        *(mark("instruction", f"{word}, {world.with_nouns(step)}.") for word, step in zip(order, steps, strict=True)),
        done,
        n.maybe(
            "Ask a friend to help you.",
            f"{helper} needs {n.pick(world.NUMBERS[2:10])} minutes for it.",
            "Take your time and do not hurry.",
            f"In {helper.town} even small children can do it.",
        ),
    )
