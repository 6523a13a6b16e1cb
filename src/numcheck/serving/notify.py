"""Tells the service manager that started a node about it, by the protocol of sd_notify(3): a datagram to the socket
that the environment names. Without such a socket nothing is told.
"""

import os
import socket
from contextlib import suppress

from numcheck.worker import Worker

READY, STOPPING, ALIVE = "READY=1", "STOPPING=1", "WATCHDOG=1"


def notify(state: str) -> None:
    """Tell the service manager, if there is one that listens."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as one:
        # @ stands for the NUL of a name that is in no directory.
        one.sendto(state.encode(), "\0" + address[1:] if address[0] == "@" else address)


def watchdog() -> Worker | None:
    """Return what tells that this process is alive, twice in each interval that the manager waits; None if it does not
    wait for it. It runs in Python, so that a process whose Python stands still is started anew."""
    interval_us = os.environ.get("WATCHDOG_USEC", "")
    if not interval_us.isdecimal() or os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None

    def tell_alive() -> float:
        notify(ALIVE)
        return int(interval_us) / 2 / 1_000_000

    return Worker("watchdog", tell_alive, "the service manager cannot be told")
