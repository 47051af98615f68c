"""Markdown text, which may still grow, as lines of a given width.

Must not know Textual, messages, screens, or themes, whose styles it only names.
"""

from __future__ import annotations
