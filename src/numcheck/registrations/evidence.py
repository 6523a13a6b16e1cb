"""The evidence of a verification, an entry for each step that answered, kept with the registration and in its events.

A registration keeps the operator's entry apart from those of the user's steps: bulk verification renews the operator's
of many registrations at once, and leaves what their users have proved as it is.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from numcheck.registrations.encoding import decoded, encoded
from numcheck.registrations.policy import Method
from numcheck.status import NumberStatus


class Evidence(NamedTuple):
    """By which method the answer was got, when, and from what. 0 and the empty text stand for what there is not.

    Moments are microseconds since 1970. The assertion_id, which leads to a person, is kept in the sealed record alone.
    """

    method: Method
    verified_at_us: int
    operator_id: int = 0
    data_version: int = 0
    data_time_us: int = 0
    index_version: int = 0
    answer: int = 0
    synthetic: bool = False
    authority: str = ""
    assertion_id: str = ""
    act_time_us: int = 0
    live: bool = False
    asked_at_us: int = 0
    imported: bool = False

    @property
    def confirmed_by(self) -> int | None:
        """The operator whose data says that the number is in service; None if it rests on something else."""
        return self.operator_id or None if self.says_active else None

    @property
    def says_active(self) -> bool:
        """True if it is an operator's yes, or stands in for one."""
        return self.method is Method.OPERATOR and self.answer == NumberStatus.ACTIVE

    def fields(self) -> dict[str, Any]:
        """Return what there is, by name: what the store keeps with the registration, and in an event for good."""
        found = {name: value for name, value in zip(FIELDS, self, strict=True) if value}
        found.pop("assertion_id", None)
        return found


FIELDS = Evidence._fields


def to_json(evidence: Iterable[Evidence]) -> str:
    """Return entries as text."""
    return encoded([one.fields() for one in evidence]).decode()


def from_json(text: str | None) -> tuple[Evidence, ...]:
    """Return the entries that `to_json` wrote; none of None."""
    return tuple(Evidence(**{**fields, "method": Method(fields["method"])}) for fields in fields_from_json(text))


def fields_from_json(text: str | None) -> Sequence[Mapping[str, Any]]:
    """Return the fields of each entry that `to_json` wrote; none of None."""
    return () if text is None else decoded(text)


def columns_of(evidence: Iterable[Evidence]) -> dict[str, Any]:
    """Return what a registration's row keeps of the entries of an answer."""
    evidence = tuple(evidence)
    answers = [one for one in evidence if one.method is Method.OPERATOR]
    proofs = [one for one in evidence if one.method is not Method.OPERATOR]
    return {
        "evidence": to_json(answers) if answers else None,
        "confirmed_by": answers[-1].confirmed_by if answers else None,
        "proofs": to_json(proofs) if proofs else None,
    }
