"""The command line: options, commands, exit codes, and the one place that puts the parts together."""

from __future__ import annotations
