"""Stories: six plots in which what comes later follows from what came before."""

from lorasae.demo import world
from lorasae.demo.labelled import a, mark
from lorasae.demo.narrator import Narrator, prose

_TOO_BIG = {mark("thing", name) for name in ("bed", "table", "carpet", "bench", "boat", "raft", "cart", "chest", "sail")}
_CARRIED = tuple(thing for thing in world.THINGS if thing.name not in _TOO_BIG)
_PATIENTS = tuple(
    animal
    for animal in world.ANIMALS
    if (animal.sort in ("pet", "bird") and animal.name not in (mark("animal", "goldfish"), mark("animal", "eagle")))
    or animal.name in {mark("animal", name) for name in ("hedgehog", "squirrel", "hare", "badger", "frog", "toad", "mouse", "lizard")}
)
_BUILT = {
    "birdhouse": "hung it in the tallest tree",
    "boat": "pushed it into the water",
    "raft": "floated across the pond on it",
    "bench": "sat down on it side by side",
    "table": "ate supper at it",
    "cart": "filled it with hay",
    "kite": "let it fly above the roofs",
    "chair": "took turns to sit on it",
    "ladder": "climbed up to look at the view",
    "lantern": "lit it when it grew dark",
    "toy train": "gave it to the children",
}
_BUILDABLE = {thing: _BUILT[name] for name in _BUILT for thing in world.THINGS if thing.name == mark("thing", name)}

_TOOLS = tuple(thing for thing in world.THINGS if thing.name in {mark("thing", t) for t in ("hammer", "saw", "knife", "rope")})
_COUNTED = tuple(food for food in world.FOODS if food.counted and food.sort in ("fruit", "nut", "treat"))


def story(n: Narrator) -> str:
    """One of the plots, with or without a title."""
    title, text = n.pick(_PLOTS)(n)
    return f"{mark('title', title)}\n{text}" if n.chance(0.4) else text


def lost_and_found(n: Narrator) -> tuple[str, str]:
    """Somebody misses a thing, looks in vain, asks a neighbour and finds that same thing."""
    hero, friend = n.neighbours(2)
    scene, lost, decoy, culprit = n.scene(), n.pick(_CARRIED), n.pick(_CARRIED), n.pick(world.PETS)
    thing = f"{n.colour()} {lost}"
    wrong, right = n.places(2)
    return f"The lost {thing}", prose(
        n.introduced(hero),
        n.one_of(
            f"{hero} had {a(thing)} and used it to {lost.use}.",
            f"{hero.He} owned {a(thing)} that was made of {lost.material}.",
            f"Of all {hero.his} things, {hero} loved {hero.his} {thing} best.",
        ),
        n.one_of(
            f"{n.once(scene)}, the {thing} was gone.",
            f"{n.once(scene)}, {hero} could not find the {thing}.",
            f"But {n.once(scene)}, {hero.his} {thing} was not in its place.",
        ),
        n.reaction(hero, n.one_of("sad", "sad", "angry", "afraid")),
        n.one_of(
            f"{hero.He} {n.move().past} to {wrong.the}, but there was only an old {decoy} there.",
            f"First {hero.he} looked {wrong.at}, but the {thing} was not there.",
            f"{hero.He} searched {wrong.at} for an hour and found nothing.",
        ),
        f"Then {hero.he} met {friend}, {n.one_of('a good neighbour', 'an old friend', f'the {friend.job}')}.",
        n.said(hero, f"Have you seen my {thing}?", "asked"),
        n.said(
            friend,
            n.one_of(
                f"I saw it {right.at}.",
                f"Perhaps you left it {right.at}.",
                f"My {culprit} ran off with it. Look {right.at}.",
            ),
        ),
        n.one_of(
            f"They {n.move().past} to {right.the} together, and there was the {thing}!",
            f"So they looked {right.at}, and there lay the {thing}.",
            f"{hero} {n.move().past} to {right.the} at once and found the {thing}.",
        ),
        n.reaction(hero, n.one_of("happy", "happy", "grateful")),
        n.maybe(
            n.said(hero, f"Thank you, {friend}!"),
            f"To thank {friend}, {hero} shared some {friend.food.some} with {friend.him}.",
            f"From that day on, {hero} kept the {thing} in a safe place.",
            f"That {scene.time} {hero.he} used it to {lost.use}.",
        ),
    )


def journey(n: Narrator) -> tuple[str, str]:
    """Somebody travels to another town for a reason that is met on arrival."""
    hero, host = n.sample(world.PEOPLE, 2)
    while host.town is hero.town:
        host = n.pick(world.PEOPLE)
    goal, scene, thing, animal = host.town, n.scene(), n.pick(_CARRIED), n.pick(world.ANIMALS)
    past, days = n.move().past, n.pick(world.NUMBERS[2:8])
    purpose, fulfilled = n.one_of(
        (f"to visit {hero.his} friend {host}", f"{host} was already waiting at the gate."),
        (f"to bring {host} {a(thing.name)}", f"{host} unpacked the {thing} with great care."),
        (f"to see {goal.the_sight}", f"And there it was at last: {goal.the_sight}!"),
        (f"to ask {host} the {host.job} for advice", f"{host} listened and gave {hero.him} good advice."),
    )
    return f"The way to {goal}", prose(
        n.introduced(hero),
        f"{n.once(scene)}, {hero} set out for {goal} {purpose}.",
        n.one_of(
            f"{goal} lies {goal.landscape}, and the way is long.",
            f"It was a long way from {hero.town} to {goal}.",
            f"{hero.He} packed some {hero.food.some} and {a(n.pick(_CARRIED).name)}.",
        ),
        n.one_of(
            f"{hero.He} {past} on and on, and {scene.weather.happened}.",
            f"At first {hero.he} {past} along a narrow path.",
            f"{hero.He} {past} past fields and farms.",
        ),
        n.one_of(
            f"On the way {hero.he} heard of {a(animal.name)} that lived {animal.home}.",
            f"Half way there, {hero.he} drank some water and ate a few {n.pick(_COUNTED).some}.",
            f"After {days} miles {hero.he} sat down to rest.",
            n.reaction(hero, n.one_of("tired", "lonely", "curious")),
        ),
        n.one_of(
            f"At last {hero.he} reached {goal}, {goal.landscape}.",
            f"When {hero} came to {goal}, {scene.time.mood}.",
            f"Then {hero.he} saw the first roofs of {goal}.",
        ),
        fulfilled,
        n.reaction(hero, n.one_of("happy", "calm")),
        n.maybe(
            f"{hero.He} stayed in {goal} for {days} days and then went home to {hero.town}.",
            f"The next day {hero.he} went home to {hero.town} with many stories to tell.",
            n.said(hero, f"I will come back to {goal} in {scene.next_season}."),
        ),
    )


def gift(n: Narrator) -> tuple[str, str]:
    """Somebody makes or buys a present that suits a neighbour, and the neighbour uses it."""
    giver, friend = n.neighbours(2)
    scene, present = n.scene(), n.pick(_CARRIED)
    thing, shop = f"{friend.colour} {present}", n.pick(world.PLACES[:2])
    return f"A present for {friend}", prose(
        n.introduced(friend),
        f"{n.once(scene)}, {giver} remembered that it was {friend}'s birthday.",
        n.one_of(
            f"{giver} thought for a long time. What would {friend} like?",
            n.said(giver, f"What can I give to {friend}?", "thought"),
            f"{giver} had no present yet and only {n.pick(world.NUMBERS[3:15])} coins.",
        ),
        n.one_of(
            f"{friend} liked the colour {friend.colour}, so {giver} bought {a(thing)} at the market.",
            f"{giver} took some {present.material} and made {a(thing)}, because {friend} loved the colour {friend.colour}.",
            f"In a small shop near {shop.the}, {giver} found {a(thing)}.",
        ),
        n.maybe(
            f"{giver.He} put it in a box and tied a ribbon around it.",
            f"It was made of {present.material} and looked very fine.",
            f"{giver.He} hid it {n.pick(world.PLACES).at} until the {scene.time}.",
        ),
        f"Then {giver.he} {n.move().past} to {friend}'s house and knocked on the door.",
        n.said(giver, f"{n.one_of('Happy birthday', 'All the best')}, {friend}!"),
        n.one_of(f"{friend} opened the box.", f"{friend} looked inside.", f"Slowly {friend} took off the paper."),
        n.said(friend, n.one_of(f"What a lovely {present}!", f"Oh, {a(thing)}! Thank you, {giver}!")),
        n.reaction(friend, n.one_of("happy", "surprised", "grateful")),
        n.one_of(
            f"From then on, {friend} used it to {present.use}.",
            f"They ate {friend.food.some} together, which {friend} liked best of all."
            if friend.food.sort != "drink"
            else f"They drank {friend.food.some} together and talked until late.",
            f"{giver} was {n.feeling('proud')}, for the {present} was just right.",
        ),
    )


def quarrel(n: Narrator) -> tuple[str, str]:
    """Two neighbours fall out over a thing, and make peace by sharing it."""
    one, two = n.neighbours(2)
    scene, wanted, place = n.scene(), n.pick(_CARRIED), n.pick(world.PLACES)
    thing, snack = f"{n.colour()} {wanted}", n.pick(world.FAVOURITES)
    return f"The quarrel about the {thing}", prose(
        n.one_of(
            f"{one} and {two} were neighbours in {one.town}.",
            f"{one} the {one.job} and {two} the {two.job} were good friends.",
            f"In {one.town}, {one.town.landscape}, {one} and {two} lived next door to each other.",
        ),
        f"{n.once(scene)}, they found {a(thing)} {place.at}.",
        n.said(one, n.one_of(f"I want to {wanted.use}, so the {wanted} is mine.", f"I saw the {wanted} first!")),
        n.said(
            two,
            n.one_of("No, it belongs to me!", "That is not fair!", f"But I need {a(wanted.name)} more than you!"),
            "cried",
        ),
        n.reaction(one, "angry"),
        n.one_of(
            f"For {n.pick(world.NUMBERS[2:8])} days they did not speak to each other.",
            f"{two} {n.move().past} home without a word.",
            f"They pulled at the {wanted} until it nearly broke.",
        ),
        n.reaction(two, n.one_of("sad", "lonely")),
        n.one_of(
            f"Then {two} had an idea. {two.He} took some {snack.some} and knocked on {one}'s door.",
            f"On {scene.day} {two} came back with some {snack.some}.",
        ),
        n.said(two, n.one_of("I am sorry.", "Let us be friends again.", "I do not want to quarrel.")),
        n.said(
            one,
            n.one_of(
                "I am sorry too.",
                f"Let us share the {thing}.",
                f"You can have the {thing} today, and I will take it tomorrow.",
            ),
        ),
        n.one_of(f"They shared the {snack.some} and laughed.", f"So they shared the {thing} and the {snack.some}."),
        n.reaction(n.one_of(one, two), n.one_of("happy", "calm")),
        n.maybe(
            f"The {thing} now stays {place.at} for everyone.",
            "They never quarrelled again.",
            f"After that they used it together to {wanted.use}.",
        ),
    )


def rescue(n: Narrator) -> tuple[str, str]:
    """Somebody finds an animal in trouble and feeds it what that animal eats."""
    hero, expert = n.neighbours(2)
    scene, patient, place = n.scene(), n.pick(_PATIENTS), n.pick(world.PLACES)
    trouble, cure = n.one_of(
        ("It had hurt its leg", "put a soft bandage around its leg"),
        ("It was caught in a net", "cut the net with a small knife"),
        ("It was wet and cold", "wrapped it in a warm blanket"),
        ("It had lost its way", "carried it home in a basket"),
        ("It was thin and weak", "made a soft bed for it"),
    )
    return f"{hero} and the {patient}", prose(
        n.introduced(hero),
        n.one_of(
            f"{n.once(scene)}, {hero.he} found a little {patient} {place.at}.",
            f"{n.once(scene)}, {hero} saw a small {patient} {place.at}.",
            f"{n.once(scene)}, {hero.he} heard a strange noise {place.at}. It was a young {patient}.",
        ),
        f"{trouble}{n.one_of(' and could not move', ' and was afraid', ' and looked at ' + hero.him, '')}.",
        f"The {patient} made a soft sound: {patient.sound}, {patient.sound}." if patient.sound and n.chance(0.5) else "",
        n.reaction(hero, n.one_of("sad", "surprised", "curious")),
        n.said(hero, n.one_of("Do not be afraid.", "I will help you.", "You poor little thing!")),
        f"{n.one_of('Gently', 'Carefully', 'Quickly')} {hero.he} {cure}.",
        n.one_of(
            f"Then {hero} asked {expert}, {hero.his} neighbour, what {a(patient.name)} eats.",
            f"{expert} the {expert.job} came to look at the {patient}.",
            f"{hero} called {hero.his} friend {expert}.",
        ),
        n.said(expert, n.one_of(f"Give it some {patient.food}.", f"{patient.plural} like {patient.food}.")),
        n.one_of(
            f"The {patient} ate the {patient.food} and soon felt better.",
            f"It ate all the {patient.food} and fell asleep.",
        ),
        n.one_of(
            f"After {n.pick(world.NUMBERS[2:10])} days it was strong again, and {hero} took it back to its home {patient.home}.",
            f"Soon it was well, and {hero} let it go, for its home was {patient.home}.",
            f"When {scene.next_season} came, the {patient} was well again.",
        ),
        n.reaction(hero, n.one_of("happy", "proud", "calm")),
    )


def building(n: Narrator) -> tuple[str, str]:
    """Two neighbours build a thing from its material, meet a setback, and use what they built."""
    one, two = n.neighbours(2)
    scene, made = n.scene(), n.pick(tuple(_BUILDABLE))
    colour, place = n.colour(), n.pick(world.PLACES)
    thing, tool = f"{colour} {made}", n.pick(_TOOLS)
    return f"How {one} and {two} built {a(made.name)}", prose(
        f"{n.once(scene)}, {one} had an idea.",
        n.said(one, n.one_of(f"Let us build {a(thing)}!", f"We need {a(made.name)} to {made.use}.")),
        n.said(
            two,
            n.one_of(
                f"Yes, and I will bring the {made.material}.",
                f"I have {a(tool.name)} and some {colour} paint.",
                "What a good plan!",
            ),
        ),
        n.one_of(
            f"{one} was {a(one.job.name)} and {two} was {a(two.job.name)}, so they had much to learn.",
            f"They lived in {one.town} and met {place.at} every {scene.time}.",
        ),
        f"First they {n.one_of('fetched', 'bought', 'found')} {made.material} at the market. Then they took {a(tool.name)} and began.",
        n.one_of(
            f"But {one.his} {one.pet} ran off with the {tool}, and they had to stop until {scene.day}."
            if scene.weather.pleasant
            else f"But {scene.weather.happened}, and they had to stop until {scene.day}.",
            "But one part was too short, and they had to start again.",
            f"But the {tool} broke, and {two} had to borrow another {tool}.",
        ),
        n.reaction(two, n.one_of("sad", "angry", "tired")),
        n.said(one, n.one_of("We will not give up.", "Let us try once more.", "Slow and steady wins.")),
        f"After {n.pick(world.NUMBERS[2:10])} days the {made} was ready, and they painted it {colour}.",
        f"They {_BUILDABLE[made]}.",
        n.reaction(n.one_of(one, two), n.one_of("proud", "happy")),
        n.maybe(f"Everyone in {one.town} came to look at the {thing}.", f"Now they can {made.use}."),
    )


_PLOTS = (lost_and_found, journey, gift, quarrel, rescue, building)
