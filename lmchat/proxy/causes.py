"""What stands behind an error: libraries wrap each other's, and groups hold those of several attempts."""

from __future__ import annotations

from collections.abc import Iterator


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and all that led to it, each once, the outermost first."""
    seen: set[int] = set()
    waiting = [error]
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        behind = one.__cause__ or one.__context__
        waiting += [
            *(one.exceptions if isinstance(one, BaseExceptionGroup) else ()),
            *filter(None, (behind,)),
        ]
