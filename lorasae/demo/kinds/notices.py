"""Texts that ask or tell a stranger something: notices and directions."""

from lorasae.demo import world
from lorasae.demo.labelled import a, mark
from lorasae.demo.narrator import Narrator, lines, prose


def notice(n: Narrator) -> str:
    """An advert or announcement: what, where, when, whom to ask."""
    person, scene, thing, place = n.pick(world.PEOPLE), n.scene(), n.pick(world.THINGS), n.pick(world.PLACES)
    coloured, price, hour = f"{n.colour()} {thing}", n.number(2, 20), n.pick(world.NUMBERS[2:12])
    pet = f"{n.one_of('young', 'little', 'old')} {person.pet}"
    title, body = n.one_of(
        (
            "For sale",
            [
                f"I am selling my {coloured}.",
                f"It is made of {thing.material} and good if you want to {thing.use}.",
                f"It costs {price} coins.",
            ],
        ),
        (
            "Lost",
            [
                f"I have lost my {coloured} {place.at}.",
                f"I need it to {thing.use}.",
                f"Whoever finds the {thing} gets {price} coins.",
            ],
        ),
        (
            "Lost pet",
            [
                f"My {pet} ran away on {scene.day}.",
                f"It is {person.pet.colour} and likes {person.pet.food}.",
                f"I last saw it {place.at}.",
            ],
        ),
        (
            "Found",
            [
                f"I found {a(coloured)} {place.at} on {scene.day}.",
                f"It is made of {thing.material}.",
                "Is it yours? Then please come and take it.",
            ],
        ),
        (
            "Help wanted",
            [
                f"I am {a(person.job.name)} and need help.",
                f"Can you {person.job.does}?",
                f"You will work {person.job.work_place.at} and get {price} coins a day.",
            ],
        ),
        ("Wanted", [f"I am looking for {a(coloured)}.", f"I want to {thing.use}.", f"I can pay {price} coins."]),
        (
            f"{scene.season} party",
            [
                f"You are invited to my party {place.at}!",
                f"It begins on {scene.day} at {hour} o'clock.",
                f"We will {n.pick(scene.season.pastimes)}, and there will be {person.food.some}.",
            ],
        ),
        (
            "Evening class",
            [
                f"Learn to {thing.use}!",
                f"We meet every {scene.day} at {hour} o'clock {place.at}.",
                f"Please bring your own {thing}.",
            ],
        ),
    )
    return lines(
        mark("title", n.one_of(prose(title) + "!", f"Notice: {title}", prose(title))),
        prose(
            *body,
            n.one_of(
                f"My house is {person.colour} and stands near {n.pick(world.PLACES).the} in {person.town}.",
                f"You can find me {person.job.work_place.at} in {person.town} every {scene.time}.",
                f"Please come to {person.town}, {person.town.landscape}, before {n.pick(world.DAYS)}.",
            ),
            n.maybe(
                f"There is also some {person.food.some} for every guest.",
                f"Do not be afraid of my {person.pet}: it is kind and only {person.pet.habits}.",
                f"I am {a(person.job.name)}, and everyone in {person.town} knows me.",
            ),
            n.one_of(
                f"Ask for {person} the {person.job}.",
                "Thank you for your help!",
                "Many thanks!",
                "Children are welcome.",
            ),
        ),
        str(person),
    )


def directions(n: Narrator) -> str:
    """The way to a building, past landmarks, with a check at the end that names the same goal."""
    asker, guide = n.sample(world.PEOPLE, 2)
    start, goal, *marks = n.sample(world.PLACES[:19], 5)
    turns = n.one_of(("left", "right"), ("right", "left"))
    count = n.pick(world.NUMBERS[2:6])
    steps = [
        n.one_of(f"Leave {start.the} and turn {turns[0]}.", f"Start {start.at} and go straight on."),
        n.one_of(
            f"{n.one_of('Walk', 'Go')} past {marks[0].the} until you see {marks[1].the}.",
            f"At {marks[0].the} turn {turns[1]}.",
        ),
        n.one_of(f"Cross {count} streets.", f"Go up the hill and count {count} houses.", f"Follow the {n.colour()} wall."),
        n.one_of(f"Then turn {turns[0]} at {marks[2].the}.", f"Behind {marks[2].the} go {turns[1]}."),
        n.one_of(
            f"{goal.the} is on the {turns[1]}.",
            f"There you will see {goal.the} next to a {n.one_of('tall tree', 'small fountain', 'white fence')}.",
        ),
    ]
    way = prose(*steps)
    if n.chance(0.5):
        return prose(
            f"{asker} was new in {guide.town} and asked {guide} the way.",
            n.said(asker, f"How do I get from {start.the} to {goal.the}?", "asked"),
            n.said(guide, way, "answered"),
            n.one_of(n.said(asker, "Thank you!"), f"{asker} thanked {guide.him} and found {goal.the} at once."),
        )
    return prose(
        f"How to get from {start.the} to {goal.the} in {guide.town}:",
        way,
        n.one_of(
            f"The walk takes {count} minutes.",
            f"If you get lost, ask for {guide} the {guide.job}.",
            f"When you see {guide.town}'s {n.one_of('old wall', 'last house')}, you have gone too far.",
        ),
    )
