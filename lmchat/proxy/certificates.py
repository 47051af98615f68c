"""Certificates that https servers are judged by."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from lmchat.errors import FileRefused, ServerUnavailable
from lmchat.files import expanded_path, read_plain

VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""Environment variables that name certificates for all programs."""
MAX_BYTES = 4 << 20  # longest file of certificates; all authorities of the world are 250 kB


def trusted(ca_file: str = "") -> ssl.SSLContext:
    """Return the certificates that https servers are judged by; reads files.

    `SSL_CERT_FILE` and `SSL_CERT_DIR` replace the usual ones, `ca_file` is added. Raises
    `ServerUnavailable` for a file that cannot be read, or holds no certificate.
    """
    file, folder = (os.environ.get(name) or None for name in VARIABLES)
    if file or folder:
        with _readable(VARIABLES[0] if file else VARIABLES[1], file or folder or ""):
            context = ssl.create_default_context(cafile=file, capath=folder)
    else:
        context = httpx.create_ssl_context(trust_env=False)
        context.load_default_certs()
    if ca_file:
        with _readable("ca_file", ca_file):
            content = read_plain(expanded_path(ca_file), max_bytes=MAX_BYTES)
            context.load_verify_locations(cadata=content.decode("ascii", "ignore"))
    if file or ca_file:
        # The file may name the certificate of one server, or an authority that breaks RFC 5280.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context


@contextmanager
def _readable(setting: str, named: str) -> Iterator[None]:
    try:
        yield
    except (ssl.SSLError, ValueError) as error:
        raise _unusable(setting, named, "it contains no certificates", error) from None
    except (OSError, FileRefused) as error:
        reason = getattr(error, "strerror", "") or str(error)
        raise _unusable(setting, named, reason, error) from None


def _unusable(setting: str, named: str, reason: str, error: Exception) -> ServerUnavailable:
    return ServerUnavailable(
        f"The certificates in {setting} cannot be used: {named}: {reason.rstrip('.')}.",
        kind="certificate",
        hint=f"Set {setting} to a PEM file with certificates, or unset it.",
        details=type(error).__name__,
    )
