"""Messages, parts, versions, branches and stats: values without I/O.

Must not know servers, disk, screens.
"""

from __future__ import annotations
