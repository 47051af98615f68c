"""A draft in which several windows type."""

from __future__ import annotations


def merged(stored: str, own: str, text: str) -> str:
    """Replace what one window has written last, `own`, with its new text.

    Whole parts between blank lines are compared. If `own` is gone, both texts stay, but what both
    have only once.
    """
    before, found, behind = f"\n\n{stored}\n\n".partition(f"\n\n{own}\n\n")
    if own and found:
        parts = [before.removeprefix("\n\n"), text, behind.removesuffix("\n\n")]
    elif f"\n\n{text}\n\n" in f"\n\n{stored}\n\n":
        parts = [stored]
    elif f"\n\n{stored}\n\n" in f"\n\n{text}\n\n":
        parts = [text]
    else:
        parts = [stored, text]
    return "\n\n".join(filter(None, parts))
