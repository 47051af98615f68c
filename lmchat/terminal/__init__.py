"""The terminal around the program: giving it back, the clipboard, the editor, the pager, the bell."""

from __future__ import annotations
