"""Takes the listening socket that a service manager hands over, by the protocol of sd_listen_fds(3).

The manager keeps the socket, so connections that come while a node is started anew wait for it and are not refused.
"""

import os
import socket

from numcheck.config import Settings
from numcheck.door.native_door import address_of
from numcheck.door.plain_door import check_address, host_and_port
from numcheck.errors import BadListenAddress

FIRST_FD = 3  # SD_LISTEN_FDS_START
FAMILIES = (socket.AF_INET, socket.AF_INET6)


def listening_for(settings: Settings) -> socket.socket | None:
    """Return the socket that was handed to this process; None if none was, and the one of `listen` can be opened.

    BadListenAddress if it is not one that a node may listen on, or not the only one.
    """
    pid, count = os.environ.pop("LISTEN_PID", ""), os.environ.pop("LISTEN_FDS", "0")  # no child's
    if pid != str(os.getpid()) or count == "0":
        check_address(settings)
        return None
    if count != "1":
        raise BadListenAddress(f"LISTEN_FDS={count}: a node takes one socket")
    try:
        listening = socket.socket(fileno=FIRST_FD)
    except OSError as error:
        raise BadListenAddress(f"descriptor {FIRST_FD}, of LISTEN_FDS: {(error.strerror or '').lower()}") from None
    try:
        _check(listening, settings)
    except BadListenAddress:
        listening.close()
        raise
    listening.set_inheritable(False)
    return listening


def _check(one: socket.socket, settings: Settings) -> None:
    is_stream = one.family in FAMILIES and one.type is socket.SOCK_STREAM
    if not is_stream or not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise BadListenAddress(f"descriptor {FIRST_FD}, of LISTEN_FDS, is no TCP socket that listens")
    host_and_port(address_of(one), anywhere=settings.tls)
