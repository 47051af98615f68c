"""The only way to the network: finds model servers, asks them, streams their answers."""

from __future__ import annotations
