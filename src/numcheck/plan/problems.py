"""Problems of a registry file's rows, and their descriptions.

Descriptions never repeat a cell: the numbers of a wrong file must not reach a log.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from numcheck.errors import BadRegistryFile

NAMED_PROBLEMS_MAX = 3


class Reason(StrEnum):
    """Why a row is bad."""

    CUT_ROW = "CUT_ROW"
    """It is not whole: columns, digits of its tax id or the end of the file are missing."""
    IMPOSSIBLE_CODE = "IMPOSSIBLE_CODE"
    """The country has no such code."""
    IMPOSSIBLE_RANGE = "IMPOSSIBLE_RANGE"
    """It ends before it starts, or its ends are not numbers of a subscriber."""
    WRONG_CAPACITY = "WRONG_CAPACITY"
    """Its capacity is not what its ends make."""
    DUPLICATE = "DUPLICATE"
    """An earlier row has the same range."""
    OVERLAP = "OVERLAP"
    """An earlier row has some of its numbers."""
    NO_OPERATOR = "NO_OPERATOR"
    """It names no operator and no tax id."""
    BAD_TEXT = "BAD_TEXT"
    """A name or a place holds what text does not: control characters, a formula, characters that were lost."""
    EXCHANGED = "EXCHANGED"
    """A place stands where the operator is due, or an operator where the place is."""


class Problem(NamedTuple):
    """A row that cannot be taken; line numbers start at 1 and count every line of the file."""

    source: str
    line_number: int
    reason: Reason
    detail: str

    def __str__(self) -> str:
        return f"{self.source}:{self.line_number}: {self.detail}"


class Note(NamedTuple):
    """A line that was passed over for a reason and is not bad."""

    source: str
    line_number: int
    detail: str

    def __str__(self) -> str:
        return f"{self.source}:{self.line_number}: {self.detail}"


class RefusedRegistryFile(BadRegistryFile):
    """Rows of a registry file cannot be trusted; `problems` holds every one, in the order of files and lines."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        named = [str(problem) for problem in problems[:NAMED_PROBLEMS_MAX]]
        if len(problems) > len(named):
            named.append(f"and {len(problems) - len(named):,} more")
        rows = "1 bad row" if len(problems) == 1 else f"{len(problems):,} bad rows"
        super().__init__(f"{rows}: {'; '.join(named)}")
        self.problems = tuple(problems)


class BadRow(Exception):
    """A row is refused; whoever knows its file and line makes a Problem of it."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail
