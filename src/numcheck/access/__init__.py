"""Callers, their roles, and the one table of what each role may call. Rules only, no I/O."""

from numcheck.access.certificates import name_in
from numcheck.access.rules import (
    ANYBODY,
    LOOPBACK_TOKEN,
    METHODS,
    RATED,
    About,
    Caller,
    Method,
    Role,
    Runs,
    check_call,
    check_caller,
    check_clearing_house,
    check_operator,
    check_own_service,
    local_user,
)

__all__ = [
    "ANYBODY",
    "LOOPBACK_TOKEN",
    "METHODS",
    "RATED",
    "About",
    "Caller",
    "Method",
    "Role",
    "Runs",
    "check_call",
    "check_caller",
    "check_clearing_house",
    "check_operator",
    "check_own_service",
    "local_user",
    "name_in",
]
