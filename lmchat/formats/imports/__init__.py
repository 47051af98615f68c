"""Import of chats from files: `reader` is the entrance, and `programs` knows other programs."""

from __future__ import annotations
