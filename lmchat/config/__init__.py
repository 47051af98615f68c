"""The configuration: what can be set, where it comes from, how it is read and checked."""

from __future__ import annotations
