"""Rotation of the keys (R12): a new key, everything sealed anew under it, and a day later the old ones dropped.

On disk after a crash at any step: the new key is durable before anything lies under it, and the old ones stay until
nothing does: whatever was sealed can be opened, and the rotation goes on when it is asked for again.
"""

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from numcheck.config import Settings
from numcheck.errors import BadKeys
from numcheck.moments import microseconds
from numcheck.registrations.events import Chain
from numcheck.registrations.sealing import KEY_SIZE, Key, Keyring
from numcheck.registrations.vault import Vault
from numcheck.serving.keys import kept_keys, keys_path, use_keys, write_keys
from numcheck.serving.stores import stopped_store
from numcheck.store import RegistrationRow, Registrations, RegistrationWork, Store
from numcheck.store.acts import LOCAL, Act

PIECE_SIZE = 1_000
OLD_KEYS_KEPT = timedelta(days=1)  # what bounds codes is found under the key of its time, for a day


@dataclass(frozen=True, slots=True)
class Rotated:
    """The new key's id, and how many registrations lie under it now that did not."""

    key_id: int
    registration_count: int


def rotate(
    settings: Settings, now: datetime, *, piece_size: int = PIECE_SIZE, progress: Callable[[int], None] = lambda _: None
) -> Rotated:
    """Make a new key and seal everything anew under it. No node may be running; DataDirInUse if one is."""
    path = keys_path(settings)
    with stopped_store(settings) as store:
        keys = kept_keys(store, settings)
        keys.keyring.check(store.key_checks())
        newest = keys.keyring.newest
        new = Key(newest.key_id + 1, secrets.token_bytes(KEY_SIZE), microseconds(now))
        keyring = Keyring([*keys.keyring.keys, new])
        write_keys(path, keyring, keys.signing_key)
        registrations, vault = store.registrations(Chain(keyring)), Vault(keyring, secrets.token_bytes)
        use_keys(store, registrations, keyring)
        confirmations = [one for one, whole in registrations.every_confirmation() if whole]
        count, after = 0, b""
        while rows := registrations.under_other_keys(new.key_id, after=after, count_max=piece_size):
            whole = [registrations.checked(row, confirmations) for row in rows]
            registrations.write(_sealing_anew(vault, whole))
            count += sum(row.sealed_record is not None for row in rows)
            after = rows[-1].registration_id
            progress(count)
        _seal_identifications(registrations, vault, piece_size)
        registrations.write(lambda work: _end(work, new))
    return Rotated(new.key_id, count)


def _seal_identifications(registrations: Registrations, vault: Vault, piece_size: int) -> None:
    """Seal the numbers that operators are told of anew; one that is damaged stays, and is told to nobody."""
    key_id, after = vault.newest.key_id, 0
    while rows := registrations.identifications_under_other_keys(key_id, after=after, count_max=piece_size):
        after = rows[-1].position
        anew = [
            row._replace(**vault.sealed_number(row.registration_id, number))
            for row, number in zip(rows, vault.numbers(rows), strict=True)
            if number is not None
        ]
        registrations.write(partial(RegistrationWork.seal_identifications, rows=anew))


def _end(work: RegistrationWork, new: Key) -> None:
    """Tell that everything lies under the new key: the head of that event is the first under it."""
    work.remove_confirmations()  # each registration has been written, with the evidence that it has of them
    work.record_act(Act.KEYS_ROTATED, LOCAL, new.made_at_us, key_id=new.key_id)


def _sealing_anew(vault: Vault, rows: Sequence[RegistrationRow]) -> Callable[[RegistrationWork], None]:
    def operation(work: RegistrationWork) -> None:
        for row in rows:
            # The request's own tag stays, under the key of its time: a retry is known until that key is dropped.
            work.replace(row, row._replace(**_under_newest(vault, row)))

    return operation


def _under_newest(vault: Vault, row: RegistrationRow) -> dict[str, Any]:
    """Return what changes of a row: of one that was erased only the key of its digests."""
    if row.sealed_record is None:
        return {"key_id": vault.newest.key_id}
    return vault.sealed(row.registration_id, row.service, vault.open(row))


def drop_old_keys(settings: Settings, now: datetime) -> int:
    """Forget every key but the newest; how many. BadKeys if something may still be needed of them."""
    path = keys_path(settings)
    with stopped_store(settings) as store:
        keys = kept_keys(store, settings)
        newest = keys.keyring.newest
        old_count = len(keys.keyring.keys) - 1
        if old_count and microseconds(now - OLD_KEYS_KEPT) < newest.made_at_us:
            raise BadKeys("the newest key is not a day old: what bounds codes is still found under the one before")
        if _anything_under_old(store, keys.keyring):
            raise BadKeys("there is something under the old keys: `numcheck registrations rotate-keys` first")
        registrations = store.registrations(Chain(keys.keyring))
        use_keys(store, registrations, keys.keyring)
        registrations.write(lambda work: _drop_what_is_under_others(work, newest.key_id, microseconds(now)))
        write_keys(path, Keyring([newest]), keys.signing_key)
    return old_count


def _drop_what_is_under_others(work: RegistrationWork, key_id: int, now_us: int) -> None:
    work.verifications.forget_under_other_keys(key_id)  # they are a day old: what they waited for is over
    work.drop_key_checks(but=key_id)
    work.record_act(Act.KEYS_DROPPED, LOCAL, now_us, but=key_id)


def _anything_under_old(store: Store, keyring: Keyring) -> bool:
    registrations: Registrations = store.registrations(Chain(keyring))
    head = store.events().try_head()
    under_old = registrations.under_other_keys(keyring.newest.key_id, after=b"", count_max=1)
    confirmed = any(one.key_id != keyring.newest.key_id for one, _ in registrations.every_confirmation())
    told = registrations.identifications_under_other_keys(keyring.newest.key_id, after=0, count_max=1)
    return bool(under_old or told) or confirmed or (head is not None and head.key_id != keyring.newest.key_id)
