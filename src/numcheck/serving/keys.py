"""The file of keys (R12): made once, readable by its owner alone, outside of the store that it protects.

On disk after a crash: the file as it was before, or as it was written; a rotation's new key is durable before anything
is sealed under it.
"""

import json
import os
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from numcheck.config import Settings
from numcheck.errors import BadKeys
from numcheck.moments import microseconds
from numcheck.output import OWNER_READS, write_whole
from numcheck.privacy import make_private_directory
from numcheck.registrations.events import Chain
from numcheck.registrations.sealing import KEY_SIZE, Key, Keyring
from numcheck.store import Registrations, RegistrationWork, Store
from numcheck.store.acts import LOCAL

FILE_NAME = "keys.json"
FORMAT = 1
COPIES = "restore your copies of keys.json and token.key, or copy both from another node of the same database"


@dataclass(frozen=True, slots=True)
class Keys:
    """Contents of the file: the sealing keys, and the key that signs the chain's heads."""

    keyring: Keyring
    signing_key: Ed25519PrivateKey


def keys_path(settings: Settings) -> Path:
    """Return where the file is."""
    return settings.keys_file or settings.data_dir / FILE_NAME


def read_keys(path: Path) -> Keys:
    """Return the keys; BadKeys if the file is missing, is none, or others can read it."""
    try:
        with path.open(encoding="ascii") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = json.load(file)
    except FileNotFoundError:
        raise BadKeys(f"{path} is missing: the registrations cannot be read without it; {COPIES}") from None
    except ValueError:
        raise BadKeys(f"{path} is not a file of keys") from None
    if mode & 0o077:
        raise BadKeys(f"{path} can be read by others than its owner; chmod 400 it")
    try:
        if content["format"] != FORMAT:
            raise BadKeys(f"{path} was written by a newer numcheck")
        keys = [
            Key(int(one["key_id"]), bytes.fromhex(one["secret"]), int(one["made_at_us"])) for one in content["keys"]
        ]
        signing_key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(content["signing_key"]))
        return Keys(Keyring(keys), signing_key)
    except (KeyError, TypeError, ValueError, IndexError):
        raise BadKeys(f"{path} is not a file of keys") from None


def kept_keys(store: Store, settings: Settings) -> Keys:
    """Return the keys of a store; BadKeys if there are none, which says so where there never were any."""
    path = keys_path(settings)
    if not path.exists() and not store.key_checks():
        raise BadKeys("there are no keys and no events yet: a node makes the keys when it first starts")
    return read_keys(path)


def make_keys(path: Path, now: datetime) -> Keys:
    """Make new keys, durable when this returns. Nobody may have the path open."""
    write_keys(path, Keyring([Key(1, secrets.token_bytes(KEY_SIZE), microseconds(now))]), Ed25519PrivateKey.generate())
    return read_keys(path)


def use_keys(store: Store, registrations: Registrations, keyring: Keyring) -> None:
    """Refuse keys that are not those that the store is used with: BadKeys. The first use of a key is kept in the
    store, with the operators' data bound under it, and acts of administration are told from now on. EventsAltered if
    that data is not what was told under the key before.

    Of nodes that begin with an empty store at once, each with keys of its own, one is first.
    """
    known = store.key_checks()
    keyring.check(known)
    store.record_acts(Chain(keyring))
    if keyring.newest.key_id not in known:
        now_us = microseconds(datetime.now(UTC))
        registrations.write(lambda work: _use_newest(work, keyring, now_us))


def _use_newest(work: RegistrationWork, keyring: Keyring, now_us: int) -> None:
    known, newest = work.key_checks(), keyring.newest
    keyring.check(known)
    if newest.key_id not in known:
        if known:
            work.check_data()  # what somebody has changed does not become right by being bound anew
        work.keep_key_check(newest.key_id, newest.check_value)
        work.bind_data(LOCAL, now_us)


def write_keys(path: Path, keyring: Keyring, signing_key: Ed25519PrivateKey) -> None:
    """Replace the file, durably."""
    content = {
        "format": FORMAT,
        "keys": [
            {"key_id": key.key_id, "secret": key.secret.hex(), "made_at_us": key.made_at_us} for key in keyring.keys
        ],
        "signing_key": signing_key.private_bytes_raw().hex(),
    }
    make_private_directory(path.parent)
    write_whole(path, json.dumps(content, indent=1).encode(), mode=OWNER_READS)
