"""TLS of the plain door: its certificates are read again when their files change; grpcio asks at each handshake."""

from pathlib import Path

import grpc
import structlog

from numcheck.config import Settings
from numcheck.errors import BadConfiguration

log = structlog.get_logger()


def server_credentials(settings: Settings) -> grpc.ServerCredentials:
    """Return credentials with the settings' certificate, which demand one of clients unless those have tokens.

    BadConfiguration if a file is bad.
    """
    certificates = _Certificates(settings.tls_files)
    first = certificates.configuration()
    return grpc.dynamic_ssl_server_credentials(
        first,
        certificates.newer,  # type: ignore[arg-type]  # None, which the stubs lack: no change
        require_client_authentication=settings.tls_client_authority_file is not None,
    )


class _Certificates:
    """The files, and their contents when they were read last."""

    def __init__(self, files: list[Path]) -> None:
        self._files = files
        self._held: list[bytes] = []

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        """Return the files' contents."""
        try:
            self._held = [file.read_bytes() for file in self._files]
        except OSError as error:
            raise BadConfiguration(f"{error.filename}: {(error.strerror or str(error)).lower()}") from None
        certificate, key, *authority = self._held
        if not all(b"-----BEGIN " in one for one in self._held):
            raise BadConfiguration("a TLS file does not hold PEM")
        return grpc.ssl_server_certificate_configuration([(key, certificate)], *authority)

    def newer(self) -> grpc.ServerCertificateConfiguration | None:
        """Return the files' contents, or None if they have not changed or are bad."""
        before = self._held
        try:
            found = self.configuration()
        except BadConfiguration as error:
            self._held = before  # they may be between two writes: the old ones stay in use
            log.error("the new certificate files are not used", error=str(error))
            return None
        return None if self._held == before else found
