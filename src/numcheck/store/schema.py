"""The store's tables. Moments are microseconds since 1970 in UTC, as integers: every engine keeps those exactly."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    text,
)

metadata = MetaData()


class Bytes(LargeBinary):
    """Bytes that go to the driver as they are: both take them, and a wrapper for each is a fifth of a bulk write."""

    def bind_processor(self, dialect: Dialect) -> None:
        """None: nothing is done to them."""


installation = Table(
    "installation",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True),
    # Raised in the transaction that commits a plan or an active set; what the API calls index_version.
    Column("revision", BigInteger, nullable=False),
    # Withdrawals up to this revision are not kept any more.
    Column("withdrawals_dropped", BigInteger, nullable=False, server_default="0"),
    # The record of withdrawals goes back to it; null before the first plan.
    Column("recorded_since_us", BigInteger),
    # Made with the store, 32 hexadecimal digits: an index says whose revisions its versions are.
    Column("installation_id", String, nullable=False),
    # Raised whenever revisions may have been lost; and the database server of the last change, empty for a file.
    Column("epoch", BigInteger, nullable=False, server_default="0"),
    Column("server", String, nullable=False, server_default=""),
    # Tells the key of tokens and callers that the store is used with; null before the first use.
    Column("token_key_check", LargeBinary),
)

# The newest revisions, each with what tells it from another of the same number: see history.py.
revisions = Table(
    "revisions",
    metadata,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("mark", LargeBinary, nullable=False),
)

# Revisions that are nobody's: they were acknowledged and then lost, as by a failover to a standby without them, or may
# have been, unseen, before another epoch began.
lost_revisions = Table(
    "lost_revisions",
    metadata,
    Column("first_revision", BigInteger, nullable=False),
    Column("last_revision", BigInteger, primary_key=True, autoincrement=False),
    Column("noticed_at_us", BigInteger),  # null: nobody knows of any that was acknowledged
    # JSON: operator id -> [version before, version found]; of what nobody knows, both are what was left.
    Column("operators", String, nullable=False),
)

operators = Table(
    "operators",
    metadata,
    Column("operator_id", Integer, primary_key=True, autoincrement=True),
    Column("calling_code", Integer, nullable=False),
    Column("tax_id", String, unique=True),
    Column("display_name", String, nullable=False),
)

operator_names = Table(
    "operator_names",
    metadata,
    Column("folded_name", String, primary_key=True),
    Column("operator_id", Integer, ForeignKey("operators.operator_id"), primary_key=True),
)

# The regulator publishes its registry in series, by the first digit of the code: an import replaces whole series.
plan_series = Table(
    "plan_series",
    metadata,
    Column("calling_code", Integer, primary_key=True),
    Column("series", String, primary_key=True),
    Column("source", String, nullable=False),
    Column("data_time_us", BigInteger),  # when its rows were true; null if nobody said it
    Column("imported_at_us", BigInteger, nullable=False),
    Column("range_count", Integer, nullable=False),
    Column("number_count", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),  # that replaced it last
    Column("checksum", LargeBinary, nullable=False),  # of its ranges
    Column("row_checksum", LargeBinary, nullable=False),  # of all other columns
)

ranges = Table(
    "ranges",
    metadata,
    Column("first_number", BigInteger, primary_key=True),
    Column("last_number", BigInteger, nullable=False),
    Column("operator_id", Integer, ForeignKey("operators.operator_id"), nullable=False),
    Column("mobile", Boolean, nullable=False),
    Column("region", String, nullable=False),
)

# The newest version of what is pushed as one: an operator's active set, or all portings (operator_id 0).
heads = Table(
    "heads",
    metadata,
    Column("kind", Integer, primary_key=True, autoincrement=False),
    Column("operator_id", Integer, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),  # in which the version was stored
    Column("data_time_us", BigInteger, nullable=False),
    Column("since_us", BigInteger, nullable=False),  # when the first of the versions that it follows was stored
    Column("stored_at_us", BigInteger, nullable=False),
    Column("number_count", BigInteger, nullable=False),
    Column("checksum", LargeBinary, nullable=False),  # of its blocks' digests: see blocks.py
    Column("digest", LargeBinary),  # of this version; null until somebody asks for it
    Column("synthetic", Boolean, nullable=False),
    Column("sequences", String, nullable=False),  # JSON; of the portings: the highest number applied of each series
    Column("row_checksum", LargeBinary, nullable=False),  # of all other columns
)

# The active numbers of an operator, or those that are ported to it: a row for each block that holds any, or held any.
blocks = Table(
    "blocks",
    metadata,
    Column("kind", Integer, primary_key=True, autoincrement=False),
    Column("operator_id", Integer, ForeignKey("operators.operator_id"), primary_key=True, autoincrement=False),
    Column("block", BigInteger, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False),  # that changed it last
    Column("number_count", Integer, nullable=False),
    Column("checksum", LargeBinary, nullable=False),  # of all of the row, compared before anything parses the bitmap
    Column("digest", LargeBinary, nullable=False),  # of the same, cryptographic: it gives its set its checksum
    Column("bitmap", LargeBinary, nullable=False),  # Roaring, portable format: places in the block's chunk
    Index("blocks_by_place", "block"),
    Index("blocks_by_revision", "revision"),
)

pushes = Table(
    "pushes",
    metadata,
    Column("push_key", Integer, primary_key=True, autoincrement=True),
    Column("kind", Integer, nullable=False),
    Column("operator_id", Integer, nullable=False),
    Column("push_id", String),  # the caller's; null if it gave none
    Column("base_version", BigInteger, nullable=False),
    Column("plan_revision", BigInteger, nullable=False),  # that it was judged by, as it was by the
    Column("portings_version", BigInteger, nullable=False),  # portings of this version
    Column("version", BigInteger),  # that the push made; null while it is held
    Column("revision", BigInteger),  # that shows it; null while it is held
    Column("snapshot", Boolean, nullable=False),
    Column("data_time_us", BigInteger, nullable=False),
    Column("received_at_us", BigInteger, nullable=False),
    Column("counts", String, nullable=False),  # PushCounts as JSON: what the answer says
    Column("token", String),  # that confirms it; null if it never was held
    Column("held_checksum", LargeBinary),  # of those of its held numbers; null if it never was held
    Column("row_checksum", LargeBinary, nullable=False),  # of all other columns but the key
    UniqueConstraint("kind", "operator_id", "push_id"),
    UniqueConstraint("kind", "operator_id", "version"),
)

# Contents of held pushes, by chunk: judged anew when confirmed; removed once confirmed, or no longer confirmable.
held_numbers = Table(
    "held_numbers",
    metadata,
    Column("push_key", Integer, ForeignKey("pushes.push_key"), primary_key=True),
    Column("chunk", BigInteger, primary_key=True, autoincrement=False),
    Column("checksum", LargeBinary, nullable=False),  # of the bitmaps' bytes, compared before anything parses them
    Column("added", LargeBinary, nullable=False),  # Roaring, portable format
    Column("removed", LargeBinary, nullable=False),
)

WAITING = text("next_place IS NOT NULL")

# Numbers that were taken from their operator, by the transaction that took them: what is registered on them is revoked.
withdrawals = Table(
    "withdrawals",
    metadata,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("cause", String, primary_key=True),
    Column("chunk", BigInteger, primary_key=True, autoincrement=False),
    Column("withdrawn_at_us", BigInteger, nullable=False),
    Column("bulk", Boolean, nullable=False),  # its change took so many that those of others go first
    Column("next_place", Integer),  # the first that is not done; null: all are
    Column("checksum", LargeBinary, nullable=False),  # of what the transaction wrote
    Column("places", LargeBinary, nullable=False),  # Roaring, portable format
    Index("withdrawals_by_chunk", "chunk", "revision"),
    Index("withdrawals_waiting", "bulk", "revision", "cause", "chunk", sqlite_where=WAITING, postgresql_where=WAITING),
)

# The record that CheckRecycled answers from: numbers that somebody else may have by now. Those of a day are joined
# after a while; none is older than the record goes back.
recorded_withdrawals = Table(
    "recorded_withdrawals",
    metadata,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),  # the newest whose numbers it has
    Column("cause", String, primary_key=True),
    Column("chunk", BigInteger, primary_key=True, autoincrement=False),
    Column("at_us", BigInteger, nullable=False),  # the newest moment at which any of them was withdrawn
    Column("number_count", Integer, nullable=False),
    Column("checksum", LargeBinary, nullable=False),  # of all of the row, cryptographic: the events bind it
    Column("places", LargeBinary, nullable=False),  # Roaring, portable format
    Index("recorded_withdrawals_by_chunk", "chunk", "revision"),
    Index("recorded_withdrawals_by_time", "at_us", "cause", "chunk"),
)

# Callers. A URI stays for ever, so that it never comes to mean another caller.
callers = Table(
    "callers",
    metadata,
    Column("uri", String, primary_key=True),
    Column("role", String, nullable=False),
    Column("operator_id", Integer, ForeignKey("operators.operator_id")),
    Column("service", String),
    Column("token_tag", LargeBinary, unique=True),  # keyed hash of its token; null: it has none
    Column("added_at_us", BigInteger, nullable=False),
    Column("revoked_at_us", BigInteger),
    Column("mac", LargeBinary(32), nullable=False),  # of all of the row, under a key outside of the database
)

# Contracts of a service with an operator (I.5).
agreements = Table(
    "agreements",
    metadata,
    Column("service", String, primary_key=True),
    Column("operator_id", Integer, ForeignKey("operators.operator_id"), primary_key=True, autoincrement=False),
    Column("since_us", BigInteger, nullable=False),
    Column("identifications", Boolean, nullable=False),  # the operator is told whom the service identified (E.4)
    Column("mac", LargeBinary(32), nullable=False),  # as a caller has
)

# The newest set of callers and agreements: one row, or none before the first caller.
callers_head = Table(
    "callers_head",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True),
    Column("revision", BigInteger, nullable=False),  # raised by each transaction that changes the set
    Column("digest", LargeBinary(32), nullable=False),  # of the rows' macs
    Column("mac", LargeBinary(32), nullable=False),  # as a caller has
)

# Calls that were denied, the last ones; the same one is one row.
denials = Table(
    "denials",
    metadata,
    Column("denial_key", Integer, primary_key=True, autoincrement=True),
    Column("denied_at_us", BigInteger, nullable=False),  # the last time
    Column("uri", String, nullable=False),
    Column("address", String, nullable=False),  # of its peer; empty: not known
    Column("method", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("times", Integer, nullable=False),
    UniqueConstraint("uri", "address", "method", "reason"),
    Index("denials_by_address", "address"),
)

# --- registrations. Columns that tell who a user is are sealed; `..._tag` is a keyed HMAC, by which they are found.

registrations = Table(
    "registrations",
    metadata,
    Column("registration_id", Bytes(16), primary_key=True),  # begins with the time: rows are added at the end
    Column("service", String, nullable=False),
    Column("user_tag", Bytes(16), unique=True),  # of service and user_id; null once it is erased
    Column("number_tag", Bytes(16)),
    Column("request_tag", Bytes(16)),  # of the request that made it; null if it had no name
    Column("key_id", Integer, nullable=False),  # of what is sealed and of the tags
    Column("sealed_record", Bytes),
    Column("sealed_number", Bytes),  # once more: bulk verification needs nothing else
    Column("state", Integer, nullable=False),
    Column("registered_at_us", BigInteger, nullable=False),
    Column("refreshed_at_us", BigInteger, nullable=False),
    Column("due_at_us", BigInteger, nullable=False),
    Column("reminded_of_us", BigInteger),  # the due time that was reminded of last; null: none was
    Column("next_at_us", BigInteger),  # when it is time for a reminder or overdue, if its state has these; null: never
    Column("evidence", String),  # JSON: the operator's answer that the state rests on; null: it rests on none
    Column("confirmed_by", Integer),  # whose data it rests on, if that says that the number is in service
    Column("proofs", String),  # JSON: what the user proved, an entry for each step; null: the state rests on none
    Column("as_of_revision", BigInteger, nullable=False),  # what was taken up to it takes nothing from this
    Column("verification_id", Bytes(16)),  # the newest: none before it counts
    Column("sequence", BigInteger, nullable=False),  # of the newest event before the transaction that wrote the row
    Column("content", Bytes(32), nullable=False),  # keyed digest of what is recorded: see bindings.py
    Column("mac", Bytes(32), nullable=False),  # of `content` and of where the registration stands
    Index("registrations_by_service", "service", "registration_id"),
    Index("registrations_by_number", "number_tag", "registration_id"),  # so that ids are found in the index alone
    Index("registrations_by_due_time", "service", "due_at_us", "registration_id"),
    Index("registrations_by_next_time", "next_at_us"),
)

# Findings of bulk verification about many registrations at once: see confirmations.py.
confirmations = Table(
    "confirmations",
    metadata,
    Column("confirmation_id", Bytes(16), primary_key=True),
    Column("service", String, nullable=False),
    Column("state", Integer, nullable=False),  # of the registrations
    Column("sequence", BigInteger, nullable=False),  # of the newest event before they were read
    Column("after_id", Bytes, nullable=False),  # their ids are behind it; empty: from the first on
    Column("last_id", Bytes(16), nullable=False),
    Column("due_before_us", BigInteger),  # they are due before it; null: whenever
    Column("evidence", String, nullable=False),  # JSON: operator id -> the evidence of those that it confirms
    Column("key_id", Integer, nullable=False),
    Column("mac", Bytes(32), nullable=False),  # of all other columns: see bindings.py
    Index("confirmations_by_service", "service"),
)

verifications = Table(
    "verifications",
    metadata,
    Column("verification_id", Bytes(16), primary_key=True),
    Column("registration_id", Bytes(16), nullable=False),
    Column("service", String, nullable=False),
    Column("number_tag", Bytes(16), nullable=False),
    Column("key_id", Integer, nullable=False),
    Column("method", String, nullable=False),
    Column("state", Integer, nullable=False),
    Column("started_at_us", BigInteger, nullable=False),
    Column("as_of_revision", BigInteger, nullable=False),  # of the installation, when it began
    Column("expires_at_us", BigInteger, nullable=False),
    Column("next_code_at_us", BigInteger, nullable=False),  # 0: no code was sent
    Column("secret_mac", Bytes, nullable=False),  # of the code or the word; empty if there is none
    Column("tries", Integer, nullable=False),
    Column("attempt_id", Bytes(16), nullable=False),  # the first verification of an attempt that takes several
    Column("alternatives", String, nullable=False),  # of steps that confirm, as the policy was when the attempt began
    Column("given", String, nullable=False),  # JSON: the evidence of the steps that the user has proved in the attempt
    Column("channel", String, nullable=False),  # over which a code goes; empty if there is none
    Column("network_tag", Bytes(16), nullable=False),  # of the network that it was asked for from
    Column("sealed_change", Bytes),  # the number that the user wants to change to; null: it is about the one they have
    Column("mac", Bytes(32), nullable=False),  # of all other columns: see bindings.py
    Index("verifications_by_number", "number_tag", "service", "state"),
    Index("verifications_by_registration", "registration_id"),
)

code_tries = Table(
    "code_tries",
    metadata,
    Column("try_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("service", String, nullable=False),
    Column("number_tag", Bytes(16), nullable=False),
    Column("user_tag", Bytes(16), nullable=False),  # who tried
    Column("network_tag", Bytes(16), nullable=False),  # of the network that the verification was asked for from
    Column("at_us", BigInteger, nullable=False),
    Column("wrong", Boolean, nullable=False),  # until it has been compared and was right
    Index("code_tries_by_number", "number_tag", "service", "at_us"),
    Index("code_tries_by_time", "at_us"),
)

code_sends = Table(
    "code_sends",
    metadata,
    Column("verification_id", Bytes(16), primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("service", String, nullable=False),
    Column("number_tag", Bytes(16), nullable=False),
    Column("user_tag", Bytes(16), nullable=False),  # who asked for it
    Column("block_tag", Bytes(16), nullable=False),  # of the 10,000 numbers around it
    Column("network_tag", Bytes(16), nullable=False),
    Column("completed", Boolean, nullable=False),
    Index("code_sends_by_number", "number_tag", "at_us"),
    Index("code_sends_by_block", "block_tag", "service", "at_us"),
    Index("code_sends_by_network", "network_tag", "service", "at_us"),
    Index("code_sends_by_service", "service", "at_us"),
)

# Messages to operators about users identified on their numbers (E.4), in the order of positions.
identifications = Table(
    "identifications",
    metadata,
    Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("operator_id", Integer, nullable=False),
    Column("service", String, nullable=False),
    Column("registration_id", Bytes(16), nullable=False),
    Column("key_id", Integer, nullable=False),  # of the two that follow
    Column("number_tag", Bytes(16), nullable=False),
    Column("sealed_number", Bytes, nullable=False),  # as in the registration, whose number may be another by now
    Column("ended", Boolean, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Index("identifications_by_operator", "operator_id", "position"),
    Index("identifications_by_registration", "registration_id", "position"),
    Index("identifications_that_ended", "at_us", sqlite_where=text("ended"), postgresql_where=text("ended")),
    sqlite_autoincrement=True,  # a position is never given again
)

# Budgets of new numbers: what nodes took for a day, and numbers that were asked about: see budgets.py.
asked_numbers = Table(
    "asked_numbers",
    metadata,
    Column("entry_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("service", String, nullable=False),
    Column("day", Integer, nullable=False),  # since 1970, in UTC
    Column("taken", BigInteger, nullable=False),  # below 0: given back
    Column("key_id", Integer, nullable=False),
    Column("sealed", Bytes, nullable=False),  # the numbers
    Index("asked_numbers_by_day", "service", "day", "entry_id"),
)

# Authorities' assertions that have verified somebody: each counts once in a service.
assertions = Table(
    "assertions",
    metadata,
    Column("assertion_tag", Bytes(16), primary_key=True),  # of service, authority and assertion_id
    Column("at_us", BigInteger, nullable=False),
    Index("assertions_by_time", "at_us"),
)

# Requests about a registration, by which their repetitions are known.
requests = Table(
    "requests",
    metadata,
    Column("request_tag", Bytes(16), primary_key=True),  # of its registration and its name
    Column("said_tag", Bytes(16), nullable=False),  # of all that it says
    Column("at_us", BigInteger, nullable=False),
    Column("verification_id", Bytes, nullable=False),  # empty: it began none
    Column("problem", String, nullable=False),
    Index("requests_by_time", "at_us"),
)

# Progress of each import of registrations, kept for thirty days after its newest row.
imports = Table(
    "imports",
    metadata,
    Column("import_tag", Bytes(16), primary_key=True),  # of service and import_id
    Column("at_us", BigInteger, nullable=False),  # of the newest row
    Column("row_count", BigInteger, nullable=False),
    Column("made_count", BigInteger, nullable=False),
    Column("already_count", BigInteger, nullable=False),
    Column("refused_count", BigInteger, nullable=False),
    Column("row_checksum", LargeBinary, nullable=False),  # of all other columns
)

# Rows of imports that were refused. They say nothing of anybody.
refused_rows = Table(
    "refused_rows",
    metadata,
    Column("import_tag", Bytes(16), primary_key=True),
    Column("place", BigInteger, primary_key=True, autoincrement=False),
    Column("reason", String, nullable=False),
    Column("field", String, nullable=False),
)

# Checks of keys, one for each key in use: they tell whether a node has the keys under which columns are sealed.
key_checks = Table(
    "key_checks",
    metadata,
    Column("key_id", Integer, primary_key=True, autoincrement=False),
    Column("check_value", Bytes(32), nullable=False),
)

# Events, in a chain of hashes: docs/auditors.md has its bytes.
events = Table(
    "events",
    metadata,
    Column("sequence", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("at_us", BigInteger, nullable=False),
    Column("service", String, nullable=False),
    Column("registration_id", Bytes(16), nullable=False),
    Column("kind", String, nullable=False),
    Column("state", Integer, nullable=False),
    Column("details", String, nullable=False),
    Column("hash", Bytes(32), nullable=False),
    Column("service_sequence", BigInteger, nullable=False),  # its place among its service's own; 0: it is of none
    Index("events_by_service", "service", "service_sequence"),
)

event_head = Table(
    "event_head",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("hash", Bytes(32), nullable=False),
    Column("key_id", Integer, nullable=False),
    Column("mac", Bytes(32), nullable=False),
)

# The time that due times were last judged by: a clock that is ahead of it without having run there is doubted.
trusted_time = Table(
    "trusted_time",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True),
    Column("at_us", BigInteger, nullable=False),
)

# Marks of transactions of PostgreSQL that are committed and not known to be durable: of a node that died a few stay.
commit_marks = Table("commit_marks", metadata, Column("mark", Bytes(16), primary_key=True))

# Nodes that work on this store: each beats for as long as it lives.
nodes = Table(
    "nodes",
    metadata,
    Column("node_id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("started_at_us", BigInteger, nullable=False),
    Column("beat", BigInteger, nullable=False),
    Column("beat_at_us", BigInteger, nullable=False),
    Column("version", String, nullable=False),  # of its numcheck
    Column("index_version", BigInteger),  # that it answers from; null while it answers from none
)

# Leases: which node has each piece of background work, and how many had it so far.
leases = Table(
    "leases",
    metadata,
    Column("name", String, primary_key=True),
    Column("node_id", String, nullable=False),  # of no node that beats: nobody has it
    Column("term", BigInteger, nullable=False),
    Column("taken_at_us", BigInteger, nullable=False),
)

# Receipts of couriers that came to another node than the one that sent the code, until that has taken them.
stray_receipts = Table(
    "stray_receipts",
    metadata,
    Column("receipt_id", LargeBinary, primary_key=True),
    Column("courier", String, nullable=False),
    Column("names", String, nullable=False),  # JSON: those that the message may have
    Column("outcome", String, nullable=False),
)

# Webhooks: how far each has come.
webhooks = Table(
    "webhooks",
    metadata,
    Column("name", String, primary_key=True),
    Column("service", String, nullable=False),
    Column("sequence", BigInteger, nullable=False),  # of the last event that is done, among its service's own
    Column("problem", String, nullable=False),  # of the last attempt; empty: it went well
    Column("changed_at_us", BigInteger, nullable=False),
)

# Events that a webhook's receiver refused again and again, and that were passed over.
dead_letters = Table(
    "dead_letters",
    metadata,
    Column("name", String, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("at_us", BigInteger, nullable=False),
    Column("problem", String, nullable=False),
)
