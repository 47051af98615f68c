"""What a person sees: the only floor that knows Textual."""

from __future__ import annotations
