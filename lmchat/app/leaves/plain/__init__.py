"""The chat without a screen: lines of text (`--plain`), or formatted answers (`--inline`)."""

from __future__ import annotations
