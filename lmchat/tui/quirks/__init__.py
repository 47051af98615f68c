"""Fixes of faults in Textual and rich; only here are their private names used, each under a test."""

from __future__ import annotations
