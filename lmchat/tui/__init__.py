"""What a person sees, on Textual; `cli` uses only its names of keys."""

from __future__ import annotations
