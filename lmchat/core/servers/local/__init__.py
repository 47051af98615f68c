"""Model servers of this machine: those that are installed, and the built-in llama.cpp.

Must not know: who asked.
"""

from __future__ import annotations
