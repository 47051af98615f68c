"""Whether the certificates that are named can be used, for the doctor."""

from __future__ import annotations

from collections.abc import Mapping

from lmchat.domain.candidate import Finding, Grade, Group, Rows
from lmchat.errors import ServerUnavailable
from lmchat.proxy.errors import VARIABLES, trusted

_row = Rows(Group.NETWORK, "network.")
_NAME = "Certificates"


def certificates_findings(environ: Mapping[str, str], ca_file: str, *, is_needed: bool) -> list[Finding]:
    """Say which certificates https servers are judged by; nothing where none is named and none is needed.

    `is_needed` tells whether one of the user's own servers is asked over https. Reads files.
    """
    named = {name: value for name in VARIABLES if (value := environ.get(name, ""))}
    named |= {"ca_file": ca_file} if ca_file else {}
    if not named and not is_needed:
        return []
    try:
        trusted(ca_file)
    except ServerUnavailable as error:
        grade = Grade.FAULT if is_needed else Grade.WARNING
        return [_row("certificates", _NAME, grade, error.message, error.hint, **named)]
    usual = " and ".join(f"{name}={value}" for name, value in named.items() if name != "ca_file")
    cause = f"Servers are judged by {usual or 'the certificates of Mozilla and of this system'}"
    cause += f", and by ca_file {ca_file}." if ca_file else "."
    return [_row("certificates", _NAME, Grade.OK, cause, **named)]
