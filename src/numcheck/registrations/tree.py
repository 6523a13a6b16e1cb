"""A tree over the hashes of all events: what shows that an event is in the chain, without the events of others (R13).

The tree is RFC 6962's, with SHA-256: a leaf is the hash of a zero byte and an event's hash, a node that of a byte 1 and
the two nodes below it; of n leaves the left side has the largest power of two below n. Its root is signed together with
the head of the chain, so that whoever has an export can tell that both are of the same events.
"""

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_PREFIX = b"numcheck event tree 1\0"


class Sibling(NamedTuple):
    """A step of a path to the root: the hash beside, and whether it stands on the left."""

    is_left: bool
    hash: bytes


class SignedTree(NamedTuple):
    """The tree of all events up to a head, signed."""

    event_count: int
    head_hash: bytes
    root: bytes
    signed_at_us: int
    signature: bytes
    public_key: bytes


class _Subtree(NamedTuple):
    """A whole subtree: how many leaves it has, its hash, and which paths begin in it."""

    size: int
    hash: bytes
    wanted: list[int]


def root_and_paths(leaves: Iterable[tuple[bytes, bool]]) -> tuple[bytes, list[list[Sibling]]]:
    """Return the root of the tree of some hashes, and the path to it from each of those that are wanted: the leaves say
    which are."""
    paths: list[list[Sibling]] = []
    stack: list[_Subtree] = []

    def join(left: _Subtree, right: _Subtree) -> _Subtree:
        for place in left.wanted:
            paths[place].append(Sibling(is_left=False, hash=right.hash))
        for place in right.wanted:
            paths[place].append(Sibling(is_left=True, hash=left.hash))
        digest = hashlib.sha256(b"\1" + left.hash + right.hash).digest()
        return _Subtree(left.size + right.size, digest, left.wanted + right.wanted)

    for one, is_wanted in leaves:
        wanted = [len(paths)] if is_wanted else []
        paths.extend([] for _ in wanted)
        subtree = _Subtree(1, hashlib.sha256(b"\0" + one).digest(), wanted)
        while stack and stack[-1].size == subtree.size:
            subtree = join(stack.pop(), subtree)
        stack.append(subtree)
    if not stack:
        return hashlib.sha256().digest(), paths
    while len(stack) > 1:
        right = stack.pop()
        stack.append(join(stack.pop(), right))
    return stack[0].hash, paths


def sign_tree(key: Ed25519PrivateKey, event_count: int, head_hash: bytes, root: bytes, signed_at_us: int) -> SignedTree:
    """Return the tree, signed by the key that signs heads."""
    signed = _PREFIX + event_count.to_bytes(8, "big") + signed_at_us.to_bytes(8, "big") + head_hash + root
    public_key = key.public_key().public_bytes_raw()
    return SignedTree(event_count, head_hash, root, signed_at_us, key.sign(signed), public_key)
