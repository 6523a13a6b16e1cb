"""Files of users: whatever is exported is read back as it was, and what cannot be read is named by its line."""

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from numcheck.cli.exporting import export_to
from numcheck.cli.reading.source import opened
from numcheck.cli.reading.users import BadRow, UsersFile
from numcheck.errors import BadUsersFile
from numcheck.timestamps import timestamp
from numcheck.v1 import registration_pb2 as pb


def rows_of(path: Path) -> list[tuple[int, Any]]:
    with opened(path, again=True) as source:
        return list(UsersFile(source).rows())


def users_of(path: Path, content: str | bytes) -> list[tuple[int, Any]]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return rows_of(path)


HEADER = "user_id,number,address,port,registration_data.name,identifier,registered_at\n"
ROW = pb.ImportedRegistration(
    user_id="u1",
    number="+79161234567",
    network_address=pb.NetworkAddress(address="10.0.0.1", port=5),
    registration_data={"name": "Иванов"},
    identifier={"login": "ivan"},
    registered_at=timestamp(datetime(2026, 5, 1, tzinfo=UTC)),
)
CELLS = 'u1,+79161234567,10.0.0.1,5,Иванов,"{""login"":""ivan""}",2026-05-01'


@pytest.mark.parametrize(
    "content",
    [
        HEADER + CELLS,
        HEADER + CELLS + "\n\n",
        (HEADER + CELLS + "\n").replace("\n", "\r\n"),
        "sep=,\n" + HEADER + CELLS,
        ("\ufeff" + HEADER + CELLS).encode(),
        (HEADER + CELLS).encode("utf-16"),
        gzip.compress((HEADER + CELLS).encode()),
        (HEADER.replace("number", "Телефон") + CELLS).encode("cp1251"),
        HEADER.replace(",", ";") + CELLS.replace('""ivan""}",', '""ivan""}";').replace(",", ";"),
    ],
)
def test_a_row_is_the_same_however_its_file_is_written(tmp_path: Path, content: str | bytes) -> None:
    ((_, found),) = users_of(tmp_path / "users", content)
    assert found == ROW


def test_json_lines_say_the_same(tmp_path: Path) -> None:
    line = {
        "user_id": "u1",
        "number": 79161234567,
        "network_address": {"address": "10.0.0.1", "port": 5},
        "registration_data": {"name": "Иванов"},
        "identifier": {"login": "ivan"},
        "registered_at": "2026-05-01T03:00:00+03:00",
        "state": "VERIFIED",  # of an export, and not taken
    }
    assert users_of(tmp_path / "users", f"\n{json.dumps(line)}\n") == [(2, ROW)]


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ("u1,+7,10.0.0.1,x,,,", "network_address.port"),
        ("u1,+7,10.0.0.1,123456,,,", "network_address.port"),
        ("u1,+7,10.0.0.1,,,,yesterday", "registered_at"),
        ("u1,+7,10.0.0.1,,,,1712051212345", "registered_at"),  # milliseconds, and not May 1712
        ("u1,+7,10.0.0.1,,,,0001-01-01T00:00:00+03:00", "registered_at"),
        ('{"user_id": "u1", "registered_at": 1712051212345}', "registered_at"),
        ("u1,+7,10.0.0.1,,,{,", "identifier"),
        ('u1,+7,10.0.0.1,,,"{""a"":1}",', "identifier"),
        ("u1,+7,10.0.0.1,,,,,more", ""),
        ('{"user_id": "u1"', ""),
        ('{"user_id": "u1", "nmber": 1}', "nmber"),
        ('{"user_id": ["u1"]}', "user_id"),
        ('{"user_id": "u1", "number": true}', "number"),
        ('{"user_id": "u1", "network_address": {"addr": "x"}}', "network_address"),
        ('{"user_id": "u1", "registration_data": "x"}', "registration_data"),
    ],
)
def test_a_row_that_cannot_be_read_is_named_and_takes_no_other_with_it(tmp_path: Path, line: str, field: str) -> None:
    head, good = ("{}\n", '{"user_id":"u2"}') if line.startswith("{") else (HEADER, "u2,+7")
    rows = users_of(tmp_path / "users", f"{head}{line}\n{good}\n")
    assert rows[-2] == (2, BadRow(field))
    assert rows[-1][0] == 3
    assert rows[-1][1].user_id == "u2"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "no column"),
        ("user_id,address\n", "no column number"),
        ("user_id,number,colour\n", "no such column: colour"),
        ("user_id,number,phone\n", "two columns"),
        ("user_id,number\nu1,+7\n" + '"u2,+7\n', ":3: its quotes do not match"),
        ("user_id,number\nu1,+7\n" + "x" * 131_073, ":3: its quotes do not match, or it has more than"),
        ("user_id,number\nu1,+7\n" + '"x\n",' * 30_000, ":3: its quotes do not match, or it has more than"),
        ("user_id,number\nu1,+7\n\xff".encode("latin-1"), "letters cannot be told"),
        (b"PK\x03\x04", "Excel"),
        ("{}\n" + '{"user_id":"' + "x" * 131_072 + '"}', ":2: a line of more than"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, content: str | bytes, words: str) -> None:
    with pytest.raises(BadUsersFile, match=words):
        users_of(tmp_path / "users", content)


texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=8)
cells = texts | st.sampled_from(["=1+1", "'=1", "''@x", "-5", "+7", '"', "a,b", "a;b", "\t", "x\ny", "{}", " "])


@st.composite
def registrations(draw: st.DrawFn) -> pb.Registration:
    def moment() -> Any:
        return timestamp(datetime.fromtimestamp(draw(st.integers(1, 2**31)), UTC))

    evidence = draw(st.sampled_from([[], [ANSWER], [PROOF], [PROOF, ANSWER]]))
    return pb.Registration(
        service="m",
        user_id=draw(cells.filter(bool)),
        number=draw(st.integers(10**6, 10**14)),
        identifier=draw(st.dictionaries(cells.filter(bool), cells, max_size=2)),
        network_address=pb.NetworkAddress(address="2001:db8::7", port=draw(st.integers(0, 65_535))),
        registration_data=draw(st.dictionaries(cells.filter(bool), cells, max_size=2)),
        registered_at=moment(),
        refreshed_at=moment(),
        due_at=moment(),
        evidence=evidence,
    )


SECOND = timestamp(datetime(2026, 5, 1, tzinfo=UTC))
OPERATOR, CODE = pb.VERIFICATION_METHOD_OPERATOR, pb.VERIFICATION_METHOD_CODE
ANSWER = pb.Evidence(method=OPERATOR, verified_at=timestamp(datetime(2026, 6, 1, tzinfo=UTC)))
PROOF = pb.Evidence(method=CODE, verified_at=SECOND)


def imported(one: pb.Registration) -> pb.ImportedRegistration:
    """What an import of an exported registration has to be, but for how its number is written."""
    return pb.ImportedRegistration(
        user_id=one.user_id,
        number=f"+{one.number}",
        identifier=one.identifier,
        network_address=one.network_address,
        registration_data=one.registration_data,
        registered_at=one.registered_at,
        refreshed_at=one.refreshed_at,
        possession_proved_at=SECOND if PROOF in one.evidence else None,
    )


@pytest.mark.parametrize("name", ["users.csv", "users.csv.gz", "users.jsonl"])
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(found=st.lists(registrations(), min_size=1, max_size=4))
def test_what_is_exported_is_read_back_as_it_was(tmp_path: Path, name: str, found: list[pb.Registration]) -> None:
    """Formulas, quotes and line feeds among it; with the moment at which each user has proved possession."""
    path = tmp_path / name
    assert export_to(path, iter(found), csv=".csv" in name) == len(found)
    assert [row for _, row in rows_of(path)] == list(map(imported, found))
