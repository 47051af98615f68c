"""The terminal around the program, and the desktop around that."""

from __future__ import annotations
