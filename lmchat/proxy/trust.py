"""Which certificates of https servers are believed, and what is told where one is not."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from lmchat.errors import FileRefused, ServerUnavailable
from lmchat.files import path_of, read_plain
from lmchat.proxy.causes import causes

VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""What names certificates for all programs."""
MAX_BYTES = 4 << 20
"""All authorities of the world are a quarter of a megabyte."""
_NOT_TRUSTED = frozenset({18, 19, 20, 21})
"""OpenSSL: signed by itself, by nobody who is known, or by nobody at all."""
_OTHER_NAME = frozenset({62, 64})
_OVER, _NOT_YET = 10, 9
_TRUST_IT = (
    "If it is right, save it, or that of who signed it, and name the file as ca_file in config.toml, or in "
    "SSL_CERT_FILE."
)


def trusted(ca_file: str = "") -> ssl.SSLContext:
    """Return what an https server has to convince; reads files.

    `SSL_CERT_FILE` and `SSL_CERT_DIR` take the place of the usual certificates, as with other programs;
    `ca_file` comes on top of whatever else holds.

    Raises:
        ServerUnavailable: a file that is named cannot be read, or holds no certificate.
    """
    file, folder = (os.environ.get(name) or None for name in VARIABLES)
    if file or folder:
        with _told(VARIABLES[0] if file else VARIABLES[1], file or folder or ""):
            context = ssl.create_default_context(cafile=file, capath=folder)
    else:
        context = httpx.create_ssl_context(trust_env=False)
        context.load_default_certs()
    if ca_file:
        with _told("ca_file", ca_file):
            content = read_plain(path_of(ca_file), limit=MAX_BYTES)
            context.load_verify_locations(cadata=content.decode("ascii", "ignore"))
    if file or ca_file:
        # the certificate of one server may be named itself, and own authorities are seldom made by the book
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


@contextmanager
def _told(setting: str, named: str) -> Iterator[None]:
    """Turn what goes wrong with a file of certificates into a sentence that says where it was named."""
    try:
        yield
    except (OSError, ValueError, FileRefused) as error:  # ssl.SSLError is an OSError
        is_empty = isinstance(error, ssl.SSLError | ValueError)
        reason = "it holds no certificates" if is_empty else getattr(error, "strerror", "") or str(error)
        raise ServerUnavailable(
            f"The certificates that {setting} names cannot be used: {named}: {reason.rstrip('.')}.",
            kind="certificate",
            hint=f"Name a file of certificates (PEM) in {setting}, or none.",
            details=type(error).__name__,
        ) from None


def distrusted(error: BaseException, host: str, place: str) -> ServerUnavailable | None:
    """Return the error for a failure that TLS is behind, with the way out; None for any other."""
    failure = next((one for one in causes(error) if isinstance(one, ssl.SSLError)), None)
    if failure is None:
        return None
    message, hint = _words(failure, host, place)
    return ServerUnavailable(
        f"{message} Nothing was sent.",
        kind="certificate",
        hint=hint,
        details=f"{type(failure).__name__}: {failure}",
    )


def _words(failure: ssl.SSLError, host: str, place: str) -> tuple[str, str]:
    """Return what is wrong and what helps."""
    if not isinstance(failure, ssl.SSLCertVerificationError):
        return (
            f"{place} speaks no https.",
            "See whether its address begins with http://, and which port it has.",
        )
    code = failure.verify_code
    if code == _OVER:
        return (
            f"The certificate of {place} has expired.",
            "Have it renewed there; if it is not over, set the clock of this machine.",
        )
    if code == _NOT_YET:
        return f"The certificate of {place} is not valid yet.", "Set the clock, here or there."
    if code in _OTHER_NAME:
        return (
            f"The certificate of {place} is made for another name than {host}.",
            "Use the name that it is made for in the address, or have one made for this name.",
        )
    who = "it is signed by nobody who is known here" if code in _NOT_TRUSTED else failure.verify_message
    return f"The certificate of {place} is not trusted: {who}.", _TRUST_IT
