"""Finds which user of this machine owns the other end of a connection over loopback.

Only Linux can tell: by sock_diag(7) about the one socket or, where a kernel lacks that module, by /proc/net. The answer
takes some microseconds, and is sought anew for each connection, or each call: a moment later the port may belong to
another user.

The kernel gives root as the owner of a socket that no process has open any more (closed, or in TIME_WAIT), whoever
opened it. Such a socket has no inode; here it belongs to nobody.
"""

import socket
import struct
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

IS_LINUX = sys.platform.startswith("linux")

Address = tuple[str, int]

# linux/netlink.h, linux/sock_diag.h, linux/inet_diag.h
NETLINK_SOCK_DIAG, SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST = 4, 20, 1
ALL_STATES, NO_COOKIE = 0xFFFF_FFFF, 0xFFFF_FFFF
HEADER = struct.Struct("=IHHII")
REQUEST = struct.Struct("=BBBxI")
PORTS = struct.Struct("!HH")
PORTS_START = HEADER.size + 4  # in an inet_diag_msg: behind its family, its state and its timer's two bytes
OWNER_START = PORTS_START + 60  # behind the socket's 48 bytes, its timer's moment and its two queues
OWNER = struct.Struct("=II")  # uid, inode
TABLES = {socket.AF_INET: ("/proc/net/tcp", "/proc/net/tcp6"), socket.AF_INET6: ("/proc/net/tcp6",)}
MAPPED = b"\0" * 10 + b"\xff\xff"


def knows_users() -> bool:
    """Return True if this system can tell who owns a connection."""
    return IS_LINUX and (_tells(_by_sock_diag) or _tells(_by_table))


def user_of(peer: Address, own: Address) -> int | None:
    """Return the id of the user who owns the socket at `peer` that is connected to `own`; None if that is unknown."""
    if not knows_users():
        return None
    return _by_sock_diag(peer, own) if _tells(_by_sock_diag) else _by_table(peer, own)


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
def _tells(ask: Callable[[Address, Address], int | None]) -> bool:
    """Return True if `ask` finds the owner of a socket of our own, which is there for certain."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        socket.create_connection(listening.getsockname()) as client,
    ):
        try:
            return ask(client.getsockname(), client.getpeername()) is not None
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
    # If there is no such socket, the kernel answers about one that listens at `peer`.
    if PORTS.unpack_from(answer, PORTS_START) != (peer[1], own[1]):
        return None
    uid, inode = OWNER.unpack_from(answer, OWNER_START)
    return int(uid) if inode else None


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address[0] else socket.AF_INET


def _identity(family: socket.AddressFamily, peer: Address, own: Address) -> bytes:
    """Return the socket's inet_diag_sockid."""
    hosts = b"".join(socket.inet_pton(family, host).ljust(16, b"\0") for host, _ in (peer, own))
    return PORTS.pack(peer[1], own[1]) + hosts + struct.pack("=III", 0, NO_COOKIE, NO_COOKIE)


def _by_table(peer: Address, own: Address) -> int | None:
    wanted = _in_full(peer), _in_full(own)
    for path in TABLES[_family(peer)]:
        for local, remote, uid, inode in _rows(Path(path)):
            if (local, remote) == wanted and inode:
                return uid
    return None


def _in_full(address: Address) -> tuple[bytes, int]:
    packed = socket.inet_pton(_family(address), address[0])
    return packed if len(packed) == 16 else MAPPED + packed, address[1]


def _rows(table: Path) -> Iterator[tuple[tuple[bytes, int], tuple[bytes, int], int, int]]:
    """Yield each socket of a table of /proc/net: its own address, the other end's, its owner's id and its inode."""
    try:
        lines = table.read_text().splitlines()[1:]
    except OSError:
        return
    for line in lines:
        words = line.split()
        yield _address(words[1]), _address(words[2]), int(words[7]), int(words[9])


def _address(text: str) -> tuple[bytes, int]:
    """Read an address, which /proc/net writes as 32-bit words in the machine's own byte order."""
    host, port = text.split(":")
    words = bytes.fromhex(host)
    packed = b"".join(
        int.from_bytes(words[i : i + 4], "big").to_bytes(4, sys.byteorder) for i in range(0, len(words), 4)
    )
    return packed if len(packed) == 16 else MAPPED + packed, int(port, 16)
