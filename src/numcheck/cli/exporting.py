"""`numcheck registrations export`: every registration of a service, as CSV or a JSON object a line; the reverse of
`import`."""

import gzip
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from csv import writer as csv_writer
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


def _proved_at(evidence: Sequence[dict[str, Any]]) -> str | None:
    """Return when the user has shown that the number is theirs, as far as the evidence says so."""
    proved = [one["verified_at"] for one in evidence if one["method"] != "OPERATOR"]
    return proved[-1] if proved else None


def _json_line(fields: dict[str, Any]) -> bytes:
    return orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)


def _csv_lines(registrations: Iterable[pb.Registration]) -> Iterator[bytes]:
    write = csv_writer(_Echo(), lineterminator="\n").writerow
    yield write(COLUMNS)
    for registration in registrations:
        fields = _fields_of(registration)
        address = fields["network_address"]
        fields |= {f"network_address.{name}": address[name] or "" for name in ("address", "port")}
        fields |= {name: orjson.dumps(fields[name]).decode() if fields[name] else "" for name in MAPS}
        fields["number"] = f"+{fields['number']}"
        yield write([guarded(str(fields[name] or "")) for name in COLUMNS])


class _Echo:
    """A file of which a writer's `writerow` returns what it writes."""

    def write(self, line: str) -> bytes:
        """Return the line."""
        return line.encode()
