"""File descriptors: a connection takes one, and a process that has none left can do nothing at all."""

import contextlib
import resource
import sys


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
