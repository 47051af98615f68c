"""The disk: sessions, figures, keys and what lmchat remembers; nothing else opens these files."""

from __future__ import annotations
