"""Fixes of faults in Textual and rich, the only users of their private names."""

from __future__ import annotations
