"""What is selected, and what a copy of it holds."""

from __future__ import annotations
