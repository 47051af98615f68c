"""The terminal around the program: output, clipboard, editor, pager, bell."""

from __future__ import annotations
