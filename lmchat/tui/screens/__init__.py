"""Screens and dialogs: they compose widgets and turn their messages into calls of services."""

from __future__ import annotations
