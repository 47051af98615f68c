"""Search for servers and their models, and choice of those that answer next."""

from __future__ import annotations
