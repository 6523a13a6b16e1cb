"""Editions: the index's files and the callers of one moment, named by their hashes and signed by a node.

Invariants: an edition that was read is one that the installation's key signed, and its names are plain names; so a file
whose hash is its own is what the node has, whoever handed it over.
"""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from io import BufferedReader
from typing import NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from google.protobuf.message import DecodeError

from numcheck.errors import EditionRefused
from numcheck.index.format import MANIFEST_NAME
from numcheck.timestamps import timestamp_at, try_microseconds
from numcheck.v1 import edition_pb2

PREFIX = b"numcheck edition 1\0"
CALLERS_NAME = "callers"
NAME = re.compile(r"[a-z][a-z0-9.-]{0,99}")
FILES_MAX = 1_000
HASH_SIZE = 32


class EditionFile(NamedTuple):
    """A file of an edition."""

    name: str
    size: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Edition:
    """The index and the callers of one moment; without files, nothing of `index_version` or before counts."""

    installation_id: str
    index_version: int
    signed_at_us: int
    current_at_us: int
    files: Sequence[EditionFile]

    def hash_of(self, name: str) -> bytes:
        """Return a file's hash; EditionRefused if the edition has no such file."""
        for file in self.files:
            if file.name == name:
                return file.sha256
        raise EditionRefused(f"the edition has no file {name}")


def hash_file(file: BufferedReader) -> bytes:
    """Return the SHA-256 of a file's bytes from where it stands on."""
    return hashlib.file_digest(file, "sha256").digest()


def hash_bytes(content: bytes) -> bytes:
    """Return the SHA-256 of some bytes."""
    return hashlib.sha256(content).digest()


def sign_edition(edition: Edition, key: Ed25519PrivateKey) -> bytes:
    """Return the edition as it is handed out: a WatchEditionsResponse, serialised."""
    content = edition_pb2.Edition(
        installation_id=edition.installation_id,
        index_version=edition.index_version,
        signed_at=timestamp_at(edition.signed_at_us),
        current_at=timestamp_at(edition.current_at_us),
        files=[edition_pb2.EditionFile(**file._asdict()) for file in edition.files],
    ).SerializeToString()
    return edition_pb2.WatchEditionsResponse(
        edition=content, signature=key.sign(PREFIX + content), public_key=key.public_key().public_bytes_raw()
    ).SerializeToString()


def read_edition(signed: bytes, known_key: bytes | None) -> tuple[Edition, bytes]:
    """Return a signed edition and the public key that signed it; EditionRefused if that is not the known one, or if
    anything else is not as it must be."""
    try:
        response = edition_pb2.WatchEditionsResponse.FromString(signed)
        if known_key not in (None, response.public_key):
            raise EditionRefused("the edition is signed by another key than the one that is known")
        public_key = Ed25519PublicKey.from_public_bytes(response.public_key)
        public_key.verify(response.signature, PREFIX + response.edition)
        return _edition_of(edition_pb2.Edition.FromString(response.edition)), response.public_key
    except (DecodeError, ValueError):
        raise EditionRefused("the edition is not a well-formed one") from None
    except InvalidSignature:
        raise EditionRefused("the edition's signature is not its key's") from None


def _edition_of(message: edition_pb2.Edition) -> Edition:
    signed_at_us, current_at_us = try_microseconds(message.signed_at), try_microseconds(message.current_at)
    files = [EditionFile(one.name, one.size, one.sha256) for one in message.files]
    names = {file.name for file in files}
    is_whole = not files or {MANIFEST_NAME, CALLERS_NAME} <= names
    are_plain = all(NAME.fullmatch(file.name) and len(file.sha256) == HASH_SIZE for file in files)
    if signed_at_us is None or current_at_us is None or len(names) < len(files) or len(files) > FILES_MAX:
        raise ValueError
    if not (is_whole and are_plain):
        raise ValueError
    return Edition(message.installation_id, message.index_version, signed_at_us, current_at_us, files)
