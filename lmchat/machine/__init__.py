"""This machine: who listens at its ports, which model servers are installed on it, and how one is started."""

from __future__ import annotations
