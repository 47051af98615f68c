"""Child processes, signals, threads and background tasks."""

from __future__ import annotations
