"""The built-in server: child process, models on the disk, the fetch of the demo model."""

from __future__ import annotations
