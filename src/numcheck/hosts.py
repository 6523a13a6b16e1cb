"""Recognize this machine among hosts: traffic to it never goes by a proxy, and is safe in plaintext."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Return True if a host, a name or an address with or without brackets, is this machine's own by what it is
    called."""
    name = host.strip("[]").lower()
    if name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def is_own_name(host: str) -> bool:
    """Return True if a request's Host, with or without a port, is `localhost` or an address of loopback."""
    name, _, port = host.rpartition(":")
    return is_loopback(name if name and port.isdecimal() else host)


def goes_to_loopback(target: str) -> bool:
    """Return True if a gRPC target is on this machine: host:port, dns:///host:port, ipv4:..., or a socket's path."""
    scheme, colon, rest = target.partition(":")
    if colon and scheme in ("unix", "unix-abstract"):
        return True
    if colon and scheme in ("dns", "ipv4", "ipv6"):
        target = rest.rpartition("/")[2]
    host, _, port = target.rpartition(":")
    return is_loopback(host if host and port.isdigit() else target)
