"""Fables: two animals who talk, one who is wrong, and the moral of it."""

from lorasae.demo import world
from lorasae.demo.labelled import a, mark
from lorasae.demo.narrator import Narrator, lines, prose


def fable(n: Narrator) -> str:
    """Two animals meet; the moral fits what happened between them."""
    one, two = n.sample(_TALKERS, 2)
    big, small = f"the {one}", f"the {two}"
    scene, number = n.scene(), n.pick(world.NUMBERS[2:10])
    meeting = n.one_of(
        f"{n.once(scene)}, {a(one.name)} met {a(two.name)}.",
        f"Long ago, {a(one.name)} and {a(two.name)} lived near each other.",
        f"{a(one.name)} and {a(two.name)} were neighbours. The {one} lived {one.home} and the {two} {two.home}.",
    )
    boast, reply, turn, end, moral = n.one_of(
        (
            f"Look, I can {one.my_habit}, and you cannot.",
            f"That is true, but I can {two.my_habit}.",
            f"So they had a contest for {number} days, and nobody won.",
            n.said(small, n.one_of("Each of us is good at something.", "Let us both be proud.")),
            "Everyone is good at something.",
        ),
        (
            f"I have so much {one.food} that I will never be hungry.",
            f"Please give me a little, for I could not find any {two.food}.",
            f"The {one} gave nothing. But in {n.pick(world.SEASONS)} all the {one.food} was gone, and it was {n.feeling('sad')}.",
            n.said(small, "Come, I will share with you."),
            n.one_of("Share what you have.", "Be kind, and others will be kind to you."),
        ),
        (
            "I am faster than you!",
            "Let us race to the old tree.",
            f"The {one} ran ahead and lay down to sleep. The {two} went on step by step and won.",
            n.said(big, n.one_of("How did you do that?", "I should not have slept."), "cried"),
            n.one_of("Slow and steady wins the race.", "Do not rest before the end."),
        ),
        (
            "Why should I help somebody like you?",
            f"Because one day you may need {a(two.name)}.",
            f"After {number} days the {one} fell into a hole and was very {n.feeling('afraid')}. The {two} pulled it out with a rope.",
            n.said(big, "Thank you, and I am sorry for my words."),
            n.one_of("Nobody is too small to help.", "Good friends can come in any size."),
        ),
        (
            f"I heard a {n.one_of('loud', 'strange', 'deep')} noise. A monster is coming!",
            "Let us go and look before we run.",
            f"They looked behind the bush, and there was only {a(n.pick(_HARMLESS).name)}. The {one} was very {n.feeling('surprised')}.",
            n.said(big, "I was silly to be afraid."),
            n.one_of("Look first and run later.", "Most things are less terrible than they sound."),
        ),
    )
    title = f"{mark('title', f'The {one} and the {two}')}"
    told = prose(
        meeting,
        n.said(big, boast),
        n.said(small, reply, "answered"),
        turn,
        end,
        n.maybe(
            f"From that {scene.time} on, they were good friends.",
            f"Then they ate {one.food} and {two.food} together." if one.food != two.food else f"Then they ate {one.food} together.",
            f"The {one} thought about it all {scene.season} long.",
        ),
    )
    lesson = mark("moral", n.one_of(f"The moral: {moral}", moral, f"Remember: {moral}"))
    return n.one_of(lines(title, told, lesson), lines(title, f"{told} {lesson}"), lines(told, lesson))


_HARMLESS = tuple(animal for animal in world.ANIMALS if animal.sort in ("pet", "bird"))
_TALKERS = tuple(
    animal
    for animal in world.ANIMALS
    if animal.food not in {other.plural for other in world.ANIMALS} and animal.sort not in ("sea", "bird")
)
