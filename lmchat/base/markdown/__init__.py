"""Markdown text, which may still grow, as lines of a given width; it only names styles."""

from __future__ import annotations
