"""What the store refuses, and that a reader of one moment sees one revision."""

from datetime import UTC, datetime
from pathlib import Path

from numcheck.store import Store
from tests.active.sets import active_set_of
from tests.numbering.node import FIRST

NOW = datetime(2026, 8, 19, tzinfo=UTC)


def test_a_reader_of_one_moment_does_not_see_what_is_committed_meanwhile(data_dir: Path) -> None:
    with Store(data_dir) as writer, Store(data_dir, read_only=True) as reader:
        with reader.one_moment():
            before = reader.revision
            writer.sets.replace_active_set(1, active_set_of([FIRST]), data_time=NOW, now=NOW)
            assert reader.revision == before
            assert len(reader.sets.active_set(1)) == 0
        assert reader.revision == before + 1
        assert len(reader.sets.active_set(1)) == 1
