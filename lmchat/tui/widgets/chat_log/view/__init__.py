"""What is seen: scrolling, painting, marks, focus, what mouse and keys do."""

from __future__ import annotations
