"""The addresses at which the node of a data directory listens, for commands that are given the directory.

The file is a hint: its reader connects and sees. It goes with the node that wrote it; a file left by a killed node, or
copied with the directory, does not count.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from numcheck.config import Settings
from numcheck.nearby import COURIERS_NAME, FOLLOWER_NAME, LISTENERS_NAME, TOKEN_NAME, told_by
from numcheck.output import OWNER_ONLY, write_whole

LOOPBACK = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # a node on every address is reached on these


class Whereabouts(NamedTuple):
    """The address at which a node listens, and the door that carries its calls."""

    address: str
    door: str


def tell(data_dir: Path, here: Whereabouts) -> None:
    """Say that this process listens there. A full disk keeps nobody from serving."""
    told = {"pid": os.getpid(), "data_dir": str(data_dir.resolve()), "addresses": {here.door: here.address}}
    with suppress(OSError):
        write_whole(data_dir / LISTENERS_NAME, json.dumps(told).encode(), mode=OWNER_ONLY)


def forget(data_dir: Path) -> None:
    """Say no more where this process listens, by which token it knows its owner, nor how its couriers do."""
    for name in (LISTENERS_NAME, TOKEN_NAME, COURIERS_NAME, FOLLOWER_NAME):
        with suppress(OSError):
            (data_dir / name).unlink(missing_ok=True)


def node_address(settings: Settings) -> str:
    """Return where to find the node: as it was set, or where the data directory's node has it, or the default."""
    if "listen" in settings.model_fields_set and not settings.listen.endswith(":0"):  # which is any free port
        return settings.listen
    found = whereabouts_of(settings.data_dir)
    host, colon, port = (settings.listen if found is None else found.address).rpartition(":")
    return f"{LOOPBACK.get(host, host)}{colon}{port}"


def whereabouts_of(data_dir: Path) -> Whereabouts | None:
    """Return where the node of a data directory listens, as it said itself; None if there is none."""
    told = told_by(data_dir)
    try:
        ((door, address),) = told["addresses"].items()
    except (AttributeError, ValueError, KeyError, TypeError):
        return None
    return Whereabouts(str(address), door) if is_here(told, data_dir) else None


def is_here(told: Mapping[str, Any], data_dir: Path) -> bool:
    """Return True if what a node said of itself is of this directory, and it runs."""
    try:
        return bool(told["data_dir"] == str(data_dir.resolve()) and _is_running(told["pid"]))
    except (OSError, OverflowError, KeyError, TypeError):
        return False


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's
    return True
