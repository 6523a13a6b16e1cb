"""What the operating system lets this process have: descriptors, of which a connection takes one, and address space."""

import contextlib
import resource
import sys

from numcheck.errors import BadConfiguration

# Threads reserve what they never use: a node of two cores starts with 1.2 GB, of which it uses 0.1, and takes more as
# calls come. Where that is refused, gRPC ends the process with no word.
ADDRESS_SPACE_MIN = 2_147_483_648


def prepare_process() -> None:
    """Have as many descriptors as may be; BadConfiguration if there is too little address space to serve."""
    _check_address_space()
    raise_limit()


def _check_address_space() -> None:
    """Raise BadConfiguration if a limit leaves this process too little address space to serve."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY and soft < ADDRESS_SPACE_MIN:
        given, needed = soft // 2**20, ADDRESS_SPACE_MIN // 2**20
        raise BadConfiguration(f"the limit of address space (ulimit -v) is {given:,} MiB; a node needs {needed:,} MiB")


def raise_limit() -> None:
    """Let this process have as many descriptors as it may: the usual soft limit of 1,024 is for those that select()."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # macOS says "unlimited" and refuses it.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def share_for_connections(*, loops: int) -> int:
    """How many connections a loop may have, so that half of the descriptors are left for everything else."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if soft == resource.RLIM_INFINITY else max(soft // 2 // loops, 1)
