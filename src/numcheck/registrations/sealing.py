"""How personal data lies in the store (R12): sealed, and found by keyed tags, under keys that the store never sees.

Invariants: what was sealed for one registration opens for no other; who has the store and not the keys learns neither a
number nor an address, and cannot try numbers out, as a tag takes the key. New data is sealed and tagged under the
newest key; until a rotation has ended, older keys open and find what they made.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from numcheck.errors import BadKeys, StoreDamaged

KEY_SIZE = 32  # AES-256 and HMAC-SHA-256
HASH_BLOCK_SIZE = 64  # of SHA-256
NONCE_SIZE = 12
TAG_SIZE = 16  # of a lookup tag: 2^64 registrations until two might meet by chance


@dataclass(frozen=True)
class Key:
    """A secret and what is derived from it, each for one use: HMAC-SHA-256 over the use's name."""

    key_id: int
    secret: bytes = field(repr=False)
    made_at_us: int = 0

    def __post_init__(self) -> None:
        if len(self.secret) != KEY_SIZE:
            raise ValueError("a key has 32 bytes")
        object.__setattr__(self, "_tagging", self._derived("tag"))
        object.__setattr__(self, "_begun_by_kind", {})
        object.__setattr__(self, "_coding", self._derived("code"))
        object.__setattr__(self, "_wording", self._derived("word"))
        object.__setattr__(self, "_heading", self._derived("head"))
        object.__setattr__(self, "_binding", hashlib.blake2b(key=self._derived("bind"), digest_size=KEY_SIZE))
        object.__setattr__(self, "_aead", AESGCM(self._derived("seal")))

    def _derived(self, use: str) -> bytes:
        return hmac.digest(self.secret, f"numcheck {use} 1".encode(), "sha256")

    def tag(self, kind: str, value: bytes) -> bytes:
        """Return the lookup tag of a value; of another kind the same value has another."""
        inner, outer = self._begun(kind)
        first, second = inner.copy(), outer.copy()
        first.update(value)
        second.update(first.digest())
        return second.digest()[:TAG_SIZE]

    def tags(self, kind: str, values: Iterable[bytes]) -> list[bytes]:
        """Return the lookup tags of many values, each an HMAC (RFC 2104) from hashes that have taken the padded key."""
        copy_inner, copy_outer = (begun.copy for begun in self._begun(kind))
        made = []
        for value in values:
            first, second = copy_inner(), copy_outer()
            first.update(value)
            second.update(first.digest())
            made.append(second.digest()[:TAG_SIZE])
        return made

    def _begun(self, kind: str) -> "tuple[hashlib._Hash, hashlib._Hash]":
        """Return the two hashes that the HMACs of a kind share, begun once: the half of the work."""
        begun: dict[str, tuple[hashlib._Hash, hashlib._Hash]] = self._begun_by_kind  # type: ignore[attr-defined]
        if kind not in begun:
            key = self._tagging.ljust(HASH_BLOCK_SIZE, b"\0")  # type: ignore[attr-defined]
            inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in key) + kind.encode() + b"\0")
            begun[kind] = inner, hashlib.sha256(bytes(byte ^ 0x5C for byte in key))
        return begun[kind]

    def code_mac(self, verification_id: bytes, code: str) -> bytes:
        """Return what is kept of a code: of no use without the key, as it has a million values only."""
        return hmac.digest(self._coding, verification_id + code.encode(), "sha256")  # type: ignore[attr-defined]

    @property
    def check_value(self) -> bytes:
        """Bytes that tell the key again, and nothing of it: they are kept in the store."""
        return self._derived("check")

    def word_digest(self, verification_id: bytes) -> bytes:
        """Return what a verification's word is made of: who has the key can tell the word again, and nobody can guess
        it."""
        return hmac.digest(self._wording, verification_id, "sha256")  # type: ignore[attr-defined]

    def head_mac(self, sequence: int, digest: bytes) -> bytes:
        """Return what shows that the head of the chain of events is the one that this installation wrote."""
        return hmac.digest(self._heading, sequence.to_bytes(8, "big") + digest, "sha256")  # type: ignore[attr-defined]

    def bind(self, plain: bytes) -> bytes:
        """Return what shows that a row is what was written: its keyed digest."""
        digest: hashlib.blake2b = self._binding.copy()  # type: ignore[attr-defined]
        digest.update(plain)
        return digest.digest()

    def bind_each(self, plains: Iterable[bytes]) -> list[bytes]:
        """Return what `bind` returns of each of many rows."""
        begun: Callable[[], hashlib.blake2b] = self._binding.copy  # type: ignore[attr-defined]
        made = []
        for plain in plains:
            digest = begun()
            digest.update(plain)
            made.append(digest.digest())
        return made

    def seal_each(self, plains: Iterable[bytes], owners: Iterable[bytes], nonces: Iterable[bytes]) -> list[bytes]:
        """Return what `seal` returns of each of many."""
        encrypt: Callable[[bytes, bytes, bytes], bytes] = self._aead.encrypt  # type: ignore[attr-defined]
        given = zip(plains, owners, nonces, strict=True)
        return [nonce + encrypt(nonce, plain, owner) for plain, owner, nonce in given]

    def seal(self, plain: bytes, owner: bytes, nonce: bytes) -> bytes:
        """Seal for one owner; the nonce has to be random, and used once."""
        sealed: bytes = self._aead.encrypt(nonce, plain, owner)  # type: ignore[attr-defined]
        return nonce + sealed

    def open(self, sealed: bytes, owner: bytes) -> bytes:
        """Return what was sealed for the owner; StoreDamaged if it is not what was sealed, or was for another."""
        try:
            plain: bytes = self._aead.decrypt(sealed[:NONCE_SIZE], sealed[NONCE_SIZE:], owner)  # type: ignore[attr-defined]
        except (InvalidTag, ValueError):
            raise StoreDamaged("a sealed row of the store is not what was written") from None
        return plain


class Keyring:
    """The keys of an installation, the newest last."""

    def __init__(self, keys: Sequence[Key]) -> None:
        self._keys = {key.key_id: key for key in keys}
        self.newest = keys[-1]

    def __getitem__(self, key_id: int) -> Key:
        """Return the key of that id; StoreDamaged if there is none."""
        try:
            return self._keys[key_id]
        except KeyError:
            raise StoreDamaged(
                f"the store was written with key {key_id}, which the file of keys does not have"
            ) from None

    def open_each(self, prefix: bytes, sealed: Iterable[tuple[int, bytes, bytes]]) -> list[bytes]:
        """Return what was sealed, each with its key's id and what its owner has behind the prefix; StoreDamaged as
        `open`.

        For many: no call between.
        """
        opens = {key_id: key._aead.decrypt for key_id, key in self._keys.items()}  # type: ignore[attr-defined]
        try:
            return [opens[key_id](one[:NONCE_SIZE], one[NONCE_SIZE:], prefix + owner) for key_id, one, owner in sealed]
        except KeyError as missing:
            self[missing.args[0]]
            raise
        except (InvalidTag, ValueError):
            raise StoreDamaged("a sealed row of the store is not what was written") from None

    def try_key(self, key_id: int) -> Key | None:
        """Return the key of that id; None if it was dropped."""
        return self._keys.get(key_id)

    @property
    def keys(self) -> list[Key]:
        """Every key, the newest last."""
        return list(self._keys.values())

    def check(self, known: Mapping[int, bytes]) -> None:
        """BadKeys unless these are the keys that a store is used with, whose check values are given by their ids."""
        if known and max(known) not in self._keys:
            raise BadKeys(f"the file of keys does not have key {max(known)}, which the store is used with")
        for key_id, check_value in known.items():
            if key_id in self._keys and not hmac.compare_digest(self._keys[key_id].check_value, check_value):
                raise BadKeys(
                    f"key {key_id} in the file of keys is not the one that the store is used with: give this node a "
                    "copy of the first node's file"
                )

    def tags(self, kind: str, value: bytes) -> list[bytes]:
        """Return the lookup tags of a value under every key, the newest's first."""
        return [key.tag(kind, value) for key in reversed(self._keys.values())]
