"""All model servers: their addresses, models, requests and answers.

Modules of values, such as `events.py`, import no httpx. Must not know: sessions on the disk, tools,
front ends.
"""

from __future__ import annotations
