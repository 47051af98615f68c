"""The way of a request to a server: checks, slot, form, attempts, reply.

Must not know how servers are found.
"""

from __future__ import annotations
