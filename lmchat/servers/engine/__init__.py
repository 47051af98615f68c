"""The built-in llama.cpp: a server like any other. Needs the extra `local`.

Must not know: who asked.
"""

from __future__ import annotations
