"""This machine: child processes, model servers, ports, temporary folders, other programs' files."""

from __future__ import annotations
