"""Widgets: each draws the data it is given and posts messages."""

from __future__ import annotations
