"""Texts that state the facts of the world: questions and answers, animal pages, portraits, town guides, riddles."""

from lorasae.demo import world
from lorasae.demo.labelled import a, capital, mark
from lorasae.demo.narrator import Narrator, lines, prose


def questions(n: Narrator) -> str:
    """Questions about the world, each with its true answer."""
    pairs = [n.pick(_ASKED)(n) for _ in range(n.number(5, 8))]
    style = n.number(0, 2)
    if style == 0:
        return lines(*(f"Question: {q}\nAnswer: {mark('answer', r)}" for q, r in pairs))
    if style == 1:
        return lines(*(f"Q: {q}\nA: {mark('answer', r)}" for q, r in pairs))
    return lines(*(f"{q} {mark('answer', r)}" for q, r in pairs))


def _about_person(n: Narrator) -> tuple[str, str]:
    person = n.pick(world.PEOPLE)
    return n.one_of(
        (f"Where does {person} live?", f"{person} lives in {person.town}."),
        (f"What is {person}'s job?", f"{person} is {a(person.job.name)}."),
        (f"What does {person} like to eat or drink?", f"{person.He} likes {person.food.some}."),
        (f"Which animal does {person} keep?", f"{person} keeps {a(person.pet.name)}."),
        (f"Which colour does {person} like best?", f"{person.He} likes {person.colour} best."),
        (f"Is {person} {a(person.job.name)}?", f"Yes, {person} is {a(person.job.name)}."),
        (
            f"Does {person} live by the sea?",
            f"{'Yes' if 'sea' in person.town.landscape else 'No'}, {person} lives {person.town.landscape}.",
        ),
    )


def _about_animal(n: Narrator) -> tuple[str, str]:
    animal = n.pick(world.ANIMALS)
    return n.one_of(
        (f"What do {animal.plural} eat?", f"{capital(animal.plural)} eat {animal.food}."),
        (f"Where does {a(animal.name)} live?", f"It lives {animal.home}."),
        (f"What does {a(animal.name)} do?", f"{capital(a(animal.name))} {animal.habits}."),
        (f"What colour is {a(animal.name)}?", f"Most {animal.plural} are {animal.colour}."),
        (f"What sound does {a(animal.name)} make?", f"You can hear {a(animal.sound)}.")
        if animal.sound
        else (f"Does {a(animal.name)} make a loud sound?", f"No, {a(animal.name)} is quiet."),
    )


def _about_place(n: Narrator) -> tuple[str, str]:
    town, job = n.pick(world.TOWNS), n.pick(world.JOBS)
    return n.one_of(
        (f"Where does {town} lie?", f"{town} lies {town.landscape}."),
        (f"What can you see in {town}?", f"In {town} you can see {town.sight}."),
        (f"Which town has {town.sight}?", f"That is {town}."),
        (f"Where does {a(job.name)} work?", f"{capital(a(job.name))} works {job.work_place.at}."),
        (f"Who has to {job.does}?", f"That is the work of {a(job.name)}."),
    )


def _about_things(n: Narrator) -> tuple[str, str]:
    thing, food, season = n.pick(world.THINGS), n.pick(world.FOODS), n.pick(world.SEASONS)
    return n.one_of(
        (f"What is {a(thing.name)} made of?", f"It is made of {thing.material}."),
        (f"What do you need to {thing.use}?", f"You can take {a(thing.name)}."),
        (
            f"What colour {'are' if food.counted else 'is'} {food.some}?",
            f"{'They are' if food.counted else 'It is'} {food.colour}.",
        ),
        (f"In which season does {(month := n.pick(season.months))} fall?", f"{month} is in {season}."),
        (f"What do people do in {season}?", f"In {season} people {n.pick(season.pastimes)}."),
        (f"How is the weather in {season}?", f"It is often {n.pick(season.weathers).adjective}."),
    )


def animal_page(n: Narrator) -> str:
    """One animal as an encyclopaedia has it."""
    animal = n.pick(world.ANIMALS)
    name, many = a(animal.name), capital(animal.plural)
    kin = n.pick([other for other in world.ANIMALS if other.sort == animal.sort and other is not animal])
    keeper = n.pick(world.PEOPLE)
    facts = n.shuffled(
        n.one_of(f"{many} eat {animal.food}.", f"The {animal} feeds on {animal.food}.", f"Its food is {animal.food}."),
        n.one_of(f"It lives {animal.home}.", f"You can find it {animal.home}.", f"The home of the {animal} is {animal.home}."),
        n.one_of(f"Most {animal.plural} are {animal.colour}.", f"Its colour is {animal.colour}."),
        n.one_of(f"{many} can {animal.habit}.", f"It often {animal.habits}.", f"The {animal} {animal.habits}."),
        n.one_of(f"You can hear its {animal.sound}.", f"When it calls, you hear {a(animal.sound)}.")
        if animal.sound
        else f"The {animal} hardly makes a sound.",
    )
    return prose(
        n.one_of(
            f"The {animal} is {_SORTS[animal.sort]}.",
            f"{capital(name)} is {_SORTS[animal.sort]}.",
            f"Have you ever seen {name}? It is {_SORTS[animal.sort]}.",
            f"{many} belong to the animals of our world.",
        ),
        *facts,
        n.one_of(
            f"The {kin} is like the {animal}, but it eats {kin.food} and lives {kin.home}.",
            f"Unlike the {animal}, the {kin} {kin.habits}." if kin.habit != animal.habit else "",
        ),
        n.maybe(
            f"{keeper} from {keeper.town} once drew a picture of {name}.",
            f"In {n.pick(world.SEASONS)} you can watch {animal.plural} with a little luck.",
            f"A young {animal} needs its mother for {n.pick(world.NUMBERS[3:13])} weeks.",
            f"If you meet {name}, be kind and keep quiet.",
        ),
    )


_SORTS = {
    "pet": "an animal that people keep at home",
    "farm": "a farm animal",
    "bird": "a bird",
    "wild": "a wild animal",
    "sea": "an animal of the sea",
    "small": "a small animal",
}


def portrait(n: Narrator) -> str:
    """The life of one citizen."""
    person, scene = n.pick(world.PEOPLE), n.scene()
    friend = n.pick([other for other in world.RESIDENTS[person.town] if other is not person])
    drinks = "drink" if person.food.sort == "drink" else "eat"
    facts = n.shuffled(
        n.one_of(
            f"{person.He} works {person.job.work_place.at}.",
            f"It is {person.his} work to {person.job.does}.",
            f"As {a(person.job.name)}, {person.he} has to {person.job.does}.",
        ),
        n.one_of(
            f"{person.His} favourite food is {person.food.some}." if drinks == "eat" else f"{person.His} favourite drink is {person.food}.",
            f"{person.He} likes to {drinks} {person.food.some}.",
        ),
        n.one_of(
            f"{person.He} keeps {a(person.pet.name)} and gives it {person.pet.food}.",
            f"{person.His} {person.pet} {person.pet.habits}.",
        ),
        n.one_of(
            f"{person.His} house is painted {person.colour}.",
            f"Most of {person.his} clothes are {person.colour}, {person.his} favourite colour.",
        ),
        n.one_of(
            f"{person.He} owns {a(person.treasure.name)} made of {person.treasure.material}.",
            f"With {person.his} {person.treasure}, {person.he} can {person.treasure.use}.",
        ),
        n.one_of(
            f"On {scene.day} {person.he} meets {friend}, {a(friend.job.name)}.",
            f"{person.His} neighbour {friend} is {a(friend.job.name)}.",
        ),
        f"In {scene.season} {person.he} likes to {n.pick(scene.season.pastimes)}.",
    )
    return prose(
        n.one_of(
            f"{person} lives in {person.town}, a town {person.town.landscape}, and is {a(person.job.name)}.",
            f"This is {person}, {a(person.job.name)} from {person.town}.",
            f"Do you know {person}? {person.He} is {a(person.job.name)} in {person.town}, {person.town.landscape}.",
        ),
        *facts[: n.number(5, 7)],
        n.maybe(f"People like {person} because {person.he} is kind.", f"Say hello to {person} when you meet {person.him}!"),
    )


def town_guide(n: Narrator) -> str:
    """One town, its sight, and people who really live there."""
    town, season = n.pick(world.TOWNS), n.pick(world.SEASONS)
    one, two = n.sample(world.RESIDENTS[town], 2)
    sights = n.sample(_SIGHTS, 2)
    facts = n.shuffled(
        n.one_of(
            f"Visitors come to see {town.the_sight}.",
            f"The town is known for {town.the_sight}.",
            f"Do not miss {town.the_sight}!",
        ),
        n.one_of(f"{one} the {one.job} lives here.", f"Ask for {one}, who is {a(one.job.name)}."),
        n.one_of(f"If you need {a(two.job.name)}, go to {two}.", f"{two} works {two.job.work_place.at} as {a(two.job.name)}."),
        f"There are {n.pick(world.NUMBERS[2:13])} streets, {a(sights[0].name)} and {a(sights[1].name)}.",
        f"In {season} it is often {n.pick(season.weathers).adjective} here, and people {n.pick(season.pastimes)}.",
        f"You can buy fresh {n.pick(world.FAVOURITES).some} at the market on {n.pick(world.DAYS)}.",
    )
    return prose(
        n.one_of(
            f"Welcome to {town}, the town {town.landscape}!",
            f"{town} is a town {town.landscape}.",
            f"Have you ever been to {town}? It lies {town.landscape}.",
        ),
        *facts[: n.number(5, 6)],
        n.maybe(
            f"Trains to {town} leave every {n.pick(world.TIMES[:3])}.",
            f"Come and visit {town} soon!",
            "The people are friendly to every guest.",
        ),
    )


def riddle(n: Narrator) -> str:
    """Clues that fit one animal or thing, and the answer at the end."""
    animal, thing = n.pick(world.ANIMALS), n.pick(world.THINGS)
    asked, solution = n.one_of(
        (
            [
                f"I live {animal.home}.",
                f"I eat {animal.food}.",
                f"I am {animal.colour}.",
                f"I can {animal.my_habit}.",
                f"I say {animal.sound}." if animal.sound else "I do not say a word.",
            ],
            a(animal.name),
        ),
        (
            [
                f"I am made of {thing.material}.",
                f"You need me to {thing.use}.",
                f"There are {n.pick(world.NUMBERS[2:8])} of my kind in the house of {n.pick(world.PEOPLE)}.",
                "I cannot speak or walk.",
                f"Perhaps you will find me {n.pick(world.PLACES).at}.",
            ],
            a(thing.name),
        ),
    )
    guesser = n.pick(world.PEOPLE)
    wrong = n.pick([other for other in world.ANIMALS if other is not animal])
    return n.one_of("\n", " ").join(
        filter(
            None,
            [
                n.one_of("Here is a riddle.", "Can you guess this?", f"{guesser} likes riddles. Here is one."),
                *n.sample(asked, n.number(4, 5)),
                n.one_of("What am I?", "Who or what am I?", "Do you know my name?"),
                n.maybe(f"Do not say {a(wrong.name)}, for that is wrong.", "Think before you read on."),
                mark("answer", n.one_of(f"I am {solution}.", f"The answer is {solution}.", f"Answer: {solution}.")),
            ],
        )
    )


_SIGHTS = tuple(place for place in world.PLACES[:12] if place.name != mark("place", "harbour"))
_ASKED = (_about_person, _about_person, _about_animal, _about_place, _about_things)
