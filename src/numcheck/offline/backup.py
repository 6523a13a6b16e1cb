"""Back-ups: a copy of the store at one moment, made while a node runs, and its restoration.

Invariants: a back-up holds no key, so that who finds one reads no number of a user; its description is written last, so
that one without it is none, and no more of its files is read than that says. A restoration puts nothing in place before
the copy is verified: its checksum, the chain of events, the checksum of every set and block, and that the keys are the
ones that it was written under. No index is kept: it is built of the store that it belongs to.
"""

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import file_digest
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO

from numcheck.config import Settings
from numcheck.errors import BadBackup, StoreMissing
from numcheck.offline.audit import Verified, verify_store
from numcheck.output import OWNER_ONLY, OWNER_READS, replacing, write_whole
from numcheck.plain_files import open_plain
from numcheck.privacy import make_private_directory
from numcheck.serving.access import KEY_NAME
from numcheck.serving.keys import FILE_NAME as KEYS_NAME
from numcheck.serving.keys import keys_path
from numcheck.serving.publishing import index_directory
from numcheck.store import DataDirLock, Store, copy_database
from numcheck.store.store import FILE_NAME as STORE_NAME

DESCRIPTION_NAME = "backup.json"
DESCRIPTION_SIZE_MAX = 65_536
FORMAT = 1
POSTGRESQL = (
    "the store is a PostgreSQL database, which has tools of its own: pg_basebackup, or pg_dump --format=custom; "
    "docs/operations.md has both. Keep keys.json and token.key as well, apart from it"
)
Report = Callable[[float], None]


@dataclass(frozen=True, slots=True)
class Description:
    """The description of a back-up. `sha256` is that of the database's file."""

    format: int
    numcheck_version: str
    taken_at: str
    installation_id: str
    revision: int
    event_count: int
    sha256: str
    size: int


def back_up(settings: Settings, target: Path, now: datetime, report: Report = lambda _share: None) -> Description:
    """Write a back-up into a new directory. BadBackup if there is something, or if the store is no file."""
    if settings.database is not None:
        raise BadBackup(POSTGRESQL)
    if not Store.exists(settings.data_dir):
        raise StoreMissing(f"there is no store in {settings.data_dir}")
    _make_empty(target)
    copy = target / STORE_NAME
    copy_database(settings.data_dir, copy, report)
    with Store(target, read_only=True) as store:
        head = store.events().try_head()
        description = Description(
            FORMAT,
            version("numcheck"),
            now.isoformat(timespec="seconds"),
            store.installation_id,
            store.revision,
            head.sequence if head else 0,
            _sha256(copy),
            copy.stat().st_size,
        )
    _drop_log(target)
    write_whole(target / DESCRIPTION_NAME, json.dumps(asdict(description), indent=2).encode(), mode=OWNER_ONLY)
    return description


def check_apart(keys: Path, backup: Path) -> None:
    """Raise BadBackup unless the directory of the keys lies outside of the back-up."""
    if keys.resolve() == backup.resolve() or backup.resolve() in keys.resolve().parents:
        raise BadBackup("keys lie apart from the back-up, or whoever finds it reads everything: name another directory")


def copy_keys(settings: Settings, target: Path) -> list[Path]:
    """Copy the installation's keys into a directory, and return the copies."""
    make_private_directory(target)
    copied = []
    for file in (keys_path(settings), settings.data_dir / KEY_NAME):
        if file.exists():
            write_whole(target / file.name, file.read_bytes(), mode=OWNER_READS)
            copied.append(target / file.name)
    return copied


def restore(settings: Settings, source: Path, keys: Path | None = None) -> tuple[Description, Verified]:
    """Make a data directory's store of a back-up, once all of it is verified; no node may run.

    The keys are those of a directory `keys`, or those that the data directory has. BadBackup, BadKeys, EventsAltered,
    StoreDamaged: nothing is in place then. DataDirInUse if a node runs.
    """
    if settings.database is not None:
        raise BadBackup(POSTGRESQL)
    description = _description(source)
    data_dir = settings.data_dir
    with DataDirLock(data_dir, make=True):
        if (data_dir / STORE_NAME).exists():
            raise BadBackup(f"{data_dir} has a store: move {STORE_NAME} and its -wal and -shm away first")
        staging = data_dir / "restoring"
        shutil.rmtree(staging, ignore_errors=True)
        make_private_directory(staging)
        try:
            verified = _stage(settings, source, keys, staging, description)
            _put_in_place(settings, staging)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return description, verified


def _stage(settings: Settings, source: Path, keys: Path | None, staging: Path, description: Description) -> Verified:
    """Copy the back-up and its keys beside the data directory's files, and verify them there."""
    _copy_store(source / STORE_NAME, staging / STORE_NAME, description.size)
    if _sha256(staging / STORE_NAME) != description.sha256:
        raise BadBackup(f"{source / STORE_NAME} is not what was written: its checksum is another")
    for name, own in ((KEYS_NAME, keys_path(settings)), (KEY_NAME, settings.data_dir / KEY_NAME)):
        file = own if keys is None else keys / name
        if file.exists():
            write_whole(staging / name, file.read_bytes(), mode=OWNER_READS)
    verified = verify_store(settings.model_copy(update={"data_dir": staging, "keys_file": None}), None)
    _drop_log(staging)
    return verified


def _put_in_place(settings: Settings, staging: Path) -> None:
    """Move what was verified to its place; the store last, as it is what a node looks for."""
    data_dir = settings.data_dir
    shutil.rmtree(index_directory(data_dir), ignore_errors=True)
    for staged, own in ((KEYS_NAME, keys_path(settings)), (KEY_NAME, data_dir / KEY_NAME)):
        if (staging / staged).exists():
            write_whole(own, (staging / staged).read_bytes(), mode=OWNER_READS)
    _drop_log(data_dir)
    with (staging / STORE_NAME).open("rb") as file:
        _write_store(data_dir / STORE_NAME, file)


def _copy_store(source: Path, target: Path, size: int) -> None:
    """Copy the database of a back-up; BadBackup unless it is a file of that size, so that it fills no disk."""
    try:
        with open_plain(source) as file:
            if os.fstat(file.fileno()).st_size != size:
                raise BadBackup(f"{source} is not what was written: its size is another")
            _write_store(target, file)
    except FileNotFoundError:
        raise BadBackup(f"{source} is missing") from None


def _write_store(target: Path, file: BinaryIO) -> None:
    with replacing(target, mode=OWNER_ONLY) as written:
        shutil.copyfileobj(file, written)


def _drop_log(directory: Path) -> None:
    for ending in ("-wal", "-shm"):
        (directory / f"{STORE_NAME}{ending}").unlink(missing_ok=True)


def _make_empty(target: Path) -> None:
    if target.is_symlink():
        raise BadBackup(f"{target} is a symbolic link, which is never followed; name what it leads to")
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise BadBackup(f"{target} is there already: a back-up goes into a directory of its own")
    make_private_directory(target)


def _description(source: Path) -> Description:
    try:
        with open_plain(source / DESCRIPTION_NAME) as file:
            found = Description(**json.loads(file.read(DESCRIPTION_SIZE_MAX)))
    except FileNotFoundError:
        raise BadBackup(f"{source} is no back-up: it has no {DESCRIPTION_NAME}, which is written last") from None
    except (ValueError, TypeError, RecursionError):
        raise BadBackup(f"{source / DESCRIPTION_NAME} is not as it was written") from None
    if found.format != FORMAT:
        raise BadBackup(f"{source} was written by a newer numcheck ({found.numcheck_version})")
    return found


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return file_digest(opened, "sha256").hexdigest()
