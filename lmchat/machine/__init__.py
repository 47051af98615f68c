"""This machine: who listens at its ports, and which model servers are installed on it; only looked at."""

from __future__ import annotations
