"""Says which user of this machine holds the other end of a connection over loopback.

Linux alone knows: it is asked by sock_diag(7) for the one socket, or, where a kernel has no such module, by reading
/proc/net. Asking takes some microseconds, so that it is asked of each connection, or each call, anew: a port may be
another user's a moment later.
"""

import socket
import struct
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

KNOWS_USERS = sys.platform.startswith("linux")

Address = tuple[str, int]

# linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h
NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST = 4, 20, 1
ALL_STATES, NO_COOKIE = 0xFFFF_FFFF, 0xFFFF_FFFF
HEADER = struct.Struct("=IHHII")
REQUEST = struct.Struct("=BBBxI")
UID_START = HEADER.size + 64  # in an inet_diag_msg: behind four bytes, the socket's 48, its timer and two queues
TABLES = {socket.AF_INET: ("/proc/net/tcp", "/proc/net/tcp6"), socket.AF_INET6: ("/proc/net/tcp6",)}
MAPPED = b"\0" * 10 + b"\xff\xff"


def user_of(peer: Address, own: Address) -> int | None:
    """Return the id of the user who holds the socket at `peer` that is connected to `own`; None if nobody knows."""
    if not KNOWS_USERS:
        return None
    return _by_sock_diag(peer, own) if _has_sock_diag() else _by_table(peer, own)


def user_of_socket(descriptor: int) -> int | None:
    """Return the same for a connected socket of this process."""
    connected = socket.socket(fileno=descriptor)
    try:
        return user_of(connected.getpeername()[:2], connected.getsockname()[:2])
    except OSError:
        return None  # the peer has gone
    finally:
        connected.detach()


def user_of_grpc_peer(peer: str, listener: str) -> int | None:
    """Return the same for a peer as grpcio names it, of a listener at host:port."""
    kind, _, rest = unquote(peer).partition(":")
    host, _, port = rest.rpartition(":")
    own_host, _, own_port = listener.rpartition(":")
    if kind not in ("ipv4", "ipv6") or not port.isdecimal():
        return None
    if own_host == "localhost":
        own_host = "127.0.0.1" if kind == "ipv4" else "::1"
    return user_of((host.strip("[]"), int(port)), (own_host.strip("[]"), int(own_port)))


@cache
def _has_sock_diag() -> bool:
    """Ask about a socket that is there: of one that is not, a kernel without the module says the same."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname()) as client,
    ):
        try:
            return _by_sock_diag(client.getsockname(), client.getpeername()) is not None
        except OSError:
            return False


def _by_sock_diag(peer: Address, own: Address) -> int | None:
    family = _family(peer)
    asked = REQUEST.pack(family, socket.IPPROTO_TCP, 0, ALL_STATES) + _identity(family, peer, own)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(1)
        kernel.send(HEADER.pack(HEADER.size + len(asked), SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST, 1, 0) + asked)
        answer = kernel.recv(4_096)
    if HEADER.unpack_from(answer)[1] != SOCK_DIAG_BY_FAMILY:
        return None
    uid: int = struct.unpack_from("=I", answer, UID_START)[0]
    return uid


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET


def _identity(family: socket.AddressFamily, peer: Address, own: Address) -> bytes:
    """The socket as an inet_diag_sockid names it."""
    hosts = b"".join(socket.inet_pton(family, host).ljust(16, b"\0") for host, _ in (peer, own))
    return struct.pack("!HH", peer[1], own[1]) + hosts + struct.pack("=III", 0, NO_COOKIE, NO_COOKIE)


def _by_table(peer: Address, own: Address) -> int | None:
    wanted = _in_full(peer), _in_full(own)
    for path in TABLES[_family(peer)]:
        for local, remote, uid in _rows(Path(path)):
            if (local, remote) == wanted:
                return uid
    return None


def _in_full(address: Address) -> tuple[bytes, int]:
    packed = socket.inet_pton(_family(address), address[0])
    return packed if len(packed) == 16 else MAPPED + packed, address[1]


def _rows(table: Path) -> Iterator[tuple[tuple[bytes, int], tuple[bytes, int], int]]:
    """Each socket of a table of /proc/net: its own address, the other end's, and whose it is."""
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return
    for line in lines:
        words = line.split()
        yield _address(words[1]), _address(words[2]), int(words[7])


def _address(text: str) -> tuple[bytes, int]:
    """The address that is written as words of the machine's own order of bytes."""
    host, port = text.split(":")
    words = bytes.fromhex(host)
    packed = b"".join(
        int.from_bytes(words[i : i + 4], "big").to_bytes(4, sys.byteorder) for i in range(0, len(words), 4)
    )
    return packed if len(packed) == 16 else MAPPED + packed, int(port, 16)
