"""Widgets: each draws the data it is given and posts messages; `FindBar` calls the log itself."""

from __future__ import annotations
