"""Sessions as text: one pure module for each format."""

from __future__ import annotations
