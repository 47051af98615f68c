"""Markdown cut into blocks while it arrives: what is closed never changes again."""

from __future__ import annotations
