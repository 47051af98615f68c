"""Makes the certificates of the tests anew, beside itself; needs `cryptography`.

Valid for 100 years, all but one. The key guards nothing: it is public, and only the tests' servers use it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

FOLDER = Path(__file__).parent
BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2126, 1, 1, tzinfo=UTC)
PAST = datetime(2022, 1, 1, tzinfo=UTC)
HOSTS = (
    "localhost",
    "workstation.lan",
    "api.openai.com",
    "api.mistral.ai",
    "api.anthropic.com",
    "generativelanguage.googleapis.com",
    "openrouter.ai",
)
KEY = ec.generate_private_key(ec.SECP256R1())
AUTHORITY = "lmchat test authority"


def certificate(name: str, *, issuer: str = AUTHORITY, hosts=(), end=END, is_authority=False) -> bytes:
    """Return a certificate that the key of the tests has signed; with `issuer` its own name, by itself."""
    usage = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    usage["key_cert_sign" if is_authority else "digital_signature"] = True
    public = KEY.public_key()
    names: list[x509.GeneralName] = [x509.DNSName(host) for host in hosts]
    if "localhost" in hosts:
        names += [x509.IPAddress(ip_address(text)) for text in ("127.0.0.1", "::1")]
    made = (
        x509.CertificateBuilder()
        .subject_name(_named(name))
        .issuer_name(_named(issuer))
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(BEGIN.replace(year=end.year - 2) if end is not END else BEGIN)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(public), critical=False)
    )
    if names:
        made = made.add_extension(x509.SubjectAlternativeName(names), critical=False)
        made = made.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    return made.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def main() -> None:
    form = (serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    alone = "lmchat test server: signed by itself"
    files = {
        "key": KEY.private_bytes(serialization.Encoding.PEM, *form),
        "authority": certificate(AUTHORITY, is_authority=True),
        "hosts": certificate("lmchat test server", hosts=HOSTS),
        "elsewhere": certificate("lmchat test server: elsewhere", hosts=("elsewhere.example",)),
        "expired": certificate("lmchat test server: expired", hosts=HOSTS, end=PAST),
        "alone": certificate(alone, issuer=alone, hosts=HOSTS),
    }
    for name, content in files.items():
        (FOLDER / f"{name}.pem").write_bytes(content)


if __name__ == "__main__":
    main()
