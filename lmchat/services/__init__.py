"""Use cases: what a person can do, on ports that `cli` fills with the real world."""

from __future__ import annotations
