"""Models of the Hugging Face hub for the built-in engine: found by name, downloaded and checked."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, urljoin, urlsplit

import httpx
import msgspec
from msgspec import Meta, Struct

from lmchat.base.errors import EndpointNotAllowed, EngineUnavailable, ServerUnavailable, WrongUse
from lmchat.base.files.disk import ensure_folder, free_bytes
from lmchat.base.files.locks import try_lock
from lmchat.base.safe_text import safe_line
from lmchat.base.units import size_text
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.events import PullProgress
from lmchat.core.servers.http.connections import (
    CONNECT_ELSEWHERE_S,
    Connections,
    body_chunks,
    errors_as_unavailable,
    read_up_to,
    request_headers,
)
from lmchat.core.servers.http.reply import MAX_REPLY_BYTES, read_body
from lmchat.core.servers.local.gguf import (
    USUAL,
    hub_name,
    is_encoder,
    model_name,
    parts_of,
    quantization_of,
    wanted_of,
    writing_to,
)
from lmchat.core.servers.products.server_api import OnPull

_ADDRESS = "https://huggingface.co"
_TIMEOUT = httpx.Timeout(60.0, connect=CONNECT_ELSEWHERE_S)  # 60 s for a pause
_REDIRECTS = 5
_MAX_NAMES = 40  # in a message; large repositories have 30 quantizations
# one that is safe as a path of this disk
_MODEL_PATH = re.compile(r"(?:[\w-][\w .+-]*/)*[\w-][\w .+-]*\.gguf", re.IGNORECASE)
_TRY_AGAIN = (
    "Check the network, then try again: a download continues where it stopped. "
    "`lmchat models --local` lists the models that are on this disk."
)
_CHECK_HUB = "Try again later; if HF_ENDPOINT names a mirror, check it."


class HubFile(Struct, frozen=True, kw_only=True):
    """Model file of a repository, or a part of one."""

    repo: str
    path: str
    size_bytes: int
    sha256: str


class _Lfs(Struct):
    """What the hub knows of a large file."""

    sha256: Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
    size: Annotated[int, Meta(gt=0)]


class _Sibling(Struct):
    """File of a repository."""

    rfilename: str
    lfs: _Lfs | None = None


class _Repository(Struct):
    """Reply to `/api/models/USER/REPO?blobs=true`, as far as it is read."""

    siblings: list[_Sibling] = []


class Hub:
    """Hub of models: huggingface.co, or the mirror that `HF_ENDPOINT` names."""

    def __init__(self, connections: Connections, environ: Mapping[str, str]) -> None:
        """`HF_TOKEN` is sent to this host alone. Raises `WrongUse` for a wrong `HF_ENDPOINT`."""
        self._connections = connections
        self._address = (environ.get("HF_ENDPOINT") or _ADDRESS).rstrip("/")
        self._token = environ.get("HF_TOKEN", "")
        try:
            self._origin = _endpoint_of(self._address).origin
        except EndpointNotAllowed as error:
            raise WrongUse(
                f"HF_ENDPOINT: {error.message}",
                next_step=f"Set it to an address such as {_ADDRESS}, or unset it.",
            ) from None

    async def find(self, name: str) -> tuple[HubFile, ...]:
        """Return the model of `USER/REPO[:QUANT|FILE]`: its parts, mostly one.

        Raises `WrongUse` if the repository has no such model, or several, and `EngineUnavailable`.
        """
        repo, wanted = hub_name(name) or (name, "")
        url = f"{self._address}/api/models/{quote(repo)}?blobs=true"
        endpoint, response = await self._open(url, repo)
        with _network_errors(endpoint):
            content = await read_up_to(response, MAX_REPLY_BYTES)
        try:
            rows = msgspec.json.decode(content, type=_Repository).siblings
        except msgspec.MsgspecError as error:
            raise EngineUnavailable(
                f"The list of {endpoint.host} for {repo} cannot be read.",
                next_step=_CHECK_HUB,
                details=str(error),
                kind="fetch",
            ) from None
        listed = {
            Path(row.rfilename): HubFile(
                repo=repo, path=row.rfilename, size_bytes=row.lfs.size, sha256=row.lfs.sha256
            )
            for row in rows
            if row.lfs and _MODEL_PATH.fullmatch(row.rfilename)
        }
        models = [
            path
            for path in listed
            if not is_encoder(path.stem)
            and next(parts := parts_of(path), None)
            and all(part in listed for part in parts)
        ]
        found = wanted_of(models, wanted)
        if len(found) != 1:
            raise _unclear_error(repo, wanted, models, found)
        return tuple(listed[path] for path in parts_of(found[0]))

    async def question(self, files: Sequence[HubFile], folder: Path) -> str:
        """Return what is downloaded, and to where; raise `EngineUnavailable` without room."""
        parts = [_part_in(folder, file) for file in files]
        size = sum(file.size_bytes for file in files)
        present_bytes, free = await asyncio.to_thread(_room, parts)
        if size - present_bytes > free:
            raise EngineUnavailable(
                f"{files[0].path} needs {size_text(size - present_bytes)} on the disk, "
                f"and {size_text(free)} are free.",
                next_step="Free some space, or set LMCHAT_HOME to a folder on another disk.",
                kind="no_space",
            )
        host = urlsplit(self._address).netloc
        place = _path_in(folder, files[0]).parent
        return (
            f"{files[0].path} ({size_text(size)}) of {files[0].repo} from {host} "
            f"into {place}, where {size_text(free)} are free"
        )

    async def download(self, files: Sequence[HubFile], folder: Path, on_pull: OnPull) -> Path:
        """Return the path of the first part, when all are here and their SHA-256 is right.

        What had come of a stopped download stays. Raises `EngineUnavailable`.
        """
        total = sum(file.size_bytes for file in files)
        done = 0

        def report(count: int) -> None:
            on_pull(PullProgress(done_bytes=done + count, total_bytes=total))

        with writing_to(folder, "The model"):
            for file in files:
                part = _part_in(folder, file)
                await asyncio.to_thread(ensure_folder, part.parent)
                await self._fetch(file, part, report)
                done += file.size_bytes
            for file in files:
                await asyncio.to_thread(_part_in(folder, file).replace, _path_in(folder, file))
        return _path_in(folder, files[0])

    async def _fetch(self, file: HubFile, part: Path, report: Callable[[int], None]) -> None:
        """Download what is missing of a file; empty it if it is not the one of the list."""
        url = f"{self._address}/{quote(file.repo)}/resolve/main/{quote(file.path)}"
        with part.open("a+b") as opened:
            if not try_lock(opened.fileno()):
                raise EngineUnavailable(
                    f"Another lmchat downloads {file.path}.",
                    next_step="Wait until it has ended.",
                    kind="fetch",
                )

            def refusal(problem: str) -> EngineUnavailable:
                opened.truncate(0)
                return EngineUnavailable(
                    f"{problem}, so it was deleted.", next_step=_CHECK_HUB, kind="fetch"
                )

            done = opened.tell()
            cause: EngineUnavailable | None = None
            if done < file.size_bytes:
                endpoint, response = await self._open(url, file.repo, start=done)
                async with aclosing(response):
                    if response.status_code != HTTPStatus.PARTIAL_CONTENT:
                        done = opened.truncate(0)
                    elif not response.headers.get("content-range", "").startswith(f"bytes {done}-"):
                        raise refusal(f"{endpoint.host} sent another part of {file.path}")
                    try:
                        async for chunk in _chunks(endpoint, response):
                            await asyncio.to_thread(opened.write, chunk)
                            done += len(chunk)
                            report(done)
                            if done > file.size_bytes:
                                break
                    except EngineUnavailable as error:
                        cause = error
            if done < file.size_bytes:
                raise EngineUnavailable(
                    f"The download of {file.path} broke off.",
                    next_step=_TRY_AGAIN,
                    details=cause.message if cause else f"{done} bytes came.",
                    kind="fetch",
                ) from cause
            opened.seek(0)
            digest = await asyncio.to_thread(hashlib.file_digest, opened, "sha256")
            if digest.hexdigest() != file.sha256:
                raise refusal(f"{file.path} has another SHA-256 than the list of its hub")

    async def _open(
        self, url: str, repo: str, *, start: int = 0, redirects: int = _REDIRECTS
    ) -> tuple[Endpoint, httpx.Response]:
        """Return an unread response; raise `EngineUnavailable`.

        Each host has a client of its own, so httpx cannot follow redirects.
        """
        endpoint = _endpoint_of(url)
        key = self._token if endpoint.origin == self._origin else ""
        headers = request_headers(key, has_body=False)
        headers |= {"Accept": "*/*", "Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
        with _network_errors(endpoint):
            response = await self._connections.send(
                endpoint, "GET", url, headers=headers, timeout=_TIMEOUT
            )
            if response.is_success:
                return endpoint, response
            if response.is_redirect and redirects:
                await response.aclose()
                other = _redirect_target(endpoint, url, response.headers.get("location", ""))
                return await self._open(other, repo, start=start, redirects=redirects - 1)
            body = await read_up_to(response, MAX_REPLY_BYTES)
        text = read_body(body, response.headers.get("content-type", ""), secrets=(key,)).message
        reason = text.rstrip(".") or f"status {response.status_code}"
        raise EngineUnavailable(
            f"{endpoint.host} refuses {repo}: {reason}.",
            next_step="Check the name on the hub. A private model, or one with terms to accept, "
            "needs your token in HF_TOKEN.",
            kind="fetch",
        )


def _unclear_error(
    repo: str, wanted: str, models: Collection[Path], found: Collection[Path]
) -> WrongUse:
    """Return the error for no model, or several; it shows what could be named."""
    if not models:
        return WrongUse(
            f"{repo} has no GGUF file of a chat model.",
            next_step="Look for a repository that has them; most have GGUF in their name.",
        )
    names = {path.as_posix() for path in found} or {
        quantization_of(model_name(path)) or path.as_posix() for path in models
    }
    count = len(found) or "no"
    return WrongUse(
        f"{repo} has {count} files for {safe_line(wanted or USUAL)}.",
        next_step=f"Name one, as in -m {repo}:NAME: {', '.join(sorted(names)[:_MAX_NAMES])}",
    )


def _path_in(folder: Path, file: HubFile) -> Path:
    return folder / file.repo / file.path


def _part_in(folder: Path, file: HubFile) -> Path:
    """Return the path until the file is complete; another version has another one."""
    path = _path_in(folder, file)
    return path.with_name(f"{path.name}.{file.sha256[:8]}.part")


def _room(parts: Sequence[Path]) -> tuple[int, int]:
    """Return the bytes of files that need not exist, and those free on their disk."""
    present_bytes = sum(part.stat().st_size for part in parts if part.exists())
    return present_bytes, free_bytes(parts[0].parents) or 0


async def _chunks(endpoint: Endpoint, response: httpx.Response) -> AsyncGenerator[bytes, None]:
    """Raises `EngineUnavailable`; an error of the disk, which the caller meets, stays as it is."""
    with _network_errors(endpoint):
        async for chunk in body_chunks(response):
            yield chunk


@contextmanager
def _network_errors(endpoint: Endpoint) -> Iterator[None]:
    """Raises `EngineUnavailable`."""
    try:
        with errors_as_unavailable(endpoint):
            yield
    except ServerUnavailable as error:
        raise EngineUnavailable(
            error.message,
            next_step=error.next_step if error.kind == "certificate" else _TRY_AGAIN,
            kind="fetch",
        ) from error


def _endpoint_of(url: str) -> Endpoint:
    """Raises `EndpointNotAllowed`."""
    try:
        parts = urlsplit(url)
    except ValueError:  # its words may quote a password
        return Endpoint.parse("")
    return Endpoint.parse(f"{parts.scheme}://{parts.netloc}")


def _redirect_target(endpoint: Endpoint, url: str, location: str) -> str:
    """Return the address of a redirect; raise `EngineUnavailable` if it is not followed."""
    with suppress(ValueError, EndpointNotAllowed):  # their words may quote a password
        target = urljoin(url, location)
        there = _endpoint_of(target)
        is_open = endpoint.scheme == "https" and there.scheme == "http"
        is_nearer = there.is_near and not endpoint.is_near
        is_here = there.is_loopback and not endpoint.is_loopback
        if not (is_open or is_nearer or is_here):
            return target
    raise EngineUnavailable(
        f"{endpoint.host} redirects to an address that lmchat does not follow.",
        next_step=f"It leaves https, leads into this network, or is not valid. {_CHECK_HUB}",
        kind="fetch",
    )
