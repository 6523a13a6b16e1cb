"""Who may do what: identities, their roles, and the one table of what each role may call. Rules only, no I/O."""

from numcheck.access.certificates import name_in
from numcheck.access.rules import (
    ANYBODY,
    METHODS,
    Identity,
    Role,
    check_call,
    check_clearing_house,
    check_identity,
    check_operator,
    check_own_service,
    local_user,
)

__all__ = [
    "ANYBODY",
    "METHODS",
    "Identity",
    "Role",
    "check_call",
    "check_clearing_house",
    "check_identity",
    "check_operator",
    "check_own_service",
    "local_user",
    "name_in",
]
