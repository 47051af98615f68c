"""Rows of the table `token_choices`: the choices of the tokens of an answer, compressed.

A row is a list of `TokenProbabilities` in MessagePack, compressed with zlib. Logprobs are rounded
to steps that are too small to see on a screen.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Sequence

import msgspec
from msgspec.structs import replace

from lmchat.sessions.message import Alternative, TokenProbabilities
from lmchat.storage.connection import Connection
from lmchat.storage.row_values import insert

log = logging.getLogger(__name__)

_STEPS = 1024
"""Steps of a stored logprob in 1.0.

With a power of two, most bytes of the stored number are 0, which compresses well.
"""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[TokenProbabilities, ...]).decode


def put_choices(connection: Connection, number: int, choices: Sequence[TokenProbabilities]) -> None:
    """Write the choices of the message with this number; those that it has are replaced."""
    row = {"number": number, "data": _packed(choices)}
    insert(
        connection, "token_choices", row, "on conflict (number) do update set data = excluded.data"
    )


def read_choices(connection: Connection, message_id: str) -> tuple[TokenProbabilities, ...]:
    """Return the choices of a message; none if it has none, or if its row is damaged."""
    query = """select data from token_choices
        where number = (select number from messages where message_id = ?)"""
    row = connection.execute(query, (message_id,)).fetchone()
    return () if row is None else _unpacked(row[0])


def copy_choices(connection: Connection, from_id: str, to_id: str) -> None:
    """Copy the choices of a message, if it has any, to another message."""
    connection.execute(
        """insert into token_choices (number, data)
            select copy.number, data from token_choices
            join messages as original using (number)
            join messages as copy on copy.message_id = ?
            where original.message_id = ?""",
        (to_id, from_id),
    )


def _packed(choices: Sequence[TokenProbabilities]) -> bytes:
    """Return choices as they are stored."""
    rounded = [
        replace(
            choice,
            logprob=_rounded(choice.logprob),
            top=tuple(
                Alternative(token=other.token, logprob=_rounded(other.logprob))
                for other in choice.top
            ),
        )
        for choice in choices
    ]
    return zlib.compress(_encode(rounded))


def _unpacked(data: bytes) -> tuple[TokenProbabilities, ...]:
    """Return the choices of a row; none if it is damaged."""
    try:
        return _decode(zlib.decompress(data))
    except (zlib.error, msgspec.DecodeError, TypeError) as error:
        log.warning("the choices of an answer are damaged: %s", type(error).__name__)
        return ()


def _rounded(logprob: float) -> float:
    return round(logprob * _STEPS) / _STEPS
