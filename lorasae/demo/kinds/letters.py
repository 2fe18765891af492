"""Texts in which somebody speaks for themselves: letters, diary pages, dialogues and talks in a shop."""

from lorasae.demo import world
from lorasae.demo.labelled import a, capital, mark
from lorasae.demo.narrator import Narrator, Scene, lines, prose
from lorasae.demo.world import Food, Person

_BECAUSE = {
    "happy": ("I passed my test", "the whole family came to visit", "I won the race", "we sang all evening"),
    "sad": ("my best friend moved away", "my old hat fell into the water", "nobody came to my party"),
    "angry": ("somebody broke my window", "the train was late again", "a goat ate my lunch"),
    "afraid": ("I heard steps in the dark", "I must speak in front of everyone tomorrow", "the storm shook the house"),
    "surprised": ("there was a box in front of my door", "I found a coin in my shoe", "my hen laid a blue egg"),
    "calm": ("I sat in the garden all day", "there was nothing to do but read", "the house was quiet"),
    "proud": ("I finished my first picture", "I learned to swim", "the mayor shook my hand"),
    "tired": ("I worked until midnight", "the neighbours danced all night", "I carried stones all day"),
    "lonely": ("all my friends are on a trip", "it is so quiet here", "I have had no letter for weeks"),
    "curious": (
        "there is a new family next door",
        "I saw a strange light on the hill",
        "someone left a key on my table",
    ),
    "grateful": ("my neighbour mended my roof", "you thought of my birthday", "so many people helped me"),
}
_CONSOLATION = {
    "sad": "But a cup of tea always helps.",
    "angry": "I will count to ten and think of nice things.",
    "afraid": "I will leave the lamp on tonight.",
    "lonely": "Please come and visit me soon!",
    "tired": "Tonight I will go to bed early.",
    "happy": "I wish every day were like this!",
    "surprised": "Who would have thought that?",
    "calm": "I could hear my own breath.",
    "proud": "I want to tell the whole world.",
    "curious": "Tomorrow I will find out more.",
    "grateful": "How kind people are!",
}


def _news(n: Narrator, writer: Person, scene: Scene) -> list[str]:
    """Sentences in the first person about the writer's own life, in the weather of the scene."""
    other = n.pick([person for person in world.RESIDENTS[writer.town] if person is not writer])
    thing, place = n.pick(world.THINGS), n.pick(world.PLACES)
    return n.sample(
        [
            f"On {scene.day} {scene.weather.happened}, so I {_spent(n, scene)}.",
            f"I met {other} {place.at}, and we talked about {n.pick(world.ANIMALS).plural}.",
            f"{other} gave me {a(f'{n.colour()} {thing}')}. Now I can {thing.use}.",
            f"{a(writer.job.name)} has to {writer.job.does}, so there is much to do.",
            f"My {writer.pet} is well and eats a lot of {writer.pet.food}.",
            f"I had {writer.food.some} for supper, which I love.",
            f"It is {scene.season} here, and people {n.pick(scene.season.pastimes)}.",
        ],
        n.number(3, 4),
    )


def _spent(n: Narrator, scene: Scene) -> str:
    """What the weather made the writer do."""
    if scene.weather.pleasant:
        return n.one_of("sat in the garden", "took a long walk", "ate my lunch outside", "opened all the windows")
    return n.one_of("stayed in the kitchen", "sat by the fire", "put on my thick coat", "read a book in bed")


def _mood(n: Narrator) -> str:
    group = n.pick(tuple(_BECAUSE))
    feeling, reason = n.feeling(group), n.pick(_BECAUSE[group])
    told = n.one_of(f"I am {feeling} because {reason}.", f"Today I feel {feeling}: {reason}.", f"{reason}, and I am {feeling}.")
    return f"{told} {_CONSOLATION[group]}"


def letter(n: Narrator) -> str:
    """A letter between two citizens, dated, greeted, signed, true to the writer's life."""
    writer, reader = n.sample(world.PEOPLE, 2)
    scene, thing = n.scene(), n.pick(world.THINGS)
    opening = n.one_of(
        f"How are you? I hope all is well in {reader.town}.",
        f"Thank you for the {thing} you sent me. I use it to {thing.use}.",
        f"Greetings from {writer.town}, {writer.town.landscape}!",
        f"It is {a(scene.weather.adjective)} {scene.time}, and I am thinking of you.",
    )
    invitation = n.one_of(
        f"Will you come to {writer.town} in {n.pick(scene.season.months)}? I would love to show you {writer.town.the_sight}.",
        f"When you visit me, there will be {reader.food.some}, your favourite.",
        f"How is your {reader.pet}? Give it some {reader.pet.food} from me.",
        f"Please write to me soon and tell me about your work as {a(reader.job.name)}.",
        f"Can you send me {a(n.pick(world.THINGS).name)}? I need it by {scene.day}.",
    )
    farewell = n.one_of("Your friend,", "With love,", "Best wishes,", "Yours,", "See you soon,")
    return lines(
        n.maybe(f"{writer.town}, {n.number(1, 28)} {scene.month}"),
        f"{n.one_of('Dear', 'Dear', 'Hello', 'My dear')} {reader},",
        prose(opening, *n.shuffled(_mood(n), *_news(n, writer, scene)), invitation),
        mark("farewell", farewell),
        str(writer),
    )


def diary(n: Narrator) -> str:
    """A diary page that names its day, its weather and the feeling the day left behind."""
    writer, scene, time = n.pick(world.PEOPLE), n.scene(), n.pick(world.TIMES[2:])
    heading = n.one_of(f"{scene.day}, {n.number(1, 28)} {scene.month}", f"{scene.day} {time}, {scene.month}")
    return lines(
        mark("title", heading),
        n.maybe("Dear diary,"),
        prose(
            n.one_of(
                f"Today {scene.weather.happened}.",
                f"What a day in {writer.town}! {capital(scene.weather.happened)}.",
                f"It was {a(scene.season.name)} day as it should be: {scene.weather.happened}.",
            ),
            *[sentence for sentence in _news(n, writer, scene) if scene.day not in sentence],
            _mood(n),
            n.one_of(
                f"Now it is {time}, and {time.mood.replace('were', 'are').replace('was', 'is')}.",
                f"Tomorrow I must {writer.job.does} again.",
                f"In {writer.town} everyone is going to bed.",
                mark("farewell", "Good night, dear diary."),
            ),
        ),
    )


def dialogue(n: Narrator) -> str:
    """Two citizens talk about one thing or plan, turn by turn."""
    one, two = n.sample(world.PEOPLE, 2)
    scene, thing, place, animal = n.scene(), n.pick(world.THINGS), n.pick(world.PLACES), n.pick(world.ANIMALS)
    hour, coloured = n.pick(world.NUMBERS[2:12]), f"{n.colour()} {thing}"
    turns = n.one_of(
        (
            f"Is that your {coloured}?",
            f"Yes, I use it to {thing.use}.",
            "May I borrow it?",
            f"Of course, but bring the {thing} back on {scene.day}.",
        ),
        (
            "What do you want to eat?",
            f"I want some {two.food.some}, please. And you?",
            f"I like {one.food.some} better.",
            f"Then let us have {two.food.some} and {one.food.some}." if one.food is not two.food else "Then we like the same!",
        ),
        (
            f"Shall we meet {place.at}?",
            "Good idea. When?",
            f"On {scene.day} at {hour} o'clock.",
            f"I will be {place.at} at {hour}. See you on {scene.day}!",
        ),
        (
            f"Where do you live, {two}?",
            f"I live in {two.town}, {two.town.landscape}. And you?",
            f"My home is {one.town}, {one.town.landscape}.",
            f"Oh, I have heard of {one.town.the_sight} in {one.town}!",
        ),
        (
            f"Look, {a(animal.name)}!",
            f"What does {a(animal.name)} eat?",
            f"It eats {animal.food}, and it lives {animal.home}.",
            f"I like {animal.plural}. Let us be quiet and watch it.",
        ),
        (
            f"What is your job, {two}?",
            f"I am {a(two.job.name)}. I {two.job.does}. What do you do?",
            f"I am {a(one.job.name)}, and I work {one.job.work_place.at}.",
            f"That sounds like good work, {one}.",
        ),
    )
    speakers = (one, two) * 2
    said = [
        n.said(who, words, "asked" if words.endswith("?") and "." not in words else "said")
        for who, words in zip(speakers, turns, strict=True)
    ]
    start = n.one_of(
        f"{n.once(scene)}, {one} met {two} {place.at}.",
        f"{one} and {two} were sitting {place.at}. Outside {scene.weather.happened}.",
        f"{two} came to see {one} on {scene.day}.",
    )
    end = n.maybe(
        f"Then {one} said goodbye and went home.",
        f"{two} nodded and smiled.",
        f"They talked until the {scene.time} was over.",
        n.reaction(n.one_of(one, two), n.one_of("happy", "curious", "calm")),
    )
    hello = n.said(one, n.one_of(f"Hello, {two}!", f"Good day, {two}!", f"Welcome, {two}!"))
    return n.one_of("\n", " ").join(filter(None, (prose(start), n.maybe(hello), *said, prose(end))))


def shop(n: Narrator) -> str:
    """A purchase: goods, price, payment and change agree."""
    keeper, buyer = n.sample(world.PEOPLE, 2)
    food: Food = n.pick(_SOLD)
    amount, price = n.number(2, 6), n.number(1, 3)
    cost = amount * price
    paid = cost + n.number(0, 5)
    coins = "coin" if price == 1 else "coins"
    change = f"Here are {paid - cost} coins back." if paid - cost > 1 else "Here is 1 coin back." if paid > cost else "That is just right."
    return lines(
        prose(f"{buyer} came into the shop of {keeper}, the {n.one_of('kind', 'old', 'busy', 'friendly')} shopkeeper."),
        n.said(keeper, f"Good {n.pick(world.TIMES[:3])}, {buyer}!"),
        n.said(buyer, f"Good day! What does one {food} cost?", "asked"),
        n.said(keeper, f"One {food} costs {price} {coins}. The {food.some} are fresh and {food.colour}.", "answered"),
        n.said(buyer, f"Then I will take {amount} {food.some}, please."),
        n.said(keeper, f"That makes {cost} coins."),
        f"{buyer} gave {keeper} {paid} coins.",
        n.said(keeper, change),
        n.maybe(
            n.said(buyer, n.one_of("Thank you very much!", "Thank you and goodbye!")),
            f"{buyer} put the {food.some} into {a(n.one_of('basket', 'bag', 'box'))} and went home.",
        ),
    )


_SOLD = tuple(food for food in world.FOODS if food.counted)
