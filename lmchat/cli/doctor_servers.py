"""The checks about servers: what answers, under which address and key, and who holds a port."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import cached_property

from lmchat.cli.parts import Parts
from lmchat.cli.starting import installed
from lmchat.config.settings import Settings
from lmchat.domain.candidate import Finding, Grade, Group, Need, Remembered, Rows
from lmchat.domain.server import Candidate, Endpoint
from lmchat.errors import LMChatError
from lmchat.machine.processes import port_holders, tool_to_see
from lmchat.services.candidates import Look, key_findings, server_findings
from lmchat.services.ports import Backend
from lmchat.storage import state as remembered_file
from lmchat.threads import apart


class ServerChecks:
    """Looks at everything that could answer a chat; what is wrong in the configuration costs itself alone."""

    def __init__(
        self,
        parts: Parts,
        backend: Callable[[], Awaitable[Backend]],
        engine_step: Callable[[], Awaitable[str]],
    ) -> None:
        """`engine_step` tells how a chat can be had without any server."""
        self._parts = parts
        self._backend = backend
        self._engine_step = engine_step

    @cached_property
    def settings(self) -> Settings:
        """What holds of the configuration; the check of the files says what is wrong with it."""
        return self._parts.usable_settings

    def own(self) -> tuple[list[Endpoint], list[Finding]]:
        """Return the user's own addresses, and a row for each that is none."""
        named = [("--endpoint, LMCHAT_ENDPOINT or endpoint", self.settings.endpoint)]
        named += [(f"[[endpoints]] {one.name!r}", one.url) for one in self.settings.endpoints]
        found: list[Endpoint] = []
        wrong: list[Finding] = []
        for where, url in named:
            try:
                found += [Endpoint.parse(url)] if url else []
            except LMChatError:
                wrong.append(_wrong_address(where))
        return found, wrong

    async def look(self) -> list[Finding]:
        """Return the rows about servers and their keys."""
        own, wrong = self.own()
        backend = await self._backend()
        sources_of, stored, warnings = await apart(self._keys)  # before a server is asked with them
        candidates, here, remembered = await asyncio.gather(
            backend.detect(expected=own), apart(lambda: installed(self._parts)), apart(self._remembered)
        )
        is_enough = any(one.verdict.is_usable for one in candidates)
        ports = {one.endpoint.port for one in candidates if one.endpoint.is_loopback}
        look = Look(
            candidates=candidates,
            holders=await apart(lambda: port_holders(ports)),
            installed=here,
            model=self.settings.model,
            remembered=remembered,
            is_named=bool(self.settings.endpoint),
            tool_to_see=tool_to_see(0).replace("0", "PORT"),
            engine_step="" if is_enough else await self._engine_step(),
        )
        has_chat = look.arrival.need in (Need.NOTHING, Need.MODEL)
        sources = {one.endpoint.origin: sources_of(one) for one in candidates}
        keys = key_findings(candidates, sources, stored, warnings, has_chat=has_chat)
        return [*server_findings(look), *wrong, *keys]

    async def look_at_loopback(self) -> list[Finding]:
        """Return the rows about `localhost` and the two families of addresses."""
        from lmchat.proxy.loopback_check import loopback_findings, see_loopback
        from lmchat.proxy.servers import SERVERS
        from lmchat.proxy.servers.lm_studio import hinted_port

        names = {port: server.product.value for server in SERVERS for port in server.ports}
        hinted = await apart(hinted_port)
        if hinted is not None:
            names.setdefault(hinted, "LM Studio")
        own, _ = self.own()
        ports = [*(one.port for one in own if one.is_loopback), *names]
        return loopback_findings(await see_loopback(ports), names)

    def look_at_environment(self) -> list[Finding]:
        """Return the rows about proxies and certificates."""
        from lmchat.proxy.certificates_check import certificates_findings
        from lmchat.proxy.environment_check import proxy_finding
        from lmchat.proxy.errors import is_local

        own, _ = self.own()
        certificates = certificates_findings(
            self._parts.environ, self.settings.ca_file, is_needed=any(one.scheme == "https" for one in own)
        )
        return [proxy_finding(self._parts.environ, [one for one in own if not is_local(one)]), *certificates]

    def _remembered(self) -> Remembered:
        try:
            return remembered_file.load(self._parts.paths.remembered_file)[0]
        except LMChatError:
            return Remembered()

    def _keys(self) -> tuple[Callable[[Candidate], str], Sequence[str], Sequence[str]]:
        from lmchat.cli.wiring import keys_of

        try:
            keys = keys_of(self._parts)
            keys.load()
        except LMChatError as error:
            return lambda _: "", (), (error.words,)
        return lambda one: keys.source_of(one.endpoint), keys.stored_origins(), keys.warnings


def _wrong_address(where: str) -> Finding:
    """Tell where it stands and nothing of it: it may hold a password, and a report is made to be pasted."""
    cause = f"The address in {where} cannot be used."
    step = "Write it as http://HOST:PORT, and a key as api_key or LMCHAT_API_KEY"
    return Rows(Group.SERVERS)("server", "Address", Grade.FAULT, cause, step, url=None)
