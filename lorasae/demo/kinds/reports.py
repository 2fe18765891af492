"""Public texts: weather reports, town news and sports reports."""

from lorasae.demo import world
from lorasae.demo.labelled import a, capital, mark
from lorasae.demo.narrator import Narrator, lines, prose

_DEGREES = {"spring": (8, 18), "summer": (18, 32), "autumn": (6, 16), "winter": (-9, 3)}
_ADVICE = {
    "rainy": "take an umbrella",
    "mild": "leave the heavy coat at home",
    "breezy": "hold on to your hat",
    "sunny": "wear a hat",
    "hot": "drink a lot of water",
    "stormy": "stay inside",
    "dry": "water the flowers",
    "windy": "hold on to your hat",
    "foggy": "walk slowly and carry a lamp",
    "cool": "put on a jacket",
    "snowy": "bring out the sledge",
    "icy": "walk with small steps",
    "frosty": "cover the young plants",
    "cold": "wear two pairs of socks",
}
_ADVICE_BY_WEATHER = {mark("weather", adjective): advice for adjective, advice in _ADVICE.items()}
_USEFUL = tuple(t for t in world.THINGS if t.material in {mark("material", m) for m in ("oak", "brass", "iron", "tin")})
_DEGREES_BY_SEASON = {season.name: limits for season, limits in zip(world.SEASONS, _DEGREES.values(), strict=True)}


def weather_report(n: Narrator) -> str:
    """A forecast whose weather and degrees belong to its season."""
    scene, town = n.scene(), n.pick(world.TOWNS)
    other = n.pick([o for o in world.TOWNS if o.landscape != town.landscape])
    later = n.pick([w for w in scene.season.weathers if w is not scene.weather])
    low, high = _DEGREES_BY_SEASON[scene.season.name]
    degrees = n.number(low, high - 3)
    advice = _ADVICE_BY_WEATHER[scene.weather.adjective]
    speaker, day = n.pick(world.PEOPLE), n.pick([day for day in world.DAYS if day != scene.day])
    return prose(
        n.one_of(
            f"Here is the weather for {scene.day}, {n.number(1, 28)} {scene.month}.",
            f"Weather report for {town} in {scene.month}.",
            f"Good {n.pick(world.TIMES[:3])}! This is the {scene.season} weather for {town} and {other}.",
        ),
        n.one_of(
            f"In {town}, {town.landscape}, {scene.weather.forecast}.",
            f"It will be {a(scene.weather.adjective)} {scene.time} in {town}.",
            f"Expect {scene.weather.noun} in {town} and everywhere {town.landscape}.",
        ),
        n.one_of(
            f"The temperature will be {degrees} degrees at noon and {degrees - 3} degrees at night.",
            f"It will be {degrees} degrees, and {degrees + 2} degrees in the sun.",
            f"Yesterday {scene.weather.happened} too.",
        ),
        n.one_of(f"If you go out, {advice}.", f"Please {advice}.", f"{speaker}, the {speaker.job}, says: {advice}!"),
        n.one_of(
            f"In {other}, {other.landscape}, {later.forecast}.",
            f"{other} will get {later.noun}, for it lies {other.landscape}.",
        ),
        n.one_of(
            f"On {day} it will be {later.adjective} again, so {_ADVICE_BY_WEATHER[later.adjective]}.",
            f"For {day} we expect {later.noun}.",
            f"The next {scene.season} days will stay {scene.weather.adjective}.",
        ),
        n.maybe(
            f"It is a good time to {n.pick(scene.season.pastimes)}.",
            f"People in {town} {n.pick(scene.season.pastimes)}.",
        ),
    )


def news(n: Narrator) -> str:
    """A small event in one town, with an eyewitness from there and a consequence."""
    hero, witness, helper = n.neighbours(3)
    town, scene, animal, thing, place = (
        hero.town,
        n.scene(),
        n.pick(world.ANIMALS),
        n.pick(world.THINGS),
        n.pick(world.PLACES),
    )
    coloured, number, made = f"{n.colour()} {thing}", n.pick(world.NUMBERS[2:]), n.pick(_USEFUL)
    headline, event, said, after = n.one_of(
        (
            f"{animal} seen {place.at}",
            f"{hero} saw {a(animal.name)} {place.at}. It was looking for {animal.food}",
            n.one_of(
                f"It did what {a(animal.name)} does: it {animal.habits}.",
                f"I have never seen {a(animal.name)} so close!",
            ),
            f"{helper} brought the {animal} back to its home {animal.home}.",
        ),
        (
            f"{thing} found {place.at}",
            f"{hero} found {a(coloured)} {place.at}. Nobody knows whose it is",
            n.one_of(
                f"Someone must miss it, for it is good to have {a(thing.name)} to {thing.use}.",
                f"It is made of {thing.material} and looks quite new.",
            ),
            f"The owner of the {thing} can ask {helper}, the {helper.job}.",
        ),
        (
            f"new {made} for {place.the}",
            f"{hero} gave {a(made.name)} to {place.the}. Everyone can use it to {made.use}",
            n.one_of("We are all very grateful.", f"The old {made} was broken."),
            f"{helper} thanked {hero} with some {helper.food.some}.",
        ),
        (
            f"{hero} wins the {hero.food} prize",
            f"{hero}, {a(hero.job.name)}, brought the best {hero.food.some} to the fair. {capital(number)} people came to see",
            n.one_of("Nobody else had a chance.", f"{hero} worked hard for it."),
            f"{helper} came second and was {n.feeling('happy')} all the same.",
        ),
        (
            f"{scene.weather.noun} in {town}",
            f"{scene.weather.happened} in the whole town, and {hero} left {hero.his} work {hero.job.work_place.at} early",
            n.one_of(f"In {scene.month} you never know.", f"It was the same last {scene.season}."),
            f"{helper} invited everyone to {helper.his} {'garden' if scene.weather.pleasant else 'warm kitchen'} "
            f"and gave them {helper.food.some}.",
        ),
    )
    return lines(
        mark("title", prose(headline)),
        prose(
            n.one_of(
                f"{town}, {scene.month}.",
                f"News from {town}, {town.landscape}.",
                f"This happened in {town} on {scene.day}.",
            ),
            f"{event}.",
            n.said(n.one_of(f"{witness} the {witness.job}", str(witness)), said),
            after,
            n.maybe(
                f"{hero} is {a(hero.job.name)} and works {hero.job.work_place.at}.",
                f"It was {a(scene.weather.adjective)} {scene.day} in {scene.month}.",
                f"{hero} also has {a(hero.pet.name)}, as everyone knows.",
            ),
            n.one_of(
                f"Now all of {town} is {n.feeling(n.one_of('happy', 'surprised', 'curious'))}.",
                f"People talked about it until {n.pick(world.DAYS)}.",
                f"More news on {n.pick(world.DAYS)}.",
                f"This {scene.season} there is much to talk about in {town}.",
                f"{hero} felt {n.feeling(n.one_of('proud', 'tired', 'calm'))} that {scene.time}.",
            ),
        ),
    )


def sports(n: Narrator) -> str:
    """A race or a match between two towns; the numbers decide who wins and who is glad."""
    home, away = n.sample(world.TOWNS, 2)
    scene = n.scene()
    scorer, rival, keeper = *n.sample(world.RESIDENTS[home], 1), *n.sample(world.RESIDENTS[away], 2)
    more, fewer = n.number(2, 6), n.number(0, 1)
    glad, sorry = n.feeling(n.one_of("happy", "proud")), n.feeling(n.one_of("sad", "tired", "angry"))
    game = (
        n.one_of("football", "handball", "hockey", "water polo")
        if scene.season.name != world.SEASONS[3].name
        else n.one_of("ice hockey", "handball")
    )
    match = prose(
        n.one_of(
            f"On {scene.day} {home} played {game} against {away}.",
            f"{home} and {away} met for a game of {game} in {scene.month}.",
            f"{a(game)} match between {home} and {away} took place on {a(scene.weather.adjective)} {scene.day}.",
        ),
        n.one_of(
            f"{scene.weather.happened}, {'and' if scene.weather.pleasant else 'but'} many people came.",
            f"{rival} from {away} got the first chance, but missed.",
            f"The crowd sang for {home}.",
        ),
        f"After {n.number(2, 20)} minutes {scorer}, "
        f"{n.one_of(f'the {scorer.job} from {home}', 'the best player of the day')}, scored for {home}.",
        n.one_of(f"{keeper} of {away} could not stop the shot.", f"Then {rival} tried for {away}, but {home} was too strong."),
        f"{home} won {more} to {fewer}.",
    )
    one, two, three = n.sample(world.PEOPLE, 3)
    move = n.one_of("running race", "swimming race", "bicycle race", "boat race", "horse race")
    race = prose(
        n.one_of(f"The great {move} of {home} was held on {scene.day}.", f"In {scene.month} {home} held its {move}."),
        n.one_of(f"{scene.weather.happened}, and the way was long.", f"{n.pick(world.NUMBERS[5:])} people took part."),
        f"At first {one} was in front of {two}.",
        f"But at the {n.one_of('last corner', 'old bridge', 'half way mark')} {two} passed {one}, and {three} was close behind.",
        f"{two} won, {one} came second and {three} third.",
    )
    if n.chance(0.5):
        text, winner, loser = match, scorer, rival
    else:
        text, winner, loser = race, two, one
    return prose(
        text,
        n.said(
            winner,
            n.one_of("I can hardly believe it!", f"I am so {glad}!", "We trained for weeks."),
            n.one_of("said", "cried"),
        ),
        n.one_of(f"{loser} was {sorry} and went home early.", f"{loser} was {sorry}, but shook hands with {winner}."),
        n.maybe(
            f"Afterwards everyone ate {n.pick(world.FAVOURITES[:20]).some}.",
            f"The prize was {a(n.pick(world.THINGS).name)}.",
            f"The next meeting is in {n.pick(world.TOWNS)} in {n.pick(world.SEASONS)}.",
        ),
    )
