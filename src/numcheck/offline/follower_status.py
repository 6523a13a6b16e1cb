"""Reads what a follower's data directory holds and what the follower says, without disturbing it."""

from datetime import datetime
from typing import Any

from numcheck.config import Settings
from numcheck.errors import EditionRefused, IndexDamaged, IndexMissing
from numcheck.index import map_index
from numcheck.index.edition import read_edition
from numcheck.index.shelf import Shelf
from numcheck.moments import rfc3339
from numcheck.offline.status import listener_status
from numcheck.serving.follower import editions_directory
from numcheck.serving.follower_report import told_of_follower
from numcheck.serving.whereabouts import node_address


def is_followers(settings: Settings) -> bool:
    """Return True if the data directory is a follower's."""
    return editions_directory(settings.data_dir).is_dir()


def follower_status(settings: Settings, *, now: datetime) -> dict[str, Any]:
    """Return the edition on disk, how old it is, and where the sources and the listener stand, as JSON has it."""
    told = told_of_follower(settings.data_dir)
    edition = _edition_status(settings, now)
    if told.get("current_at") and edition["current_at"]:  # on disk it is written more rarely
        edition["current_at"] = max(told["current_at"], edition["current_at"])
        edition["age_s"] = _age_s(edition["current_at"], now)
    return {
        "data_dir": str(settings.data_dir),
        "edition": edition,
        "lag": told.get("lag"),
        "sources": told.get("sources", []),
        "listener": listener_status(settings, node_address(settings), is_own=True),
    }


def _edition_status(settings: Settings, now: datetime) -> dict[str, Any]:
    found: dict[str, Any] = dict.fromkeys(("version", "size", "current_at", "age_s", "publisher_key", "error"))
    shelf = Shelf(editions_directory(settings.data_dir), make=False)
    signed = shelf.try_edition()
    if signed is None:
        return found | {"error": "there is no edition yet"}
    try:
        edition, key = read_edition(signed, None)
        current_at = rfc3339(edition.current_at_us, timespec="seconds")
        found |= {"current_at": current_at, "age_s": _age_s(current_at, now), "publisher_key": key.hex()}
        if not edition.files:
            return found | {"error": "the installation has lost history: nothing is answered from"}
        index = map_index(shelf.path_of(edition))
    except (EditionRefused, IndexDamaged, IndexMissing) as error:
        return found | {"error": str(error)}
    return found | {"version": index.index_version, "size": index.size}


def _age_s(current_at: str, now: datetime) -> float:
    return max((now - datetime.fromisoformat(current_at)).total_seconds(), 0.0)
