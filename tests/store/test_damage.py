"""R3: a row that is not what was written is refused and named, never answered from."""

import random
from array import array
from datetime import UTC, datetime
from pathlib import Path

import pytest

from numcheck.active import PortingsHeader, PushHeader
from numcheck.errors import StoreDamaged, StoreFailed, StoreTooNew, UnknownPush
from numcheck.serving.publishing import rebuild_index
from numcheck.store import Store
from numcheck.store.store import FILE_NAME
from tests.active.sets import active_set_of
from tests.store.registry import plan, row


@pytest.fixture
def engine() -> str:
    """Only SQLite: these go at its file."""
    return "sqlite"


NOW = datetime(2026, 11, 23, tzinfo=UTC)
ALPHA, BETA = "7740000076", "7701725181"
CHUNKS = (7916, 7917, 7999)
OPERATORS = (1, 2)
BLOCK = 7917 * 256  # the first of chunk 7917
FLIPS_OF_THE_FILE = 100


def numbers_of(operator_id: int) -> list[int]:
    return [chunk * 10_000_000 + place for chunk in CHUNKS for place in (operator_id, chunk, 9_999_999)]


@pytest.fixture
def store(data_dir):
    with Store(data_dir) as store:
        rows = row(916, 0, 99, "Альфа", ALPHA, "Псков"), row(917, 0, 9, "Бета", BETA), row(495, 0, 9, "Бета", BETA)
        store.import_plan(plan(*rows), source="a.csv", now=NOW)
        for operator_id in OPERATORS:
            store.sets.replace_active_set(operator_id, active_set_of(numbers_of(operator_id)), data_time=NOW, now=NOW)
        yield store


def flips(content: bytes) -> list[bytes]:
    """The content with one bit flipped: every one of them; of long content, one of each byte."""
    return [
        content[:place] + bytes([byte ^ 1 << bit]) + content[place + 1 :]
        for place, byte in enumerate(content)
        for bit in (range(8) if len(content) < 16 else [place % 8])
    ]


def integer_flip(table: str, column: str, where: str) -> str:
    """A statement that flips the bits of its parameter in an integer column: SQLite has no exclusive or."""
    return f"UPDATE {table} SET {column} = ({column} | ?1) - ({column} & ?1) WHERE {where}"


def is_refused(read, *arguments) -> bool:
    try:
        read(*arguments)
    except StoreDamaged:
        return True
    return False


@pytest.mark.parametrize("column", ["bitmap", "checksum"])
def test_active_set_is_refused_when_any_bit_of_a_block_is_flipped(store, sql, column):
    where = f"WHERE operator_id = 1 AND block = {BLOCK}"
    ((content,),) = sql(f"SELECT {column} FROM blocks {where}")
    for flipped in flips(content):
        sql(f"UPDATE blocks SET {column} = ? {where}", flipped)
        assert is_refused(store.sets.active_set, 1)
        assert is_refused(store.sets.members, 7917)
    assert list(store.sets.active_set(2)) == numbers_of(2)
    sql(f"UPDATE blocks SET {column} = ? {where}", content)
    assert list(store.sets.active_set(1)) == numbers_of(1)


@pytest.mark.parametrize("column", ["revision", "number_count"])
def test_active_set_is_refused_when_any_bit_of_a_blocks_count_or_revision_is_flipped(store, sql, column):
    flip = integer_flip("blocks", column, f"operator_id = 1 AND block = {BLOCK}")
    for bit in range(63):
        sql(flip, 1 << bit)
        assert is_refused(store.sets.members, 7917)
        sql(flip, 1 << bit)
    assert list(store.sets.active_set(1)) == numbers_of(1)


def test_active_set_is_refused_when_any_bit_of_its_heads_checksum_is_flipped(store, sql, data_dir):
    ((content,),) = sql("SELECT checksum FROM heads WHERE operator_id = 1")
    for flipped in flips(content):
        sql("UPDATE heads SET checksum = ? WHERE operator_id = 1", flipped)
        assert is_refused(store.sets.active_set, 1)
    assert is_refused(rebuild_index, store, data_dir)


def test_active_set_is_refused_when_any_bit_of_its_digest_is_flipped(store, sql):
    _, content = store.sets.digest(1)
    for flipped in flips(content):
        sql("UPDATE heads SET digest = ? WHERE operator_id = 1", flipped)
        assert is_refused(store.sets.active_set, 1)


@pytest.mark.parametrize("column", ["version", "data_time_us", "stored_at_us", "number_count"])
def test_head_is_refused_when_any_bit_of_an_integer_is_flipped(store, sql, data_dir, column):
    """A version that nobody pushed, or old data that looks like today's, is not answered from."""
    for bit in range(63):
        sql(integer_flip("heads", column, "operator_id = 1"), 1 << bit)
        assert is_refused(store.sets.head, 1)
        assert is_refused(store.operators)
        sql(integer_flip("heads", column, "operator_id = 1"), 1 << bit)
    assert store.sets.head(1).version == 1
    sql("UPDATE heads SET synthetic = NOT synthetic WHERE operator_id = 1")
    assert is_refused(rebuild_index, store, data_dir)


@pytest.mark.parametrize("column", ["checksum", "digest", "row_checksum"])
def test_head_is_refused_when_any_bit_of_its_checksums_is_flipped(store, sql, column):
    store.sets.digest(1)
    ((content,),) = sql(f"SELECT {column} FROM heads WHERE operator_id = 1")
    for flipped in flips(content):
        sql(f"UPDATE heads SET {column} = ? WHERE operator_id = 1", flipped)
        assert is_refused(store.sets.head, 1)
        assert is_refused(store.sets.active_counts)
    assert store.sets.head(2).version == 1


@pytest.fixture
def ported(store) -> None:
    """A number of operator 2 that is ported to operator 1."""
    content = store.sets.portings_content()
    content.port(1, array("Q", [79170000005]))
    header = PortingsHeader(snapshot=False, base_version=0, push_id=None, data_time=NOW)
    store.sets.push_portings(header, content, base_version=0, now=NOW)


@pytest.mark.parametrize("column", ["bitmap", "checksum"])
def test_portings_are_refused_when_any_bit_of_a_block_is_flipped(store, ported, sql, data_dir, column):
    ((content,),) = sql(f"SELECT {column} FROM blocks WHERE kind = 2")
    for flipped in flips(content):
        sql(f"UPDATE blocks SET {column} = ? WHERE kind = 2", flipped)
        assert is_refused(store.sets.members, 7917)
    assert is_refused(rebuild_index, store, data_dir)
    sql(f"UPDATE blocks SET {column} = ? WHERE kind = 2", content)
    assert list(store.sets.members(7917).ported[1]) == [5]


@pytest.mark.parametrize("statement", ["DELETE FROM blocks WHERE kind = 2", "DELETE FROM heads WHERE kind = 2"])
def test_portings_are_refused_when_a_row_is_lost(store, ported, sql, data_dir, statement):
    sql(statement)
    assert is_refused(rebuild_index, store, data_dir)


@pytest.fixture
def held(store) -> None:
    """A delta of operator 1 that would remove all it has, in three chunks, but one number."""
    content = store.sets.push_content(1)
    content.add(array("Q", [79160000001]))
    content.remove(array("Q", numbers_of(1)[1:]))
    pushed = store.sets.push(PushHeader(1, False, 1, "first", NOW), content, base_version=1, token="held", now=NOW)
    assert pushed.held


def is_unconfirmed(store: Store) -> bool:
    """Whether the held push is refused, as damaged or as unknown, and changes nothing."""
    try:
        store.sets.confirm_push(1, "held", now=NOW)
    except (StoreDamaged, UnknownPush):
        return store.sets.head(1).version == 1
    return False


@pytest.mark.parametrize("column", ["added", "removed", "checksum"])
def test_held_push_is_not_applied_when_any_bit_of_a_change_is_flipped(store, held, sql, column):
    ((content,),) = sql(f"SELECT {column} FROM held_numbers WHERE chunk = 7917")
    for flipped in flips(content):
        sql(f"UPDATE held_numbers SET {column} = ? WHERE chunk = 7917", flipped)
        assert is_unconfirmed(store)
    sql(f"UPDATE held_numbers SET {column} = ? WHERE chunk = 7917", content)
    assert store.sets.confirm_push(1, "held", now=NOW).counts.number_count == 1


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM held_numbers WHERE chunk = 7917",
        "UPDATE held_numbers SET chunk = 7918 WHERE chunk = 7917",
        "UPDATE pushes SET version = 9, revision = 9",
        "UPDATE pushes SET snapshot = NOT snapshot",
        "UPDATE pushes SET push_id = NULL",
    ],
)
def test_held_push_is_not_applied_when_a_row_is_changed_or_lost(store, held, sql, statement):
    sql(statement)
    assert is_unconfirmed(store)


@pytest.mark.parametrize(
    "column", ["base_version", "plan_revision", "portings_version", "data_time_us", "received_at_us"]
)
def test_held_push_is_not_applied_when_any_bit_of_an_integer_is_flipped(store, held, sql, column):
    for bit in range(63):
        sql(integer_flip("pushes", column, "token = 'held'"), 1 << bit)
        assert is_unconfirmed(store)
        sql(integer_flip("pushes", column, "token = 'held'"), 1 << bit)
    assert store.sets.confirm_push(1, "held", now=NOW).version == 2


@pytest.mark.parametrize("column", ["counts", "push_id", "token", "held_checksum", "row_checksum"])
def test_held_push_is_not_applied_when_any_bit_of_its_record_is_flipped(store, held, sql, column):
    ((content,),) = sql(f"SELECT CAST({column} AS BLOB) FROM pushes")
    text = column not in ("held_checksum", "row_checksum")
    for flipped in flips(content):
        if text and max(flipped) > 127:
            continue  # no UTF-8: the driver refuses it before we see it
        sql(f"UPDATE pushes SET {column} = ?", flipped.decode() if text else flipped)
        assert is_unconfirmed(store)


COLUMNS = "revision, number_count, checksum, digest, bitmap"
COPY = f"INSERT OR REPLACE INTO blocks (kind, operator_id, block, {COLUMNS})"
LOST_OR_MOVED = {
    "a block is lost": f"DELETE FROM blocks WHERE operator_id = 1 AND block = {BLOCK}",
    "a block's number is another": f"UPDATE blocks SET block = block + 1 WHERE operator_id = 1 AND block = {BLOCK}",
    "a block's number is none": f"UPDATE blocks SET block = 'x' WHERE operator_id = 1 AND block = {BLOCK}",
    "a block's number is negative": f"UPDATE blocks SET block = -1 WHERE operator_id = 1 AND block = {BLOCK}",
    "a block is another operator's": f"{COPY} SELECT 1, 1, block, {COLUMNS} FROM blocks "
    f"WHERE operator_id = 2 AND block = {BLOCK}",
    "a block stands in another's place": f"{COPY} SELECT 1, 1, {BLOCK}, {COLUMNS} FROM blocks "
    f"WHERE operator_id = 1 AND block = {7916 * 256}",
    "a block is too many": f"{COPY} SELECT 1, 1, {7900 * 256}, {COLUMNS} FROM blocks "
    f"WHERE operator_id = 1 AND block = {BLOCK}",
    "a block is of another kind": f"UPDATE blocks SET kind = 2 WHERE operator_id = 1 AND block = {BLOCK}",
    "the set's head is lost": "DELETE FROM heads WHERE operator_id = 1",
}


@pytest.mark.parametrize("name", LOST_OR_MOVED)
def test_active_set_is_refused_when(store, sql, data_dir, name):
    """Nor is an index built from it: a lost block does not make its numbers inactive."""
    sql(LOST_OR_MOVED[name])
    assert is_refused(store.sets.active_set, 1)
    assert is_refused(rebuild_index, store, data_dir)


def test_active_set_is_refused_when_a_block_is_an_older_versions(store, sql, data_dir):
    ((*old,),) = sql(f"SELECT {COLUMNS} FROM blocks WHERE operator_id = 1 AND block = {BLOCK}")
    store.sets.replace_active_set(1, active_set_of([*numbers_of(1), 79170000555]), data_time=NOW, now=NOW)
    sql(f"UPDATE blocks SET ({COLUMNS}) = (?, ?, ?, ?, ?) WHERE operator_id = 1 AND block = {BLOCK}", *old)
    assert is_refused(store.sets.active_set, 1)
    assert is_refused(rebuild_index, store, data_dir)


@pytest.mark.parametrize("column", ["first_number", "last_number", "operator_id"])
def test_plan_is_refused_when_any_bit_of_a_range_is_flipped(store, sql, column):
    flip = integer_flip("ranges", column, "region = 'Псков'")
    for bit in range(63):
        sql(flip, 1 << bit)
        with pytest.raises(StoreDamaged, match="series 79 of the numbering plan is not what was imported"):
            store.ranges()
        sql(flip, 1 << bit)
    assert len(store.ranges()) == 3


def test_plan_is_refused_when_any_bit_of_a_region_is_flipped(store, sql):
    content = "Псков".encode()
    for flipped in flips(content):
        sql("UPDATE ranges SET region = CAST(? AS TEXT) WHERE first_number = 79160000000", flipped)
        assert is_refused(store.ranges)


def test_plan_is_refused_when_any_bit_of_its_checksum_is_flipped(store, sql):
    ((content,),) = sql("SELECT checksum FROM plan_series WHERE series = '9'")
    for flipped in flips(content):
        sql("UPDATE plan_series SET checksum = ? WHERE series = '9'", flipped)
        assert is_refused(store.ranges)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ranges SET mobile = 0 WHERE first_number = 79160000000",
        "UPDATE ranges SET mobile = 1 WHERE first_number = 74950000000",
        "DELETE FROM ranges WHERE first_number = 79160000000",
        "INSERT INTO ranges VALUES (79180000000, 79180000009, 1, 1, 'Тверь')",
        "INSERT INTO ranges VALUES (78000000000, 78000000009, 1, 0, 'Тверь')",
        "INSERT INTO ranges VALUES (5, 6, 1, 1, 'Тверь')",
        "UPDATE plan_series SET series = '8' WHERE series = '9'",
        "DELETE FROM plan_series WHERE series = '9'",
    ],
)
def test_plan_is_refused_when_a_row_of_it_is_changed_lost_or_too_many(store, sql, statement):
    sql(statement)
    assert is_refused(store.ranges)


def test_plan_and_sets_are_right_or_refused_when_a_bit_of_the_file_is_flipped(store, data_dir, tmp_path):
    """Pages, keys and schema as well: a sample, as the file has 400,000 bits."""

    def contents(directory: Path) -> tuple[object, ...]:
        with Store(directory, read_only=True) as reopened:
            sets = [reopened.sets.active_set(operator_id) for operator_id in OPERATORS]
            reopened.checks().sets()
            return reopened.ranges(), sets, [reopened.sets.members(chunk) for chunk in CHUNKS]

    written = contents(data_dir)
    store.close()
    content, chance = (data_dir / FILE_NAME).read_bytes(), random.Random(1)
    copy, wrong = tmp_path / "copy", []
    copy.mkdir()
    (copy / FILE_NAME).write_bytes(content)
    assert contents(copy) == written
    for _ in range(FLIPS_OF_THE_FILE):
        place, bit = chance.randrange(len(content)), chance.randrange(8)
        for path in copy.iterdir():
            path.unlink()
        (copy / FILE_NAME).write_bytes(content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :])
        try:
            if contents(copy) != written:
                wrong.append((place, bit))
        except (StoreDamaged, StoreTooNew, StoreFailed):
            pass
    assert wrong == []
