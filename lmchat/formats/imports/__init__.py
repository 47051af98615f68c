"""Chats of other programs in files: `programs` is the table of these."""

from __future__ import annotations
