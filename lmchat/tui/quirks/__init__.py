"""The only place that touches private names of Textual and rich; a test stands beside each."""

from __future__ import annotations
