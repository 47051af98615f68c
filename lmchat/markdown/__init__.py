"""Markdown that grows → lines of a width. For the log and for `--inline`, without Textual.

Must not know: messages, screens, themes (it names styles).
"""

from __future__ import annotations
