"""The body of a response in pieces of bounded size, whatever a compressor made of it."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Iterator

import httpx

from lmchat.errors import ServerRejected

MAX_PIECE_BYTES = 64 << 10
"""One read of 64 KiB may unpack to 64 MiB; it is taken in pieces of this size, and the screen lives on."""
_WINDOW_BITS = {"gzip": zlib.MAX_WBITS | 16, "x-gzip": zlib.MAX_WBITS | 16, "deflate": zlib.MAX_WBITS}


def pieces_of(response: httpx.Response) -> AsyncIterator[bytes]:
    """Read a body piece by piece; as long as no step is taken, nothing is raised.

    Raises:
        ServerRejected: it is packed in a way that was not asked for, such as twice.
        httpx.DecodingError: what it is packed with is broken.
    """
    if response.is_stream_consumed:
        return _at_once(response.content)
    packing = response.headers.get("content-encoding", "").strip().lower()
    return response.aiter_raw() if packing in ("", "identity") else _unpacked(response, packing)


async def _at_once(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _unpacked(response: httpx.Response, packing: str) -> AsyncIterator[bytes]:
    unpacker = _Unpacker(packing)
    async for chunk in response.aiter_raw():
        for piece in unpacker.unpack(chunk):
            yield piece
            await asyncio.sleep(0)


class _Unpacker:
    """Unpacks a little at a time."""

    def __init__(self, packing: str) -> None:
        if packing not in _WINDOW_BITS:
            raise ServerRejected(
                "The server packs its answer in a way that nobody asked for.",
                kind="not_an_llm",
                hint="Check the port and the path of the address.",
                details="Content-Encoding other than gzip and deflate",
            )
        self._may_be_bare = packing == "deflate"
        self._inflate = zlib.decompressobj(_WINDOW_BITS[packing])

    def unpack(self, data: bytes) -> Iterator[bytes]:
        """Yield the pieces in these bytes; each is made when it is asked for."""
        while data and not self._inflate.eof:
            piece, data = self._step(data)
            if piece:
                yield piece

    def _step(self, data: bytes) -> tuple[bytes, bytes]:
        """Return one piece, and what of the data is left for the next."""
        try:
            piece = self._inflate.decompress(data, MAX_PIECE_BYTES)
        except zlib.error as error:
            if not self._may_be_bare:
                raise httpx.DecodingError(str(error)) from error
            # some servers leave out the wrapping that "deflate" stands for
            self._inflate = zlib.decompressobj(-zlib.MAX_WBITS)
            self._may_be_bare = False
            return self._step(data)
        self._may_be_bare = False
        return piece, self._inflate.unconsumed_tail
