"""The messages of a log: their blocks, their heights, and places in them that are found again."""

from __future__ import annotations
