"""Fills an empty data directory for trying out: the bundled registry and a synthetic population, labelled as such."""

import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from pathlib import Path

from pyroaring import BitMap

from numcheck._bits import CHUNK_NUMBERS
from numcheck.active import ActiveSet
from numcheck.active.synthetic import Interval, synthetic_sets
from numcheck.errors import BadConfiguration, DataDirNotEmpty
from numcheck.output import sync_directory
from numcheck.plan import BUNDLED_DATE, NumberingPlan, bundled_source, moment_of_day, read_registry
from numcheck.serving.publishing import rebuild_index
from numcheck.store import DataDirLock, Store
from numcheck.store.store import FILE_NAME as STORE_NAME

STAGING_NAME = ".filling"
SEED = 20_260_819  # any constant would do; the bundled registry's date is easy to remember


# Numbers that the pages show, so that what they say holds for a demo of any size: one in service, one that is not.
EXAMPLE_ACTIVE, EXAMPLE_INACTIVE = 79_160_550_603, 79_161_234_567


@dataclass(frozen=True, slots=True)
class Demo:
    """The contents with which a data directory was filled."""

    range_count: int
    operator_count: int
    number_count: int
    active_count: int
    index_version: int

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
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
        shown = _with_examples(active_set, held[operator_id])
        store.sets.replace_active_set(operator_id, shown, data_time=now, now=now, synthetic=True)
        active_count += len(shown)
        progress("synthetic population", done / len(held))
    return active_count


def _with_examples(active_set: ActiveSet, ranges: Sequence[Interval]) -> ActiveSet:
    """Return a set as large, with the examples as the pages show them: one number of it may be exchanged for another.

    It stays as it is where the examples are another operator's, and where no number is in service, or every one.
    """
    wrong, missing = EXAMPLE_INACTIVE in active_set, EXAMPLE_ACTIVE not in active_set
    if not any(first <= EXAMPLE_ACTIVE <= last for first, last in ranges) or not (wrong or missing):
        return active_set
    free = (number for first, last in ranges for number in range(first, last + 1) if number not in active_set)
    out = EXAMPLE_INACTIVE if wrong else next(iter(active_set), None)
    into = EXAMPLE_ACTIVE if missing else next(free, None)
    if out is None or into is None:
        return active_set
    chunks = dict(active_set.chunks())
    chunks[out // CHUNK_NUMBERS].remove(out % CHUNK_NUMBERS)
    chunks.setdefault(into // CHUNK_NUMBERS, BitMap()).add(into % CHUNK_NUMBERS)
    return ActiveSet(chunks)
