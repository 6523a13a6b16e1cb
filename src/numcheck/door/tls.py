"""TLS of the plain door: certificates that are read again when their files change (grpcio asks at each handshake)."""

from pathlib import Path

import grpc
import structlog

from numcheck.config import Settings
from numcheck.errors import BadConfiguration

log = structlog.get_logger()


def server_credentials(settings: Settings) -> grpc.ServerCredentials:
    """Credentials that show the settings' certificate and ask clients for theirs, unless tokens are what they have.

    BadConfiguration if a file is bad.
    """
    certificates = _Certificates(settings.tls_files)
    first = certificates.configuration()
    return grpc.dynamic_ssl_server_credentials(
        first,
        certificates.newer,  # type: ignore[arg-type]  # None, which the stubs lack, says: as before
        require_client_authentication=settings.tls_client_authority_file is not None,
    )


class _Certificates:
    """The files, and what they held when they were read last."""

    def __init__(self, files: list[Path]) -> None:
        self._files = files
        self._held: list[bytes] = []

    def configuration(self) -> grpc.ServerCertificateConfiguration:
        """What the files hold."""
        try:
            self._held = [file.read_bytes() for file in self._files]
        except OSError as error:
            raise BadConfiguration(f"{error.filename}: {(error.strerror or str(error)).lower()}") from None
        certificate, key, *authority = self._held
        if not all(b"-----BEGIN " in one for one in self._held):
            raise BadConfiguration("a TLS file does not hold PEM")
        return grpc.ssl_server_certificate_configuration([(key, certificate)], *authority)

    def newer(self) -> grpc.ServerCertificateConfiguration | None:
        """What the files hold now, or None if that is what they held, or no good."""
        before = self._held
        try:
            found = self.configuration()
        except BadConfiguration as error:
            self._held = before  # they may be between two writes: what is in use stays
            log.error("the new certificate files are not used", error=str(error))
            return None
        return None if self._held == before else found
