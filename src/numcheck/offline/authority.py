"""A small certificate authority for trying out mutual TLS. For a real installation, take the certificates of your own.

Its files lie in one directory: authority.pem and authority.key, and of each name that it issues NAME.pem and NAME.key.
"""

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from numcheck.errors import BadConfiguration, DataDirNotEmpty
from numcheck.moments import CLOCK_SKEW_MAX
from numcheck.output import write_whole
from numcheck.privacy import make_private_directory

LIFETIME = timedelta(days=365)
SERVER_NAMES = ("localhost", "127.0.0.1", "::1")


def make_authority(directory: Path, *, now: datetime) -> None:
    """Make an authority in an empty directory; DataDirNotEmpty if it holds anything."""
    make_private_directory(directory)
    if any(directory.iterdir()):
        raise DataDirNotEmpty(f"{directory} holds something already; an authority is made in an empty directory")
    key, name = ec.generate_private_key(ec.SECP256R1()), _name("numcheck test authority")
    builder = _builder(name, name, key, now).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    usage = x509.KeyUsage(
        digital_signature=False,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=True,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = builder.add_extension(usage, critical=True).sign(key, hashes.SHA256())
    write_whole(directory / "authority.pem", certificate.public_bytes(serialization.Encoding.PEM), mode=0o444)
    write_whole(directory / "authority.key", _key_bytes(key), mode=0o400)


def issue_server(directory: Path, names: Sequence[str], *, now: datetime) -> None:
    """Issue server.pem and server.key for a node that is reached by these host names or addresses."""
    alternatives = [*map(_host, names)]
    _issue(directory, "server", alternatives, ExtendedKeyUsageOID.SERVER_AUTH, now)


def issue_client(directory: Path, name: str, uri: str, *, now: datetime) -> None:
    """Issue NAME.pem and NAME.key for the caller that a URI names."""
    _issue(directory, name, [x509.UniformResourceIdentifier(uri)], ExtendedKeyUsageOID.CLIENT_AUTH, now)


def _issue(
    directory: Path, name: str, alternatives: list[x509.GeneralName], usage: x509.ObjectIdentifier, now: datetime
) -> None:
    try:
        issuer = x509.load_pem_x509_certificate((directory / "authority.pem").read_bytes())
        signing = serialization.load_pem_private_key((directory / "authority.key").read_bytes(), password=None)
    except (OSError, ValueError):
        raise BadConfiguration(f"{directory} holds no authority; `numcheck callers init` makes one") from None
    if not isinstance(signing, ec.EllipticCurvePrivateKey):
        raise BadConfiguration(f"{directory}/authority.key is not a key that this program made")
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(_name(name), issuer.subject, key, now)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .sign(signing, hashes.SHA256())
    )
    write_whole(directory / f"{name}.pem", certificate.public_bytes(serialization.Encoding.PEM), mode=0o444)
    write_whole(directory / f"{name}.key", _key_bytes(key), mode=0o400)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SKEW_MAX)
        .not_valid_after(now + LIFETIME)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _key_bytes(key: ec.EllipticCurvePrivateKey) -> bytes:
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, *form)
