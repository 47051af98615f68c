"""Fixes of faults in Textual and rich; no other package uses their private names.

Textual could take over: `RowsUpdate`, as rows of one widget need no cuts and what is drawn already
need not be written; `reflow`, which compares each layout with the one before; a cover for a widget
that cannot be drawn; updates below a dialog; and a frame at once, which needs a public way to
paint. rich could cut within no grapheme (`patch_cuts`).
"""
