"""All model servers: their addresses, models, requests and answers.

Modules of values, such as `events.py`, import no httpx.
"""

from __future__ import annotations
