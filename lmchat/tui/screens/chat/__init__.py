"""The chat screen and its controllers."""

from __future__ import annotations
