"""Certificates by which https servers are verified."""

from __future__ import annotations

import os
import ssl

import httpx

from lmchat.errors import FileRefused, ServerUnavailable
from lmchat.files.disk import expanded_path, read_plain

# Largest file of certificates; the usual list of all authorities has 250 kB.
MAX_BYTES = 4 * 1024 * 1024


def new_tls_context(ca_file: str = "") -> ssl.SSLContext:
    """Return a TLS context with the certificates by which servers are verified. Reads files.

    The usual certificates are those of certifi and of the operating system. The variables
    `SSL_CERT_FILE` and `SSL_CERT_DIR` replace them; those of `ca_file` are added in either case.

    Raises:
        ServerUnavailable: a file cannot be read, or holds no certificate.
    """
    setting = "SSL_CERT_FILE" if os.environ.get("SSL_CERT_FILE") else "SSL_CERT_DIR"
    path = os.environ.get(setting, "")
    has_own_file = bool(ca_file) or (bool(path) and setting == "SSL_CERT_FILE")
    try:
        context = httpx.create_ssl_context()  # with those of the variable that is set
        if not path:
            context.load_default_certs()
        if ca_file:
            setting, path = "ca_file", ca_file
            content = read_plain(expanded_path(ca_file), max_bytes=MAX_BYTES)
            # PEM is ASCII; only comments between the certificates may have other characters.
            context.load_verify_locations(cadata=content.decode("ascii", "ignore"))
    except (ValueError, OSError, FileRefused) as error:
        reason = getattr(error, "strerror", "") or str(error)
        if isinstance(error, ssl.SSLError | ValueError):
            reason = "it contains no certificates"
        raise ServerUnavailable(
            f"The certificates in {setting} cannot be used: {path}: {reason.rstrip('.')}.",
            kind="certificate",
            hint=f"Set {setting} to a PEM file with certificates, or unset it.",
            details=type(error).__name__,
        ) from None
    if has_own_file:
        # The user trusts all that is in the file: it may be the certificate of one server, without
        # its issuer (a partial chain), or that of an authority that breaks rules of RFC 5280.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    return context
