"""One module for one product: its facts, its words and how it is spoken to.

Must not know: who asks.
"""

from __future__ import annotations
