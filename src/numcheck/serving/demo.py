"""Fills an empty data directory for trying out: the bundled registry and a synthetic population, labelled as such."""

import shutil
from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from numcheck.active.synthetic import synthetic_sets
from numcheck.errors import BadConfiguration, DataDirNotEmpty
from numcheck.index.format import sync_directory
from numcheck.plan import BUNDLED_DATE, NumberingPlan, bundled_source, moment_of_day, read_registry
from numcheck.serving.publishing import rebuild_index
from numcheck.store import DataDirLock, Store
from numcheck.store.store import FILE_NAME as STORE_NAME

STAGING_NAME = ".filling"
SEED = 20_260_819  # any constant would do; the bundled registry's date is easy to remember


@dataclass(frozen=True, slots=True)
class Demo:
    """What a data directory was filled with."""

    range_count: int
    operator_count: int
    number_count: int
    active_count: int
    index_version: int

    def as_dict(self) -> dict[str, int]:
        """The counts by name."""
        return asdict(self)


def fill_demo(
    data_dir: Path,
    *,
    number_count: int,
    seed: int,
    now: datetime,
    progress: Callable[[str, float], None],
    url: str | None = None,
) -> Demo:
    """Fill an empty data directory, and with `url` the empty database of that URL; DataDirNotEmpty if either holds
    anything. A directory is filled whole or left as it is; a database is left half filled by who is killed meanwhile.

    BadConfiguration if the plan has no room for so many numbers. `progress` gets the name of a step and its share done,
    0 to 1.
    """
    if data_dir.exists() and any(path.name != STAGING_NAME for path in data_dir.iterdir()):
        raise DataDirNotEmpty(f"{data_dir} holds something already; the demo fills an empty directory only")
    progress("numbering plan", 0)
    plan = read_registry([bundled_source()]).plan
    if number_count > plan.number_count:
        raise BadConfiguration(f"{number_count:,} active numbers do not fit into a plan of {plan.number_count:,}")
    # Filled apart and moved when it is whole: an interrupted demo leaves nothing that looks filled.
    staging = data_dir / STAGING_NAME if data_dir.exists() else data_dir.with_name(data_dir.name + STAGING_NAME)
    with DataDirLock(staging) as lock:
        _empty(staging, keep=lock.path)
        with Store(staging, url=url) as store:
            if store.revision:
                shutil.rmtree(staging)
                raise DataDirNotEmpty(
                    "the database of database_url holds something already; the demo fills an empty one"
                )
            populate = partial(_populate, store, number_count, seed, now, progress)
            demo = _fill(store, staging, plan, populate, now, progress)
        _move(staging, data_dir)
    return demo


def _move(staging: Path, data_dir: Path) -> None:
    """Put what was filled into its place: in one step if there was no directory, else the store last of all."""
    if staging.parent == data_dir:
        for path in sorted(staging.iterdir(), key=lambda path: path.name == STORE_NAME):
            path.rename(data_dir / path.name)
        staging.rmdir()
        sync_directory(data_dir)
    else:
        staging.rename(data_dir)
        sync_directory(data_dir.parent)


def _empty(directory: Path, *, keep: Path) -> None:
    for path in directory.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path != keep:
            path.unlink()


def _fill(
    store: Store,
    data_dir: Path,
    plan: NumberingPlan,
    populate: Callable[[], int],
    now: datetime,
    progress: Callable[[str, float], None],
) -> Demo:
    source = f"bundled registry of {BUNDLED_DATE.isoformat()}"
    store.import_plan(plan, source=source, data_time=moment_of_day(BUNDLED_DATE), now=now)
    active_count = populate()
    progress("index", 0)
    rebuild_index(store, data_dir)
    progress("index", 1)
    return Demo(len(plan.ranges), len(store.operators()), plan.number_count, active_count, store.revision)


def _populate(store: Store, number_count: int, seed: int, now: datetime, progress: Callable[[str, float], None]) -> int:
    held = defaultdict(list)
    for one in store.ranges():
        if one.mobile:
            held[one.operator_id].append((one.first, one.last))
    active_count = 0
    for done, (operator_id, active_set) in enumerate(synthetic_sets(held, number_count=number_count, seed=seed), 1):
        store.replace_active_set(operator_id, active_set, data_time=now, now=now, synthetic=True)
        active_count += len(active_set)
        progress("synthetic population", done / len(held))
    return active_count
