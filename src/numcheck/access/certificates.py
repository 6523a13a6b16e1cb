"""Reads the name of a caller from a client's certificate: one function for every listener.

The certificate itself is read: the names that a TLS library lists may be cut at a NUL, or be of different kinds.
"""

from functools import lru_cache

from cryptography import x509

from numcheck.access.rules import URI

CERTIFICATES_KEPT = 1_024  # those that were read last, so that a call does not read one again


@lru_cache(CERTIFICATES_KEPT)
def name_in(certificate: bytes) -> str:
    """Return the URI that a certificate (DER) is for; empty if it names nobody.

    Somebody is named by exactly one URI among the subject alternative names, of the form that those of callers have.
    Certificates with more than one, or with one of another form, could be read in two ways.
    """
    try:
        extensions = x509.load_der_x509_certificate(certificate).extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return ""
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return uris[0] if len(uris) == 1 and URI.fullmatch(uris[0]) else ""
