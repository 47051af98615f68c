"""Screens and dialogs: widgets put together, facts turned into calls of services."""

from __future__ import annotations
