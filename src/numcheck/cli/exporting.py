"""`numcheck registrations export`: every registration of a service, as CSV or a JSON object a line; the reverse of
`import`."""

import gzip
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from numcheck.cli.messages import message_fields
from numcheck.cli.spreadsheets import guarded
from numcheck.output import OWNER_ONLY, replacing
from numcheck.v1 import registration_pb2 as pb

STANDARD_OUTPUT = "-"
PIECE_SIZE = 500  # registrations that are written at once
MAPS = ("identifier", "registration_data", "evidence")
COLUMNS = (
    *("user_id", "number", "state", "registered_at", "refreshed_at", "due_at", "possession_proved_at"),
    *("network_address.address", "network_address.port", "identifier", "registration_data"),
    *("registration_id", "evidence"),
)
Write = Callable[[bytes], object]


def export_to(path: Path, registrations: Iterable[pb.Registration], *, csv: bool) -> int:
    """Write registrations as they come; how many they were. A file appears whole, or not at all."""
    lines = _csv_lines(registrations) if csv else map(_json_line, map(_fields_of, registrations))
    count = -1 if csv else 0
    with _writing(path) as write:
        some: list[bytes] = []
        for line in lines:
            some.append(line)
            if len(some) == PIECE_SIZE:
                write(b"".join(some))
                count += len(some)
                some.clear()
        write(b"".join(some))
    return count + len(some)


def is_csv(path: Path) -> bool:
    """Return True if a file's name says that it is CSV."""
    return ".csv" in path.suffixes[-2:]


@contextmanager
def _writing(path: Path) -> Iterator[Write]:
    if str(path) == STANDARD_OUTPUT:
        yield sys.stdout.buffer.write
        return
    with replacing(path, mode=OWNER_ONLY) as file:
        if path.suffix == ".gz":
            with gzip.GzipFile(fileobj=file, mode="wb", filename="") as packed:
                yield packed.write
        else:
            yield file.write


def _fields_of(registration: pb.Registration) -> dict[str, Any]:
    fields = message_fields(registration)
    fields["possession_proved_at"] = _proved_at(fields["evidence"])
    return fields


def _proved_at(evidence: dict[str, Any] | None) -> str | None:
    """Return when the user has shown that the number is theirs, as far as the evidence says so."""
    if evidence is None:
        return None
    if evidence["imported"]:
        return evidence["act_time"]  # type: ignore[no-any-return]
    return None if evidence["method"] == "OPERATOR" else evidence["verified_at"]


def _json_line(fields: dict[str, Any]) -> bytes:
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)


def _csv_lines(registrations: Iterable[pb.Registration]) -> Iterator[bytes]:
    yield f"{','.join(COLUMNS)}\r\n".encode()
    for registration in registrations:
        fields = _fields_of(registration)
        address = fields["network_address"]
        fields |= {f"network_address.{name}": address[name] for name in ("address", "port")}
        fields |= {name: orjson.dumps(fields[name]).decode() for name in MAPS if fields[name]}
        fields["number"] = f"+{fields['number']}"
        yield (",".join(_cell(fields[name]) for name in COLUMNS) + "\r\n").encode()


def _cell(value: Any) -> str:
    """Return a cell that a spreadsheet takes for text, quoted where it has to be."""
    if not value:
        return ""
    text = guarded(str(value))
    quoted = text.replace('"', '""')
    return f'"{quoted}"' if quoted != text or not text.isalnum() and any(one in text for one in ",\r\n") else text
