"""`numcheck registrations import`: a file of users, row by row, and a report of those that were refused."""

from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any

from numcheck.cli.console import Report
from numcheck.cli.reading.source import opened
from numcheck.cli.reading.users import BadRow, UsersFile
from numcheck.cli.spreadsheets import written
from numcheck.client import RegistrationClient
from numcheck.output import OWNER_ONLY, replacing
from numcheck.v1 import registration_pb2 as pb

REPORT_COLUMNS = ("line", "reason", "field")
EXAMPLES_MAX = 20


class Refused:
    """The rows that were refused: each is told once, by the number of its line."""

    def __init__(self, write: Callable[[str], object] | None) -> None:
        self._write = write
        self.examples: list[tuple[int, str, str]] = []
        self.unread_count = 0
        self._firsts, self._lines = [0], [0]  # places from which on lines follow each other, and the line of each
        self._unread_line, self._told_place = 0, -1
        self._early: dict[int, tuple[str, str]] = {}  # refused before the file was read so far
        if write is not None:
            write(written(REPORT_COLUMNS, ",") + "\n")

    def note_line(self, place: int, line: int) -> None:
        """Note where a row stands; places come in order, and again from the first when an import goes on."""
        if place == 0:
            self._firsts, self._lines = [0], [line]
        elif line - place != self._lines[-1] - self._firsts[-1]:
            self._firsts.append(place)
            self._lines.append(line)
        if self._early and (why := self._early.pop(place, None)):
            self._tell(line, *why)

    def tell_unread(self, line: int, row: BadRow) -> None:
        """Tell of a row that cannot be read."""
        if line > self._unread_line:
            self._unread_line, self.unread_count = line, self.unread_count + 1
            self._tell(line, row.reason, row.field)

    def tell(self, place: int, reason: str, field: str, *, is_read: bool) -> None:
        """Tell of a row that the node has refused; `is_read`: the file was read behind it."""
        if place <= self._told_place:
            return
        self._told_place = place
        if is_read:
            at = bisect_right(self._firsts, place) - 1
            self._tell(self._lines[at] + place - self._firsts[at], reason, field)
        else:
            self._early[place] = reason, field

    def _tell(self, line: int, reason: str, field: str) -> None:
        if len(self.examples) < EXAMPLES_MAX:
            self.examples.append((line, reason, field))
        if self._write is not None:
            self._write(written((str(line), reason, field), ",") + "\n")


def import_file(
    client: RegistrationClient,
    path: Path,
    import_id: str | None,
    report: Report,
    *,
    send_codes: bool,
    refused_to: Path | None,
    tell: Callable[[str], None],
) -> tuple[pb.ImportRegistrationsResponse, Refused]:
    """Import a file; how far the import is then, and what was refused. BadUsersFile if it cannot be read.

    Without an import_id it is named after its content, so that the same file goes on where it was broken off.
    """
    with ExitStack() as stack:
        file = UsersFile(stack.enter_context(opened(path, again=True)))
        tell(file.told)
        out: IO[bytes] | None = (
            None if refused_to is None else stack.enter_context(replacing(refused_to, mode=OWNER_ONLY))
        )
        refused = Refused(None if out is None else lambda line: out.write(line.encode()))
        begun = False

        def rows_from(place: int) -> Iterator[pb.ImportedRegistration]:
            nonlocal begun
            begun = True
            at = 0
            for line, row in file.rows():
                if isinstance(row, BadRow):
                    refused.tell_unread(line, row)
                    continue
                refused.note_line(at, line)
                if at >= place:
                    yield row
                at += 1

        last = pb.ImportRegistrationsResponse()
        for last in client.import_registrations(
            import_id or f"file-{file.digest[:32]}", rows_from, send_codes=send_codes, tell=tell
        ):
            for one in last.refused:
                refused.tell(one.row, one.reason, one.field, is_read=begun)
            report("importing", file.share_read())
    return last, refused


def counts_of(last: pb.ImportRegistrationsResponse, refused: Refused) -> dict[str, Any]:
    """Return the counts of an import that is done."""
    counts = {name: getattr(last, f"{name}_count") for name in ("made", "already", "refused")}
    counts["refused"] += refused.unread_count
    return {"rows": last.row_count + refused.unread_count, **counts}
