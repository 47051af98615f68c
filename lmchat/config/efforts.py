"""How much a model may be asked to think; by itself, because `--help` tells it and loads no settings."""

from __future__ import annotations

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""Least first; which of them one takes, server and model decide."""
