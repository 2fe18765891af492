"""A page of one sentence and one link, for a person who has come to an address where the lab's pages are not."""

import html

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark">
<title>LoRA-SAE Lab</title><link rel="stylesheet" href="/lab/assets/lab.css">
<body style="font-family: system-ui, sans-serif; max-width: 36rem; margin: 20vh auto; padding: 0 1rem">
<p>{sentence}</p><p><a href="{address}"{target}>{text}</a></p></body></html>"""


def notice_page(sentence: str, address: str = "/", text: str = "The lab's first page", *, own_tab: bool = False) -> str:
    """The page as HTML.

    Args:
        sentence: What is to be said.
        address: Where to go from here.
        text: The words of the link.
        own_tab: Whether the link opens a tab of its own.
    """
    target = ' target="_blank" rel="noopener"' if own_tab else ""
    return _PAGE.format(sentence=html.escape(sentence), address=html.escape(address), text=html.escape(text), target=target)
