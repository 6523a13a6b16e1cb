"""Between a record and its row: seals and opens, and makes the tags by which a user and a number are found."""

import struct
from array import array
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from numcheck.errors import StoreDamaged
from numcheck.registrations.record import NetworkAddress, NumberChange, Record, normal_assertion_id, user_id_of
from numcheck.registrations.sealing import NONCE_SIZE, Key, Keyring
from numcheck.store import NumberRow, RegistrationRow, SealedRow, Sent, VerificationRow

BLOCK_NUMBERS = 10_000
SEALED_RECORD = attrgetter("key_id", "sealed_record", "registration_id")
SEALED_NUMBER = attrgetter("key_id", "sealed_number", "registration_id")


class Imported(NamedTuple):
    """People as an import has them, in columns: each one's user identifier, number and record, and the moments as they
    were given, which tell a row from another of the same record."""

    user_ids: Sequence[str]
    numbers: Sequence[int]
    records: Sequence[bytes]
    moments: Sequence[bytes]


class Vault:
    """Holds the keys. `random_bytes(n)` gives n random bytes."""

    def __init__(self, keyring: Keyring, random_bytes: Callable[[int], bytes]) -> None:
        self._keyring, self._random_bytes = keyring, random_bytes

    @property
    def newest(self) -> Key:
        """The key under which everything new is written."""
        return self._keyring.newest

    def try_key(self, key_id: int) -> Key | None:
        """Return a key by its id; None if it was dropped."""
        return self._keyring.try_key(key_id)

    def user_tags(self, service: str, user_id: str) -> list[bytes]:
        """Return the tags of a user of a service, the newest key's first."""
        return self._keyring.tags("user", f"{service}\0{user_id}".encode())

    def tags_of_users(self, users: Sequence[tuple[str, str]]) -> list[tuple[bytes, ...]]:
        """Return what `user_tags` returns of each of many users, given as service and user identifier."""
        values = [f"{service}\0{user_id}".encode() for service, user_id in users]
        return list(zip(*(key.tags("user", values) for key in reversed(self._keyring.keys)), strict=True))

    def number_tags(self, number: int) -> list[bytes]:
        """Return the tags of a number, the newest key's first."""
        return self._keyring.tags("number", _number_bytes(number))

    def tags_of_numbers(self, numbers: "array[int]") -> list[list[bytes]]:
        """Return the tags of many numbers, in their order: for each key once."""
        values = _each_number_bytes(numbers)
        return [key.tags("number", values) for key in self._keyring.keys]

    def block_tags(self, number: int) -> list[bytes]:
        """Return the tags of the 10,000 numbers around a number."""
        return self._keyring.tags("block", _number_bytes(number // BLOCK_NUMBERS))

    def network_tags(self, network_address: NetworkAddress) -> list[bytes]:
        """Return the tags of the network that an address is in."""
        return self._keyring.tags("network", network_address.network.encode())

    def assertion_tags(self, service: str, authority: str, assertion_id: str) -> list[bytes]:
        """Return the tags of an authority's assertion in a service, one for all spellings of its name."""
        named = "\0".join((service, authority, normal_assertion_id(assertion_id)))
        return self._keyring.tags("assertion", named.encode())

    def request_tags(self, service: str, request_id: str, record: Record) -> list[bytes]:
        """Return the tags of a request that makes a registration: of its name and of all that it says; none without a
        name."""
        if not request_id:
            return []
        return self._keyring.tags("request", _request_bytes(service, request_id, record.to_bytes()))

    def repetition_tags(self, registration_id: bytes, request_id: str) -> list[bytes]:
        """Return the tags of a request about a registration, by its name."""
        return self._keyring.tags("repetition", registration_id + request_id.encode())

    def said_tags(self, said: bytes) -> list[bytes]:
        """Return the tags of all that a request says."""
        return self._keyring.tags("said", said)

    def new_id(self, now_us: int) -> bytes:
        """Return an id that tells when it was made and nothing else: RFC 9562, version 7. Later ones sort behind."""
        value = (now_us // 1_000) << 80 | int.from_bytes(self._random_bytes(10), "big")
        value = value & ~(0xF << 76) | 0x7 << 76
        return (value & ~(0x3 << 62) | 0x2 << 62).to_bytes(16, "big")

    def sealed(self, registration_id: bytes, service: str, record: Record) -> dict[str, Any]:
        """Return the columns that a record becomes."""
        key = self._keyring.newest
        return {
            "user_tag": key.tag("user", f"{service}\0{record.user_id}".encode()),
            "sealed_record": key.seal(record.to_bytes(), b"record\0" + registration_id, self._random_bytes(NONCE_SIZE)),
            **self.sealed_number(registration_id, record.number),
        }

    def sealed_number(self, registration_id: bytes, number: int) -> dict[str, Any]:
        """Return the columns that a number alone becomes."""
        key, content = self._keyring.newest, _number_bytes(number)
        return {
            "key_id": key.key_id,
            "number_tag": key.tag("number", content),
            "sealed_number": key.seal(content, b"number\0" + registration_id, self._random_bytes(NONCE_SIZE)),
        }

    def sealed_change(self, key_id: int, verification_id: bytes, change: NumberChange) -> bytes:
        """Return a change of number as it is kept with its verification, under the verification's key."""
        owner = b"change\0" + verification_id
        return self._keyring[key_id].seal(change.to_bytes(), owner, self._random_bytes(NONCE_SIZE))

    def try_change(self, row: VerificationRow) -> NumberChange | None:
        """Return the change of number that a verification is for; None: it is for the number that the user has.
        StoreDamaged if it is not what was written."""
        if row.sealed_change is None:
            return None
        return NumberChange.from_bytes(
            self._plain(row.key_id, row.sealed_change, b"change", row.verification_id, row.registration_id)
        )

    def new_ids(self, now_us: int, count: int) -> list[bytes]:
        """Return ids of one moment, ascending."""
        made = _cut(self._random_bytes(10 * count), 10)
        head = (now_us // 1_000).to_bytes(6, "big")
        return sorted(head + bytes((one[0] & 0x0F | 0x70, one[1], one[2] & 0x3F | 0x80)) + one[3:] for one in made)

    def import_tags(self, service: str, import_id: str) -> list[bytes]:
        """Return the tags of an import, the newest key's first."""
        return self._keyring.tags("import", f"{service}\0{import_id}".encode())

    def sealed_columns(
        self, ids: Sequence[bytes], numbers: Sequence[int], records: Sequence[bytes]
    ) -> dict[str, Sequence[bytes]]:
        """Return the columns that the numbers and the records of registrations become, by name."""
        key, content = self._keyring.newest, _each_number_bytes(numbers)
        return {
            "number_tag": key.tags("number", content),
            "sealed_record": self._sealed_each(key, b"record\0", ids, records),
            "sealed_number": self._sealed_each(key, b"number\0", ids, content),
        }

    def tags_of_requests(
        self, services: Sequence[str], request_ids: Sequence[str], records: Sequence[bytes]
    ) -> list[bytes | None]:
        """Return the first of what `request_tags` returns of each of many requests, given their records' bytes; None
        for one without a name."""
        named = zip(services, request_ids, records, strict=True)
        said = [_request_bytes(service, request_id, record) for service, request_id, record in named if request_id]
        tags = iter(self._keyring.newest.tags("request", said))
        return [next(tags) if one else None for one in request_ids]

    def import_row_tags(self, service: str, people: Imported) -> dict[str, Sequence[bytes]]:
        """Return the columns of the tags of imported users and of all that an import says of each, by name."""
        user_tags, request_tags = _import_tags(self._keyring.newest, service, people)
        return {"user_tag": user_tags, "request_tag": request_tags}

    def older_tags(self, service: str, people: Imported) -> list[list[tuple[bytes, bytes]]]:
        """Return the tags of user and content of each under every older key, where there is one."""
        return [list(zip(*_import_tags(key, service, people), strict=True)) for key in self._keyring.keys[:-1]]

    def older_number_tags(self, numbers: Sequence[int]) -> list[list[bytes]]:
        """Return the tags of many numbers under every older key, where there is one."""
        return [key.tags("number", list(map(_number_bytes, numbers))) for key in self._keyring.keys[:-1]]

    def _sealed_each(self, key: Key, kind: bytes, ids: Sequence[bytes], plains: Sequence[bytes]) -> list[bytes]:
        nonces = _cut(self._random_bytes(NONCE_SIZE * len(plains)), NONCE_SIZE)
        return key.seal_each(plains, [kind + one for one in ids], nonces)

    def open(self, row: RegistrationRow) -> Record:
        """Return the record of a row; StoreDamaged, which names the registration, if it is not what was written."""
        if row.sealed_record is None:
            raise _damaged(row.registration_id)
        return Record.from_bytes(self._plain(row.key_id, row.sealed_record, b"record", row.registration_id))

    def open_each(self, rows: Sequence[RegistrationRow]) -> list[Record | StoreDamaged]:
        """Return the record of each row, or that it is not what was written."""
        if all(row.sealed_record is not None for row in rows):
            plains = self._opened(b"record", list(map(SEALED_RECORD, rows)))
            if None not in plains:
                return list(map(Record.from_bytes, plains))  # type: ignore[arg-type]
        return [self._try_open(row) for row in rows]

    def _try_open(self, row: RegistrationRow) -> Record | StoreDamaged:
        try:
            return self.open(row)
        except StoreDamaged as error:
            return error

    def _plain(
        self, key_id: int, sealed: bytes, kind: bytes, owner: bytes, registration_id: bytes | None = None
    ) -> bytes:
        """Return what was sealed for an owner, which is the registration itself unless another is given."""
        try:
            return self._keyring[key_id].open(sealed, kind + b"\0" + owner)
        except StoreDamaged:
            raise _damaged(registration_id or owner) from None

    def user_ids(self, rows: Sequence[SealedRow]) -> dict[bytes, str]:
        """Whose each registration is, by its id; none for one that is not what was written."""
        opened = self._opened(b"record", [(row.key_id, row.sealed_record, row.registration_id) for row in rows])
        return {
            row.registration_id: user_id_of(plain) for row, plain in zip(rows, opened, strict=True) if plain is not None
        }

    def numbers(self, rows: Sequence[NumberRow | Sent]) -> list[int | None]:
        """Return the numbers of many rows; None for one that is not what was written."""
        opened = self._opened(b"number", list(map(SEALED_NUMBER, rows)))
        if None in opened:
            return [None if plain is None else int.from_bytes(plain, "big") for plain in opened]
        # Each has eight bytes: it was sealed so.
        return list(struct.unpack(f">{len(opened)}Q", b"".join(opened)))  # type: ignore[arg-type]

    def _opened(self, kind: bytes, sealed: Sequence[tuple[int, bytes, bytes]]) -> Sequence[bytes | None]:
        """Return what was sealed, each with its key's id and its registration; all at once where nothing is damaged."""
        try:
            return self._keyring.open_each(kind + b"\0", sealed)
        except StoreDamaged:
            return [self._try_plain(key_id, one, kind, owner) for key_id, one, owner in sealed]

    def _try_plain(self, key_id: int, sealed: bytes, kind: bytes, registration_id: bytes) -> bytes | None:
        try:
            return self._plain(key_id, sealed, kind, registration_id)
        except StoreDamaged:
            return None


def _damaged(registration_id: bytes) -> StoreDamaged:
    name = registration_id.hex()
    return StoreDamaged(f"what lies sealed of registration {name} is not what was written", registration_id=name)


def _request_bytes(service: str, request_id: str, record: bytes) -> bytes:
    return f"{service}\0{request_id}\0".encode() + record


def _number_bytes(number: int) -> bytes:
    return number.to_bytes(8, "big")


def _each_number_bytes(numbers: Sequence[int]) -> list[bytes]:
    return _cut(struct.pack(f">{len(numbers)}Q", *numbers), 8)


def _cut(content: bytes, size: int) -> list[bytes]:
    """Return the pieces of some bytes, of one size each."""
    return [content[place : place + size] for place in range(0, len(content), size)]


def _import_tags(key: Key, service: str, people: Imported) -> tuple[list[bytes], list[bytes]]:
    """Return the tags of the users of a service, and of all that an import says of each."""
    head = service.encode() + b"\0"
    said = [head + moments + record for moments, record in zip(people.moments, people.records, strict=True)]
    return key.tags("user", [head + one.encode() for one in people.user_ids]), key.tags("import row", said)


def first_id(moment_us: int) -> bytes:
    """Return what sorts before every id that is made from that moment on."""
    return ((moment_us // 1_000) << 80).to_bytes(16, "big")
