"""Limits that the system sets this process: descriptors, of which each connection takes one, and address space."""

import contextlib
import resource
import sys

from numcheck.errors import BadConfiguration

# Threads reserve what they never use: a node of two cores starts with 1.2 GB, of which it uses 0.1, and reserves more
# as calls come. If the system refuses that, gRPC ends the process without a message.
ADDRESS_SPACE_MIN = 2_147_483_648


def prepare_process() -> None:
    """Raise the limit of descriptors; BadConfiguration if there is too little address space to serve."""
    _check_address_space()
    raise_limit()


def _check_address_space() -> None:
    """Raise BadConfiguration if a limit leaves this process too little address space to serve."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY and soft < ADDRESS_SPACE_MIN:
        given, needed = soft // 2**20, ADDRESS_SPACE_MIN // 2**20
        raise BadConfiguration(f"the limit of address space (ulimit -v) is {given:,} MiB; a node needs {needed:,} MiB")


def raise_limit() -> None:
    """Raise the limit of descriptors as far as it goes: the usual 1,024 is there for programs that call select()."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS says "unlimited" and refuses it.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def share_for_connections(*, loops: int) -> int:
    """Return how many connections a loop may have: half of the descriptors are left for everything else."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(soft // 2 // loops, 1)
