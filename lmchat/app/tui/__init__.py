"""The screen. Only this package uses Textual, apart from names of keys and themes in `cli`."""

from __future__ import annotations
