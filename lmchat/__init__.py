"""lmchat: the terminal chat client for people who run a language model on their own machine."""

from __future__ import annotations

__version__ = "0.1.0"
