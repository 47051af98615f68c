"""Values that every floor shares: messages, events, turns, sessions, servers, figures; no I/O."""

from __future__ import annotations
