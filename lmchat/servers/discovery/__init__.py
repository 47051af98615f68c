"""Which servers and models are there, and which one answers next.

Entrances: `finder.ServerFinder`, `choose.choose`, `status.STATUS`. Must not know: who asks the
user.
"""

from __future__ import annotations
