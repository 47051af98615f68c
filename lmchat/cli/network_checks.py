"""The doctor's checks of the network: named servers, proxies and certificates.

A finding is a row of the report; named servers are those whose addresses the user has set.
"""

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
    """Return the addresses of the named servers, and a row for each that cannot be used.

    Settings without an address are skipped.
    """
    settings = context.loaded.settings
    places_and_urls = [("--endpoint, LMCHAT_ENDPOINT or endpoint", settings.endpoint)]
    places_and_urls += [
        (f"[[endpoints]] {entry.name!r}", entry.url) for entry in settings.endpoints
    ]
    subject = Subject(Group.SERVERS, "server", "Address")
    step = "Write it as http://HOST:PORT, and set the API key beside it: api_key or LMCHAT_API_KEY"
    endpoints: list[Endpoint] = []
    findings: list[Finding] = []
    for place, url in places_and_urls:
        if not url:
            continue
        try:
            endpoints.append(Endpoint.parse(url))
        except EndpointNotAllowed as error:  # the address is not shown: it may hold a password
            reason = error.message.removeprefix("Endpoint not allowed: ")
            cause = f"The address in {place} cannot be used: {reason}"
            findings.append(subject.graded(Grade.FAULT, cause, step, facts={"url": None}))
    return endpoints, findings


def network_findings(context: Context) -> Findings:
    """Return the row about proxies, and the row about certificates if these are needed or set."""
    endpoints, _ = named_servers(context)
    proxied_hosts = [
        endpoint.host for endpoint in endpoints if _is_behind_proxy(endpoint, context.environ)
    ]
    certificates = certificates_findings(
        context.environ,
        context.loaded.settings.ca_file,
        is_needed=any(endpoint.scheme == "https" for endpoint in endpoints),
    )
    return [proxy_finding(context.environ, proxied_hosts), *certificates]


def _is_behind_proxy(endpoint: Endpoint, environ: Mapping[str, str]) -> bool:
    """Return whether requests to a server go through a proxy of the environment.

    They do not for this machine, for private networks, for hosts in `NO_PROXY`, and if the proxy is
    for another scheme, as `http_proxy` for an address with https.
    """
    from lmchat.proxy.network_errors import proxies_of

    schemes = {name.lower().removesuffix("_proxy") for name in proxies_of(environ)}
    if not schemes & {endpoint.scheme, "all"}:
        return False
    return not endpoint.is_local and not proxy_bypass(endpoint.host)


def proxy_finding(environ: Mapping[str, str], proxied_hosts: Sequence[str]) -> Finding:
    """Return the row about the proxy variables of the environment.

    `proxied_hosts` are the hosts of the named servers to which requests would go through a proxy. A
    proxy that lmchat cannot use is a fault if there are such servers, else a warning.
    """
    from lmchat.proxy.network_errors import host_and_port, proxies_of

    subject = Subject(Group.NETWORK, "network.proxy", "Proxy variables")
    addresses: dict[str, str] = {}  # by variable; without what may be a password
    unusable: list[str] = []  # variables
    for name, value in proxies_of(environ).items():
        scheme = value.partition("://")[0] if "://" in value else "http"
        address = host_and_port(value)
        addresses[name] = f"{scheme}://{address or '(no address)'}"
        if not address or not _is_known_proxy(scheme):
            unusable.append(name)
    facts = {"variables": addresses}
    if not addresses:
        return subject.ok("No proxy is set in the environment.", facts=facts)

    use = "not used for a server you named"
    if proxied_hosts:
        use = f"used for {' and '.join(proxied_hosts)}"
    variables = ", ".join(f"{name}={address}" for name, address in addresses.items())
    cause = f"{variables}: {use}; servers on this machine are reached directly."
    if not unusable:
        return subject.ok(cause, facts=facts)
    grade = Grade.FAULT if proxied_hosts else Grade.WARNING
    cause = f"lmchat cannot use the proxy in {unusable[0]}. {cause}"
    step = f"unset {unusable[0]}, or set it to an http:// proxy"
    return subject.graded(grade, cause, step, facts=facts)


def _is_known_proxy(scheme: str) -> bool:
    """Return whether lmchat can use a proxy whose address has this scheme."""
    if scheme.startswith("socks"):  # httpx needs the library socksio for it
        return find_spec("socksio") is not None
    return scheme in ("http", "https")


def certificates_findings(
    environ: Mapping[str, str], ca_file: str, *, is_needed: bool
) -> list[Finding]:
    """Return one row about the certificates that lmchat trusts, or no row.

    There is no row if the user set no file or folder of certificates and none `is_needed`, which
    means that no named server has an https address. `ca_file` is the setting, which may be empty.
    """
    from lmchat.proxy.certificates import VARIABLES, new_tls_context

    sources = {name: environ[name] for name in VARIABLES if environ.get(name)}
    if ca_file:
        sources["ca_file"] = ca_file
    if not sources and not is_needed:
        return []
    subject = Subject(Group.NETWORK, "network.certificates", "Certificates")
    try:
        new_tls_context(ca_file)
    except ServerUnavailable as error:
        grade = Grade.FAULT if is_needed else Grade.WARNING
        return [subject.graded(grade, error.message, error.hint, facts=sources)]
    source_texts = [f"{name}={value}" for name, value in sources.items()]
    trusted_by = " and ".join(source_texts) or "the usual certificates"
    cause = f"Certificates are checked against {trusted_by}."
    return [subject.ok(cause, facts=sources)]
