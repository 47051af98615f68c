"""Sessions and statistics on the disk; no other package opens their files."""

from __future__ import annotations
