"""The way of a request to a server: checks, slot, form, attempts, reply.

Only `client.py` uses this package, but for the prepared request, which users may see. Must not
know: how servers are found.
"""

from __future__ import annotations
