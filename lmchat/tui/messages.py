"""Base class of lmchat's Textual messages."""

from __future__ import annotations

from inspect import get_annotations
from typing import Any, ClassVar, dataclass_transform

from textual.message import Message


@dataclass_transform()
class Post(Message):
    """Message whose annotated attributes are its arguments, as in a dataclass.

    The methods of a dataclass are made of text when it is defined: 0.2 ms for each kind of message before the
    first paint. No value is in the `repr`, which may get into a log.
    """

    _names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        cls._names = (*cls._names, *get_annotations(cls))

    def __init__(self, *values: Any, **named: Any) -> None:
        super().__init__()
        given = dict(zip(self._names, values, strict=False)) | named
        missing = [name for name in self._names if name not in given and not hasattr(self, name)]
        if missing or len(given) < len(values) + len(named) or not given.keys() <= set(self._names):
            raise TypeError(f"{type(self).__qualname__} takes {', '.join(self._names) or 'nothing'}")
        self.__dict__.update(given)
