"""Texts made of lines: recipes, lists and timetables."""

from lorasae.demo import world
from lorasae.demo.labelled import a, capital, mark
from lorasae.demo.narrator import Narrator, lines, listing, prose
from lorasae.demo.world import Food

_DISHES = (
    # dish, sorts of its main part, fixed ingredients, what to do with them, how it is cooked, how it is served
    ("soup", ("vegetable",), "salt pepper butter", "in a large pot with water", "Cook the soup", "in deep bowls"),
    ("stew", ("vegetable",), "salt thyme butter", "in an iron pot with water", "Cook the stew", "with fresh bread"),
    ("salad", ("vegetable",), "salt parsley lemon", "in a big bowl", "Chill the salad", "on cold plates"),
    (
        "pie",
        ("fruit", "vegetable"),
        "flour butter egg",
        "with the dough in a round pan",
        "Bake the pie",
        "while it is warm",
    ),
    (
        "cake",
        ("fruit", "nut"),
        "flour sugar butter egg",
        "with the batter in a round pan",
        "Bake the cake",
        "with a cup of tea",
    ),
    ("tart", ("fruit",), "flour butter sugar cream", "on the dough in a flat pan", "Bake the tart", "with sweet cream"),
    ("jam", ("fruit",), "sugar lemon", "in a large pot", "Cook the jam", "on fresh bread"),
    (
        "pudding",
        ("fruit", "nut"),
        "milk sugar rice",
        "in a small pot with the milk",
        "Cook the pudding",
        "in small bowls",
    ),
    (
        "biscuits",
        ("nut",),
        "flour sugar butter",
        "with the dough on a flat pan",
        "Bake the biscuits",
        "when they are cool",
    ),
)
_FOOD = {food.name: food for food in world.FOODS}
_SCALES = {"flour": "cups", "sugar": "spoons", "butter": "spoons", "milk": "cups", "cream": "cups", "rice": "cups"}


def _amount(n: Narrator, food: Food, name: str, low: int = 2, high: int = 6) -> str:
    """A line of an ingredient list: how much, of what."""
    if food.counted:
        return f"{n.number(low, high)} {food.some}"
    if name in _SCALES:
        return f"{n.number(low, high)} {_SCALES[name]} of {food}"
    return f"a little {food}"


def recipe(n: Narrator) -> str:
    """A dish: every ingredient listed is used in the steps, and no other."""
    dish, sorts, fixed, where, cook, serve = n.pick(_DISHES)
    main = n.pick([food for food in world.FOODS if food.sort in sorts and food.counted])
    names = fixed.split()
    others = [_FOOD[mark("food", name)] for name in names]
    minutes = 5 * n.number(2, 9)
    ingredients = [_amount(n, main, "", 3, 9), *(_amount(n, o, name) for o, name in zip(others, names, strict=True))]
    author = n.pick(world.PEOPLE)
    steps = [
        n.one_of(f"Wash the {main.some} and cut them into small pieces.", f"Clean and chop the {main.some}.")
        if main.sort != "nut"
        else f"Crack the {main.some} and chop them.",
        n.one_of(
            f"Mix {listing([f'the {other.some}' for other in others])}.",
            f"Stir {listing([f'the {other.some}' for other in others])} together.",
        ),
        f"Put the {main.some} {where}.",
        f"{cook} for {minutes} minutes.",
        n.one_of(
            f"Serve {'them' if dish.endswith('s') else 'it'} {serve}.",
            f"Eat {'them' if dish.endswith('s') else 'it'} {serve}.",
        ),
    ]
    title = n.one_of(f"{main} {dish}", f"{main} {dish} from {author.town}", f"{author}'s {main} {dish}")
    sign = n.one_of("- ", "* ", "")
    numbered = n.chance(0.5)
    return lines(
        mark("title", capital(title)),
        n.maybe(f"You need for {n.pick(world.NUMBERS[2:7])} people:", "You need:"),
        *(mark("list item", sign + item) for item in n.sample(ingredients, len(ingredients))),
        *(mark("instruction", f"{i}. {step}") for i, step in enumerate(steps, 1))
        if numbered
        else [" ".join(mark("instruction", step) for step in steps)],
        n.maybe(
            f"This was the favourite dish of {author}.",
            f"It tastes best in {n.pick(world.SEASONS)}.",
            "Enjoy your meal!",
        ),
    )


def checklist(n: Narrator) -> str:
    """A shopping or packing list for a named person and purpose."""
    person, scene = n.pick(world.PEOPLE), n.scene()
    goal = n.pick([town for town in world.TOWNS if town is not person.town])
    count, friend = n.number(6, 9), n.pick(world.RESIDENTS[goal])
    shopping = n.chance(0.5)
    if shopping:
        foods = n.sample(world.FOODS, count)
        items = [f"{n.number(2, 9)} {food.some}" if food.counted else n.one_of(f"some {food}", str(food)) for food in foods]
        opening = n.one_of(
            f"{person} wants to cook for {friend} on {scene.day}. This is what {person.he} has to buy:",
            f"Shopping list of {person}, {scene.day}:",
            f"On {scene.day} {person} goes to the market in {person.town}. {person.He} must not forget:",
        )
        closing = n.one_of(
            f"{person.He} does not need {n.pick([food for food in world.FOODS if food not in foods]).some} this time.",
            f"The {foods[0].some} are for {friend}, the rest is for {person}." if foods[0].counted else "",
            f"All this must fit into one {n.one_of('basket', 'bag', 'box')}.",
            f"When {person.he} comes home, {person.he} will cook for {world.NUMBERS[2]} hours.",
        )
    else:
        things = n.sample(world.THINGS, count)
        items = [a(thing.name) if n.chance(0.5) else f"{a(thing.name)} to {thing.use}" for thing in things]
        opening = n.one_of(
            f"{person} is going to {goal} in {scene.month}. {person.He} packs:",
            f"Packing list for the trip to {goal}, {goal.landscape}:",
            f"{person} will visit {friend} in {goal} on {scene.day}. In the bag there are:",
        )
        closing = n.one_of(
            f"In {scene.month} {scene.weather.forecast}, "
            f"so {person} also takes a {'straw hat' if scene.weather.pleasant else 'warm coat'}.",
            f"The {things[0]} is a present for {friend}.",
            f"Now {person} is ready to go to {goal}.",
        )
    sign = n.one_of("- ", "* ", "")
    return lines(opening, *(mark("list item", sign + item) for item in items), closing)


def timetable(n: Narrator) -> str:
    """A school day or week, hour by hour, in order."""
    teacher, scene, day = n.pick(_TEACHERS), n.scene(), n.pick(world.DAYS[:5])
    hours = range(8, 8 + n.number(4, 6))
    subjects = n.sample(_SUBJECTS, len(hours))
    rooms = n.sample(world.NUMBERS[1:13], 2)
    special = n.pick(subjects)
    return lines(
        mark(
            "title",
            n.one_of(f"Timetable for {day}", f"School in {teacher.town}, {day}", f"The {day} of class {rooms[0]}"),
        ),
        *(mark("list item", f"{hour} o'clock: {subject}") for hour, subject in zip(hours, subjects, strict=True)),
        prose(
            n.one_of(
                f"Please bring {a(n.pick(_SCHOOL_THINGS).name)} for {special}.",
                f"Today {special} is in room {rooms[1]}.",
                f"{teacher} will teach {special} this week.",
            ),
            n.one_of(
                f"If it is {scene.weather.adjective}, the break is {'on the playground' if scene.weather.pleasant else 'in the hall'}.",
                f"For lunch there is {n.pick(world.FAVOURITES).some}.",
                f"After school the children of {teacher.town} {n.pick(scene.season.pastimes)}.",
            ),
            f"The teacher of this class is {teacher}, and {teacher.he} likes {special}.",
            n.maybe(f"School ends at {hours[-1] + 1} o'clock.", f"There is no school on {n.pick(world.DAYS[5:])}."),
        ),
    )


_SCHOOL_THINGS = tuple(thing for thing in world.THINGS if thing.material in {mark("material", m) for m in ("paper", "cloth", "cotton")})
_TEACHERS = tuple(person for person in world.PEOPLE if person.job.name == mark("job", "teacher"))
_SUBJECTS = (
    "reading",
    "writing",
    "sums",
    "music",
    "drawing",
    "history",
    "nature",
    "sport",
    "cooking",
    "sewing",
    "story time",
)
