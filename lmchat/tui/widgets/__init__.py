"""Widgets: each draws one thing, is handed its data, and tells facts upwards."""

from __future__ import annotations
