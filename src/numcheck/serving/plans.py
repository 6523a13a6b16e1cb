"""Imports registry files into a data directory that no node has open, and makes the index follow."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from numcheck.plan import Reading, read_files
from numcheck.serving.publishing import rebuild_index
from numcheck.store import DataDirLock, PlanImport, Store


def import_files(
    data_dir: Path, files: Sequence[Path], *, now: datetime, skip_bad: bool = False, force: bool = False
) -> tuple[Reading, PlanImport]:
    """Read the files and, if all of them can be trusted, replace the series that they speak of.

    Raises BadRegistryFile or PlanShrinks, with nothing changed, or DataDirInUse.
    """
    reading = read_files(files, skip_bad=skip_bad)
    with DataDirLock(data_dir), Store(data_dir) as store:
        source = ", ".join(file.name for file in files)
        imported = store.import_plan(reading.plan, source=source, now=now, force=force)
        rebuild_index(store, data_dir)
    return reading, imported
