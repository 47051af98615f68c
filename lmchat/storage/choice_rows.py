"""Rows of the table `token_choices`: the choices of the tokens of an answer, compressed.

A row is a list in MessagePack, compressed with zlib: for each token its text, its logprob, what
the answer got with it (None if that is the token), whether it is of the thought, and the texts and
the logprobs of its alternatives. Logprobs are in whole thousandths, which no screen shows.
"""

from __future__ import annotations

import logging
import zlib
from collections.abc import Sequence

import msgspec

from lmchat.domain.token_choice import Alternative, TokenChoice
from lmchat.storage.connection import Connection
from lmchat.storage.row_values import insert

log = logging.getLogger(__name__)

_PER_UNIT = 1000  # steps of a stored logprob in 1.0
_Row = tuple[str, int, str | None, bool, list[str], list[int]]
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[_Row]).decode


def put_choices(connection: Connection, number: int, choices: Sequence[TokenChoice]) -> None:
    """Write the choices of the message with a number; those that it has are replaced."""
    row = {"number": number, "data": _packed(choices)}
    insert(
        connection, "token_choices", row, "on conflict (number) do update set data = excluded.data"
    )


def read_choices(connection: Connection, message_id: str) -> tuple[TokenChoice, ...]:
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


def _packed(choices: Sequence[TokenChoice]) -> bytes:
    rows: list[_Row] = []
    for choice in choices:
        text = None if choice.text == choice.token else choice.text
        tokens = [alternative.token for alternative in choice.top]
        logprobs = [_stored(alternative.logprob) for alternative in choice.top]
        rows.append(
            (choice.token, _stored(choice.logprob), text, choice.is_thought, tokens, logprobs)
        )
    return zlib.compress(_encode(rows))


def _unpacked(data: bytes) -> tuple[TokenChoice, ...]:
    """Return the choices of a row; none if it is damaged."""
    try:
        rows = _decode(zlib.decompress(data))
    except (zlib.error, msgspec.DecodeError, TypeError) as error:
        log.warning("the choices of an answer are damaged: %s", type(error).__name__)
        return ()
    return tuple(_choice(row) for row in rows)


def _choice(row: _Row) -> TokenChoice:
    token, logprob, text, is_thought, tokens, logprobs = row
    return TokenChoice(
        token=token,
        logprob=logprob / _PER_UNIT,
        text=token if text is None else text,
        is_thought=is_thought,
        top=tuple(
            Alternative(token=other, logprob=other_logprob / _PER_UNIT)
            for other, other_logprob in zip(tokens, logprobs, strict=False)
        ),
    )


def _stored(logprob: float) -> int:
    """Return a logprob in thousandths."""
    return round(logprob * _PER_UNIT)
