"""Blocks laid out as lines of a page."""

from __future__ import annotations
