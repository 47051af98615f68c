"""Which servers and models are there, and which one answers next.

Entrance: `choose.choose`. Must not know: who asks the user.
"""

from __future__ import annotations
