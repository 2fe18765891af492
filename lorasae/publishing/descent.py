"""Whose an adapter was before it was published here, in words for the card, and whose licences hold for it."""

from lorasae.publishing.licences import Licence, licence_of
from lorasae.publishing.publication import Publication
from lorasae.store.lineage import Ancestor
from lorasae.store.run_folder import EXAMPLE_ID


def where_from(what: Publication) -> str:
    """The card's section on what the adapter began with; empty for one that began afresh."""
    if not what.ancestors:
        return ""
    nearest, *before = what.ancestors
    parts = [f"## Where it comes from\n\n{_nearest(what, nearest)}"]
    if before:
        parts.append("Before that, nearest first:\n\n" + "\n".join(f"- {named(each)}" for each in before))
    if any("repo_id" in each for each in what.ancestors):
        parts.append("Their authors' licences hold for this adapter too.")
    return "\n\n".join(parts)


def _nearest(what: Publication, nearest: Ancestor) -> str:
    if what.is_opened:
        return (
            f"This is {named(nearest)}, and no other: it was opened in LoRA-SAE Lab and is published again with its weights unchanged. "
            "The training and the numbers are its author's; what was measured again here stands under its own heading."
        )
    if what.is_only_measured:
        return f"This is {named(nearest)}, and no other: nothing was trained here. It was measured as it is, around the SAEs above."
    return f"Training began with {named(nearest)}, and went on from its weights."


def named(one: Ancestor) -> str:
    """An ancestor as a card names it: which adapter, of which commit, whose, under which licence."""
    if "repo_id" in one:
        licence = f"licence {one['licence']}" if one.get("licence") else "its card names no licence"
        link = f"[{one['repo_id']}](https://huggingface.co/{one['repo_id']})"
        return f"the adapter {link} of {one['repo_id'].partition('/')[0]}, at commit `{one['commit']}` ({licence})"
    if one.get("run_id") == EXAMPLE_ID:
        return "the adapter of the example run that comes with LoRA-SAE Lab"
    if "run_id" in one:
        whose = "somebody else's run" if one.get("others") else "an earlier run of the same author"
        return f"the adapter of {whose} in the same lab, `{one['run_id']}`"
    return "an adapter from a folder of the author's own"


def licence_for(what: Publication) -> Licence:
    """The licence of the base model where every earlier adapter is under the same; else `other`, with what holds beside it."""
    base = licence_of(what.base_model)
    apart = [each for each in what.ancestors if "repo_id" in each and each.get("licence") != base.name]
    if not apart:
        return base
    beside = f"The licence of the base model applies ({base.name}). " if base.name != "other" else ""
    words = "; ".join(f"{each['repo_id']}: {each.get('licence') or 'its card names none, ask its author'}" for each in apart)
    notice = f"{base.notice}\n\n" if base.notice else ""
    return Licence("other", f"{notice}{beside}So do those of the adapters that it began with ({words}).", "those-of-all-that-it-began-with")
