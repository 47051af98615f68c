"""Which servers and models are there, and which one answers next.

Entrance: `choose_target.choose`. Must not know: who asks the user.
"""

from __future__ import annotations
