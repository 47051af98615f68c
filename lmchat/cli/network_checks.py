"""The doctor's checks of the network: named servers, proxies and certificates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from urllib.request import proxy_bypass

from lmchat.cli.context import Context
from lmchat.domain.finding import Finding, Grade, Group, Subject
from lmchat.domain.server import Endpoint
from lmchat.errors import EndpointNotAllowed, ServerUnavailable
from lmchat.services.examination import Findings


def named_servers(context: Context) -> tuple[list[Endpoint], Findings]:
    """Return the servers that the user named, and a row for each address that cannot be used."""
    settings = context.loaded.settings
    named = [("--endpoint, LMCHAT_ENDPOINT or endpoint", settings.endpoint)]
    named += [(f"[[endpoints]] {entry.name!r}", entry.url) for entry in settings.endpoints]
    row = Subject(Group.SERVERS, "server", "Address")
    step = "Write it as http://HOST:PORT, and set the API key beside it: api_key or LMCHAT_API_KEY"
    own: list[Endpoint] = []
    wrong: list[Finding] = []
    for place, url in named:
        if not url:
            continue
        try:
            own.append(Endpoint.parse(url))
        except EndpointNotAllowed as error:  # the address is not shown: it may hold a password
            reason = error.message.removeprefix("Endpoint not allowed: ")
            cause = f"The address in {place} cannot be used: {reason}"
            wrong.append(row.graded(Grade.FAULT, cause, step, facts={"url": None}))
    return own, wrong


def network_findings(context: Context) -> Findings:
    """Return the rows about proxies and certificates."""
    own, _ = named_servers(context)
    remote = [endpoint.host for endpoint in own if _is_behind_proxy(endpoint)]
    certificates = certificates_findings(
        context.environ,
        context.loaded.settings.ca_file,
        is_needed=any(endpoint.scheme == "https" for endpoint in own),
    )
    return [proxy_finding(context.environ, remote), *certificates]


def _is_behind_proxy(endpoint: Endpoint) -> bool:
    return not endpoint.is_local and not proxy_bypass(endpoint.host)


def proxy_finding(environ: Mapping[str, str], remote: Sequence[str]) -> Finding:
    """Return the row about the proxy variables; `remote` are hosts that go through a proxy."""
    from lmchat.proxy.network_errors import host_and_port, proxies_of

    row = Subject(Group.NETWORK, "network.proxy", "Proxy variables")
    shown: dict[str, str] = {}
    unusable: list[str] = []
    for name, value in proxies_of(environ).items():
        scheme = value.partition("://")[0] if "://" in value else "http"
        address = host_and_port(value)  # without what may be a password
        shown[name] = f"{scheme}://{address or '(no address)'}"
        if not address or not _is_known_proxy(scheme):
            unusable.append(name)
    facts = {"variables": shown}
    if not shown:
        return row.ok("No proxy is set in the environment.", facts=facts)

    use = f"used for {' and '.join(remote)}" if remote else "not used for a server you named"
    variables = ", ".join(f"{name}={address}" for name, address in shown.items())
    cause = f"{variables}: {use}; servers on this machine are reached directly."
    if not unusable:
        return row.ok(cause, facts=facts)
    grade = Grade.FAULT if remote else Grade.WARNING
    cause = f"lmchat cannot use the proxy in {unusable[0]}. {cause}"
    step = f"unset {unusable[0]}, or set it to an http:// proxy"
    return row.graded(grade, cause, step, facts=facts)


def _is_known_proxy(scheme: str) -> bool:
    if scheme.startswith("socks"):
        return find_spec("socksio") is not None
    return scheme in ("http", "https")


def certificates_findings(
    environ: Mapping[str, str], ca_file: str, *, is_needed: bool
) -> list[Finding]:
    """Return the row about certificates, if some are named or `is_needed` by an https server."""
    from lmchat.proxy.certificates import VARIABLES, trusted

    named = {name: environ[name] for name in VARIABLES if environ.get(name)}
    if ca_file:
        named["ca_file"] = ca_file
    if not named and not is_needed:
        return []
    row = Subject(Group.NETWORK, "network.certificates", "Certificates")
    try:
        trusted(ca_file)
    except ServerUnavailable as error:
        grade = Grade.FAULT if is_needed else Grade.WARNING
        return [row.graded(grade, error.message, error.hint, facts=named)]
    sources = " and ".join(f"{name}={value}" for name, value in named.items())
    cause = f"Certificates are checked against {sources or 'the usual certificates'}."
    return [row.ok(cause, facts=named)]
