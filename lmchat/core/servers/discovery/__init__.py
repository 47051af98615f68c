"""Search for servers and their models, and choice of those that answer next.

Must not know who asks the user.
"""

from __future__ import annotations
