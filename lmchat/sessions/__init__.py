"""Messages, parts, versions, branches and stats: values without I/O."""

from __future__ import annotations
