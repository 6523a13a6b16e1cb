"""Finds the node of a data directory on this machine: where it listens, and the token by which it knows its owner.

A plaintext node admits every user who could read its data directory. If the system does not tell the owner of a
connection, the node makes a token, in a file that only those users can read. Clients send it to the node's recorded
addresses, and to no others: a program that listens elsewhere, perhaps for another user, does not learn it.
"""

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from numcheck.plain_files import open_plain

LISTENERS_NAME = "listeners.json"
COURIERS_NAME = "couriers.json"
FOLLOWER_NAME = "follower.json"
TOKEN_NAME = "loopback.token"
SIZE_MAX = 65_536


def default_data_dir() -> Path:
    """Return the data directory of a process that was told of none."""
    return Path(os.environ.get("NUMCHECK_DATA_DIR") or "var")


def told_by(data_dir: Path, name: str = LISTENERS_NAME) -> dict[str, Any]:
    """Return what the node of a data directory says of itself; nothing if it says nothing that can be read."""
    with suppress(OSError, ValueError):
        told = json.loads(_content(data_dir / name))
        if isinstance(told, dict):
            return told
    return {}


def token_for(target: str, data_dir: Path) -> str | None:
    """Return the token for the node at `target`, host:port; None if the data directory has none for that address."""
    with suppress(OSError, ValueError):
        token = _content(data_dir / TOKEN_NAME).decode("ascii")
        addresses = told_by(data_dir).get("addresses")
        if isinstance(addresses, dict) and target in addresses.values():
            return token
    return None


def _content(path: Path) -> bytes:
    """Return what a small file holds; OSError if it is none."""
    with open_plain(path) as file:
        return file.read(SIZE_MAX)
