"""Regular expressions of schemas, tried in a process of their own: one of them may take for ever.

Python cannot stop a search that has begun, and nothing else of a process runs meanwhile.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from types import TracebackType
from typing import Self

_CHILD = """
import json, re, resource, sys
resource.setrlimit(resource.RLIMIT_CPU, (%d, %d))
for line in sys.stdin:
    pattern, text = json.loads(line)
    sys.stdout.write("1" if re.search(pattern, text) else "0")
    sys.stdout.flush()
"""


class UntriedPatternError(Exception):
    """A pattern could not be tried; the message, where there is one, says why that is no matter of time."""


class Patterns:
    """Tries patterns; starts its process with the first, and ends it with the block.

    Args:
        limit_s: How long all of them may take together.
    """

    def __init__(self, limit_s: float) -> None:
        self._limit_s = limit_s
        self._until_s = 0.0
        self._child: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._until_s = time.monotonic() + self._limit_s
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.communicate()

    def stop(self) -> None:
        """Let it be as if the time were over."""
        self._until_s = 0.0
        child = self._child
        if child is not None:
            child.kill()

    def finds(self, pattern: str, text: str) -> bool:
        """Whether the pattern is somewhere in the text.

        Raises:
            UntriedPatternError: that cannot be told in time.
        """
        child = self._child = self._child or self._started()
        if child.stdin is None or child.stdout is None:
            raise UntriedPatternError
        try:
            child.stdin.write(json.dumps([pattern, text]).encode() + b"\n")
            child.stdin.flush()
            left_s = max(0.0, self._until_s - time.monotonic())
            is_told = select.select([child.stdout], [], [], left_s)[0]
            found = child.stdout.read(1) if is_told else b""
        except (OSError, ValueError) as error:
            raise UntriedPatternError from error
        if not found:
            raise UntriedPatternError
        return found == b"1"

    def _started(self) -> subprocess.Popen[bytes]:
        limit_s = int(self._limit_s) + 1
        words = (sys.executable, "-I", "-S", "-c", _CHILD % (limit_s, limit_s))
        try:
            return subprocess.Popen(  # noqa: S603 - the interpreter that runs us, and words of ours
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise UntriedPatternError(f"no process for its patterns: {error.strerror or error}") from error
