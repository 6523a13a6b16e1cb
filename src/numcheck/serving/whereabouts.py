"""Where the node of a data directory listens, for commands that are given the directory: its ports may be any.

The file is a hint: whoever reads it connects and sees. It goes with the node that wrote it; what a killed one left, or
what was copied with the directory, says nothing.
"""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from numcheck.config import Settings
from numcheck.nearby import LISTENERS_NAME, TOKEN_NAME, told_by
from numcheck.output import OWNER_ONLY, write_whole

LOOPBACK = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # who listens on every address is reached on these


def tell(data_dir: Path, addresses: Mapping[str, str]) -> None:
    """Say that this process listens there, by listener. A full disk keeps nobody from serving."""
    told = {"pid": os.getpid(), "data_dir": str(data_dir.resolve()), "addresses": dict(addresses)}
    with suppress(OSError):
        write_whole(data_dir / LISTENERS_NAME, json.dumps(told).encode(), mode=OWNER_ONLY)


def forget(data_dir: Path) -> None:
    """Say no more where this process listens, nor by which token it knows its owner."""
    for name in (LISTENERS_NAME, TOKEN_NAME):
        with suppress(OSError):
            (data_dir / name).unlink(missing_ok=True)


def api_address(settings: Settings) -> str:
    """Return where to find the API listener: as it was set, or where the data directory's node has it, or the
    default."""
    return _address(settings, "api_listen", "API listener")


def native_address(settings: Settings) -> str:
    """Return the same of the native listener."""
    return _address(settings, "check_listen", "native listener")


def _address(settings: Settings, setting: str, listener: str) -> str:
    default: str = getattr(settings, setting)
    if setting in settings.model_fields_set and not default.endswith(":0"):  # which is any free port
        return default
    host, colon, port = listeners_of(settings.data_dir).get(listener, default).rpartition(":")
    return f"{LOOPBACK.get(host, host)}{colon}{port}"


def listeners_of(data_dir: Path) -> dict[str, str]:
    """Return where the node of a data directory listens, by listener, as it said itself; empty if there is none."""
    told = told_by(data_dir)
    try:
        here, addresses = told["data_dir"] == str(data_dir.resolve()), dict(told["addresses"])
        return addresses if here and _is_running(told["pid"]) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # somebody else's
    return True
