"""Every error numcheck raises on purpose, each knowing its stable reason. Imports nothing of numcheck.

`reason` is the UPPER_SNAKE_CASE word that the API carries in `google.rpc.ErrorInfo`, that docs/errors.md
has as a heading, and that a client may switch on. Messages never hold a whole number or an address: they
end up in logs.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import ClassVar, NamedTuple


class OperatorMove(NamedTuple):
    """Count of numbers that would move from one operator to another."""

    old_operator_id: int
    old_name: str
    new_operator_id: int
    new_name: str
    number_count: int


class NumcheckError(Exception):
    """Something was refused or failed for a reason that has a name."""

    reason: ClassVar[str]

    @property
    def metadata(self) -> dict[str, str]:
        """Values that a program needs to go on, by name; they go to the caller alone, never into a log."""
        return {}


class NotANumber(NumcheckError):
    """The text cannot be read as a telephone number at all. `field` is where in a request it stood."""

    reason = "NOT_A_NUMBER"

    def __init__(self, message: str, field: str = "number") -> None:
        super().__init__(message)
        self.field = field


class MalformedMessage(NumcheckError):
    """The request's bytes are not a well-formed protobuf message of its type."""

    reason = "MALFORMED_MESSAGE"


class TooManyNumbers(NumcheckError):
    """The request holds more numbers than this node takes in one call."""

    reason = "TOO_MANY_NUMBERS"

    def __init__(self, number_count: int, numbers_per_call_max: int) -> None:
        super().__init__(f"{number_count:,} numbers in one request; at most {numbers_per_call_max:,} are taken")
        self.number_count = number_count
        self.numbers_per_call_max = numbers_per_call_max


class TooManyNewNumbers(NumcheckError):
    """The caller would learn about more new numbers in a day than its budget allows. Nothing was answered."""

    reason = "TOO_MANY_NEW_NUMBERS"

    def __init__(self, budget: int, left: int, turns_at: datetime, retry_delay_s: float) -> None:
        """`turns_at` is when the next day's budget begins, `retry_delay_s` from now."""
        super().__init__(
            f"the request asks about more new numbers than are left of the day's {budget:,}: {left:,}; "
            f"the next day begins at {turns_at:%Y-%m-%dT%H:%M:%SZ}"
        )
        self.budget, self.left, self.turns_at, self.retry_delay_s = budget, left, turns_at, retry_delay_s

    @property
    def metadata(self) -> dict[str, str]:
        """The budget, what is left of it, and when the next one begins."""
        return {"budget": str(self.budget), "left": str(self.left), "turns_at": f"{self.turns_at:%Y-%m-%dT%H:%M:%SZ}"}


class BadMoments(NumcheckError):
    """The request has neither one moment nor one for each of its numbers."""

    reason = "BAD_MOMENTS"

    def __init__(self, moment_count: int, number_count: int) -> None:
        super().__init__(f"{moment_count:,} moments for {number_count:,} numbers; give one, or one for each number")


class TooManyStreams(NumcheckError):
    """As many streams as this node serves at once are open already."""

    reason = "TOO_MANY_STREAMS"


class TooManyCalls(NumcheckError):
    """The node holds as many calls, running and waiting, as it takes."""

    reason = "TOO_MANY_CALLS"


class MessageTooLarge(NumcheckError):
    """A request is larger than the node takes. Nothing of it was read, and it is too large the next time as well."""

    reason = "MESSAGE_TOO_LARGE"


class MetadataTooLarge(NumcheckError):
    """A call's metadata is larger than the node takes. Nothing was done, and it is too large the next time as well."""

    reason = "METADATA_TOO_LARGE"


class CallRateExceeded(NumcheckError):
    """The caller calls a method more often than the node's settings allow. Nothing was done."""

    reason = "CALL_RATE_EXCEEDED"

    def __init__(self, per_second: float, retry_delay_s: float) -> None:
        super().__init__(f"this node takes {per_second:g} calls of this method a second of a caller")
        self.per_second, self.retry_delay_s = per_second, retry_delay_s

    @property
    def metadata(self) -> dict[str, str]:
        """How many calls a second the node takes."""
        return {"per_second": f"{self.per_second:g}"}


class NodeStopping(NumcheckError):
    """The node stops: it takes no more calls, and ends those that would go on for ever."""

    reason = "NODE_STOPPING"


class UnknownMethod(NumcheckError):
    """This node has no method of that name."""

    reason = "UNKNOWN_METHOD"


class UnknownService(NumcheckError):
    """Health knows no service of that name on this listener."""

    reason = "UNKNOWN_SERVICE"


class IndexNotReady(NumcheckError):
    """No index is mapped yet, so nothing can be answered."""

    reason = "INDEX_NOT_READY"


class IndexBehind(NumcheckError):
    """The call needs an index version that this node has not reached."""

    reason = "INDEX_BEHIND"

    def __init__(self, wanted: int, index_version: int) -> None:
        lost = f"index version {wanted} is of a history that was lost; this node is at {index_version}"
        behind = f"a later index version is asked for; this node is at {index_version}"
        super().__init__(behind if wanted > index_version else lost)
        self.wanted = wanted
        self.index_version = index_version


class IndexMissing(NumcheckError):
    """There is no index in the data directory."""

    reason = "INDEX_MISSING"


class IndexDamaged(NumcheckError):
    """A file of the index is not what was written: it is refused, and rebuilt from the store."""

    reason = "INDEX_DAMAGED"


class UnknownFile(NumcheckError):
    """None of the last editions has a file of that hash, or it has ended."""

    reason = "UNKNOWN_FILE"


class EditionRefused(NumcheckError):
    """An edition, or a file of it, is not what the installation's node signed: nothing of it is used."""

    reason = "EDITION_REFUSED"


class SourceFailed(NumcheckError):
    """A follower's source does not answer, is cut off, or tells nothing new."""

    reason = "SOURCE_FAILED"


class BadRegistryFile(NumcheckError):
    """A registry file cannot be trusted; nothing of it was taken."""

    reason = "BAD_REGISTRY_FILE"


class BadPortingsFile(NumcheckError):
    """A file of the clearing house cannot be trusted; nothing of it was pushed."""

    reason = "BAD_PORTINGS_FILE"


class BadNumbersFile(NumcheckError):
    """A file of numbers cannot be read for certain, or is not whole; nothing of it was pushed."""

    reason = "BAD_NUMBERS_FILE"


class BadUsersFile(NumcheckError):
    """A file of users to import cannot be read for certain."""

    reason = "BAD_USERS_FILE"


class BadActiveSet(NumcheckError):
    """An active set holds what no active set can: numbers out of any plan's reach, or damaged bytes."""

    reason = "BAD_ACTIVE_SET"


class BadPlan(NumcheckError):
    """A numbering plan that was sent cannot be meant: its header or its rows contradict the rules or each other."""

    reason = "BAD_PLAN"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class PlanShrinks(NumcheckError):
    """An import would end more than a tenth of a series of the plan, and does not say that it means it."""

    reason = "PLAN_SHRINKS"

    def __init__(self, series: str, removed: int, number_count: int) -> None:
        super().__init__(
            f"series {series}xx of the plan would lose {removed:,} of its {number_count:,} numbers, more than a tenth: "
            "the file may be damaged, or older than what is loaded"
        )
        self.series = series
        self.removed = removed
        self.number_count = number_count

    @property
    def metadata(self) -> dict[str, str]:
        """The series, and both counts."""
        return {"series": self.series, "removed_count": str(self.removed), "number_count": str(self.number_count)}


class MovesTooMuch(NumcheckError):
    """A plan or portings would take more than a tenth of their numbers from their operators, without a word that it is
    meant: most of these move to another. `moves` has the largest, as the operators' ids, their names, and how many."""

    reason = "MOVES_TOO_MUCH"

    def __init__(self, what: str, moved: int, removed: int, number_count: int, moves: Sequence[OperatorMove]) -> None:
        ended = f", and {removed:,} would end" if removed else ""
        largest = "; ".join(f"{one.old_name} -> {one.new_name} {one.number_count:,}" for one in moves)
        super().__init__(
            f"of {number_count:,} {what} {moved:,} would move to another operator{ended}, more than a tenth: columns "
            f"may have slipped, or the file is older than what is loaded; the largest moves: {largest}"
        )
        self.moved = moved
        self.removed = removed
        self.number_count = number_count
        self.moves = moves

    @property
    def metadata(self) -> dict[str, str]:
        """The counts, and the largest moves by the operators' ids."""
        largest = (f"{one.old_operator_id}>{one.new_operator_id}:{one.number_count}" for one in self.moves)
        counts = {"moved_count": self.moved, "removed_count": self.removed, "number_count": self.number_count}
        return {**{name: str(count) for name, count in counts.items()}, "largest_moves": ",".join(largest)}


class BadPush(NumcheckError):
    """A push that cannot be meant: its header or its numbers contradict the rules or each other."""

    reason = "BAD_PUSH"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class NotServed(NumcheckError):
    """A push holds numbers that its operator does not serve. `field` is where the first of them stood."""

    reason = "NOT_SERVED"

    def __init__(self, count: int, examples: Sequence[int], field: str = "add") -> None:
        super().__init__(f"{count:,} numbers are not served by the operator; nothing of the push was taken")
        self.count = count
        self.examples = examples
        self.field = field

    @property
    def metadata(self) -> dict[str, str]:
        """The count, and the first of them."""
        return {"not_served_count": str(self.count), "not_served": ",".join(map(str, self.examples))}


class NotPortable(NumcheckError):
    """A push of portings holds numbers that no mobile range of the plan holds. `field` is where the first stood."""

    reason = "NOT_PORTABLE"

    def __init__(self, count: int, examples: Sequence[int], field: str = "ported") -> None:
        super().__init__(f"{count:,} numbers are in no mobile range of the plan; nothing of the push was taken")
        self.count = count
        self.examples = examples
        self.field = field

    @property
    def metadata(self) -> dict[str, str]:
        """The count, and the first of them."""
        return {"not_portable_count": str(self.count), "not_portable": ",".join(map(str, self.examples))}


class RemovesTooMuch(NumcheckError):
    """A push of portings would end more than a tenth of them, and does not say that it means it."""

    reason = "REMOVES_TOO_MUCH"

    def __init__(self, removed: int, number_count: int) -> None:
        super().__init__(f"the push would end {removed:,} of {number_count:,} portings; force it if that is meant")
        self.removed = removed
        self.number_count = number_count

    @property
    def metadata(self) -> dict[str, str]:
        """Both counts."""
        return {"removed_count": str(self.removed), "number_count": str(self.number_count)}


class StaleBase(NumcheckError):
    """A delta starts from another version than the head."""

    reason = "STALE_BASE"

    def __init__(self, base_version: int, head_version: int) -> None:
        super().__init__(f"the delta starts from version {base_version}; the head is {head_version}")
        self.head_version = head_version

    @property
    def metadata(self) -> dict[str, str]:
        """The head."""
        return {"head_version": str(self.head_version)}


class OlderData(NumcheckError):
    """The data of a push or an import is older than the stored data, and the header does not allow that.

    `head` names the stored data, for people; `details` does so for programs.
    """

    reason = "OLDER_DATA"

    def __init__(self, data_time: datetime, head: str, head_data_time: datetime, **details: str) -> None:
        ahead = "which is later" if data_time < head_data_time else "with a higher number in its series"
        super().__init__(
            f"the data is of {data_time.isoformat()}; {head} is of {head_data_time.isoformat()}, {ahead}; "
            "allow older data if that is meant"
        )
        self.head_data_time = head_data_time
        self._details = details

    @property
    def metadata(self) -> dict[str, str]:
        """The head, and the moment at which it was true."""
        return {**self._details, "head_data_time": self.head_data_time.isoformat()}


class ConcurrentImport(NumcheckError):
    """Another call has gone on with the import of this name since this one began."""

    reason = "CONCURRENT_IMPORT"


class ConcurrentPush(NumcheckError):
    """The basis of a push's judgement has changed: another push was applied, or the plan or the portings changed."""

    reason = "CONCURRENT_PUSH"


class UnknownPush(NumcheckError):
    """The operator has no held push with that token."""

    reason = "UNKNOWN_PUSH"


class BadResumeToken(NumcheckError):
    """A feed was asked to go on from a place that it never told."""

    reason = "BAD_RESUME_TOKEN"
    field = "resume_token"


class UnknownOperator(NumcheckError):
    """No operator of this installation has that id, tax id or name."""

    reason = "UNKNOWN_OPERATOR"


class NotAuthenticated(NumcheckError):
    """This installation does not know who calls."""

    reason = "NOT_AUTHENTICATED"


class NotPermitted(NumcheckError):
    """The caller is known and may not do that. `operator_id`: the one whose data they may touch, 0 for the portings."""

    reason = "NOT_PERMITTED"

    def __init__(self, message: str, operator_id: int | None = None) -> None:
        super().__init__(message)
        self.operator_id = operator_id

    @property
    def metadata(self) -> dict[str, str]:
        """The operator that the caller may touch instead."""
        return {} if self.operator_id is None else {"operator_id": str(self.operator_id)}


class BadCaller(NumcheckError):
    """A caller that cannot be one, or that is there already. `field` is where in a request that shows."""

    reason = "BAD_CALLER"

    def __init__(self, message: str, field: str = "caller") -> None:
        super().__init__(message)
        self.field = field


class UnknownCaller(NumcheckError):
    """No caller has that URI, or it is revoked."""

    reason = "UNKNOWN_CALLER"


class BadRegistration(NumcheckError):
    """A field of a request about registrations is missing or cannot be."""

    reason = "BAD_REGISTRATION"

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class NumberNotMobile(NumcheckError):
    """The number is not in a mobile range of the numbering plan: nobody can register with it."""

    reason = "NUMBER_NOT_MOBILE"


class NumberNotAllotted(NumcheckError):
    """The numbering plan allots the number to nobody: nobody can register with it."""

    reason = "NUMBER_NOT_ALLOTTED"


class RegistrationExists(NumcheckError):
    """The service has a registration of that user, and the request is not the one that made it."""

    reason = "REGISTRATION_EXISTS"


class UnknownRegistration(NumcheckError):
    """The service has no registration of that user."""

    reason = "UNKNOWN_REGISTRATION"


class WrongState(NumcheckError):
    """The registration's state does not allow the request."""

    reason = "WRONG_STATE"


class MethodNotAllowed(NumcheckError):
    """The service's policy does not have the method, or this node cannot do it."""

    reason = "METHOD_NOT_ALLOWED"


class BadTestNumber(NumcheckError):
    """A test number is not one that the numbering plan allots to nobody."""

    reason = "BAD_TEST_NUMBER"


class TooManyCodes(NumcheckError):
    """One code more would be over a limit."""

    reason = "TOO_MANY_CODES"

    def __init__(self, limit: str, retry_delay_s: float) -> None:
        """`limit` is the word for the limit, as registrations/codes.py:Limit has it."""
        super().__init__(f"no code is sent now: the limit {limit!r} is reached")
        self.limit, self.retry_delay_s = limit, retry_delay_s

    @property
    def metadata(self) -> dict[str, str]:
        """The limit that was reached."""
        return {"limit": self.limit}


class DeliveryFailed(NumcheckError):
    """A code could not be handed over. `retry_delay_s`: how long the gateway asked to be left alone; 0: not at all."""

    reason = "DELIVERY_FAILED"

    def __init__(self, message: str, retry_delay_s: float = 0.0) -> None:
        super().__init__(message)
        self.retry_delay_s = retry_delay_s


class ProofNotAccepted(NumcheckError):
    """A code or another proof is wrong, or its verification is over: these look the same.

    A caller who knows the verification is told what is left of its tries, and until when it waits.
    """

    reason = "PROOF_NOT_ACCEPTED"

    def __init__(self, tries_left: int | None = None, expires_at: str = "") -> None:
        super().__init__("the proof is not accepted")
        self.tries_left, self.expires_at = tries_left, expires_at

    @property
    def metadata(self) -> dict[str, str]:
        """The tries that are left, and the moment until which the verification waits; nothing if there is none."""
        if self.tries_left is None:
            return {}
        return {"tries_left": str(self.tries_left), "expires_at": self.expires_at}


class EventsAltered(NumcheckError):
    """The chain of events is not what was written."""

    reason = "EVENTS_ALTERED"

    def __init__(self, sequence: int, message: str) -> None:
        super().__init__(message)
        self.sequence = sequence


class BadEventsFile(NumcheckError):
    """A file that should hold events or a signed head cannot be read as one: nothing is said of what it should hold."""

    reason = "BAD_EVENTS_FILE"


class BadBackup(NumcheckError):
    """A back-up cannot be made or restored so: it is none, or not as it was written, or something is in its place."""

    reason = "BAD_BACKUP"


class BadKeys(NumcheckError):
    """The file of keys is missing where it has to be, is not one, or others can read it."""

    reason = "BAD_KEYS"


class CallersRefused(NumcheckError):
    """The callers and agreements in the database are not the set that was written last, and let in nobody."""

    reason = "CALLERS_REFUSED"


class StoreDamaged(NumcheckError):
    """A row of the store is not what was written; it is named and never answered from.

    `registration_id`: of the registration that it is about, in hexadecimal digits; empty if it is about none.
    """

    reason = "STORE_DAMAGED"

    def __init__(self, message: str, *, registration_id: str = "") -> None:
        super().__init__(message)
        self.registration_id = registration_id

    @property
    def metadata(self) -> dict[str, str]:
        """The registration, if it is about one."""
        return {"registration_id": self.registration_id} if self.registration_id else {}


class StoreUnavailable(NumcheckError):
    """The store cannot be read or written now: its database is away, its disk full or failing."""

    reason = "STORE_UNAVAILABLE"
    undone = False
    """Set if the database has undone a transaction, whole, for another one's sake: it may be run again at once."""
    passing = False
    """Set if another transaction was in the way for a moment: nothing is wrong with the store."""
    away = False
    """Set if the store could not be reached at all, for reading or writing."""
    told = False
    """Set if the log has told of it, once for all who meet it."""


class StoreFailed(NumcheckError):
    """The database refuses what it is asked, for a reason that neither passes by itself nor is damage."""

    reason = "STORE_FAILED"


class HistoryLost(NumcheckError):
    """The store lacks changes that were acknowledged: it was restored, or its database failed over to an older one."""

    reason = "HISTORY_LOST"


class LeaseLost(NumcheckError):
    """Another node has the background work by now that this one was about to do. Nothing was done."""

    reason = "LEASE_LOST"


class StoreTooNew(NumcheckError):
    """The store was written by a newer numcheck than this one."""

    reason = "STORE_TOO_NEW"


class StoreMissing(NumcheckError):
    """There is no store in the data directory."""

    reason = "STORE_MISSING"


class RecordTooShort(NumcheckError):
    """The record of withdrawals does not go back to what is asked for."""

    reason = "RECORD_TOO_SHORT"

    def __init__(self, since: datetime | None) -> None:
        begins = (
            "has not begun: no plan was imported" if since is None else f"goes back to {since:%Y-%m-%d %H:%M:%S} UTC"
        )
        super().__init__(f"the record of withdrawals {begins}")


class DataDirInUse(NumcheckError):
    """Another numcheck process has the data directory open for writing."""

    reason = "DATA_DIR_IN_USE"


class DataDirNotEmpty(NumcheckError):
    """The demo fills an empty data directory only, and this one holds something."""

    reason = "DATA_DIR_NOT_EMPTY"


class BadListenAddress(NumcheckError):
    """A listener cannot be opened there: the address is wrong, taken, or would carry plaintext off this machine."""

    reason = "BAD_LISTEN_ADDRESS"


class BadConfiguration(NumcheckError):
    """A setting has a value that it cannot have, or a name that no setting has."""

    reason = "BAD_CONFIGURATION"


class NodeUnreachable(NumcheckError):
    """No node answers at that address, or it ended the call."""

    reason = "NODE_UNREACHABLE"


class OtherInstallation(NumcheckError):
    """The node that answers is of another installation than the data directory that was given."""

    reason = "OTHER_INSTALLATION"


class NodeNotReady(NumcheckError):
    """The node is there and cannot answer this yet: repeating the very call can help."""

    reason = "NODE_NOT_READY"

    def __init__(self, message: str, node_reason: str) -> None:
        super().__init__(message)
        self.node_reason = node_reason  # the node's own: INDEX_NOT_READY, INDEX_BEHIND


class CallRefused(NumcheckError):
    """A node refused a call, in its own words; `refusal` is the reason that it gave, and `retry_delay_s` how long to
    wait before asking again, if it said so. One of the three below is raised."""

    def __init__(
        self,
        message: str,
        refusal: str = "",
        metadata: Mapping[str, str] | None = None,
        retry_delay_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.refusal = refusal
        self.refusal_metadata = dict(metadata or {})
        self.retry_delay_s = retry_delay_s


class CheckRefused(CallRefused):
    """A node refused what it was asked about numbers."""

    reason = "CHECK_REFUSED"


class PushRefused(CallRefused):
    """A node refused a push, or another call of an operator, an administrator or an auditor."""

    reason = "PUSH_REFUSED"


class RegistrationRefused(CallRefused):
    """A node refused what it was asked about registrations."""

    reason = "REGISTRATION_REFUSED"


class PushHeld(NumcheckError):
    """A push waits for its operator's confirmation, as it would remove much."""

    reason = "PUSH_HELD"
