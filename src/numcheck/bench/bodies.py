"""A request of a method for other load generators: they send one again and again."""

from typing import Any

from numcheck.bench.generator import Target
from numcheck.bench.workloads import CHECK_NUMBERS, WORKLOADS, World, checks, short
from numcheck.errors import BadConfiguration

NOBODY = "user-1"
EXAMPLES = (
    "CheckNumbers",
    "CheckNumber",
    "CheckRecycled",
    "GetOperatorState",
    "ListHeldPushes",
    "Register",
    "GetRegistration",
    "ListRegistrations",
    "SummarizeRegistrations",
    "RefreshRegistration",
    "ChangeNumber",
    "ListCallers",
    "GetHead",
)
"""Methods that one request can be made of without asking a node."""


def example_request(method: str, numbers: int) -> tuple[str, Any]:
    """Return the path of a method, by its short name, and a request of it; BadConfiguration if it needs a node that was
    prepared, or is a stream."""
    world = World(Target(""), [], [1], users=[NOBODY])
    world.active = sorted(set(world.random_numbers(1_000)))
    path = next((path for path in WORKLOADS if short(path) == method), None)
    if path == CHECK_NUMBERS:
        return path, checks(world, 1, numbers)[0]
    if path is None or short(path) not in EXAMPLES:
        raise BadConfiguration(f"there is no body of {method}; there is one of {', '.join(EXAMPLES)}")
    return path, WORKLOADS[path].requests(world, 1)[0]
