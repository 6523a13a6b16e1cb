"""The first schema, written out: with the first release it is never changed again, whatever schema.py comes to say.

A test holds schema.py to what all steps make, on every engine.
"""

from uuid import uuid4

from alembic import op
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

revision = "0001"
down_revision = None

metadata = MetaData()


class Bytes(LargeBinary):
    """Bytes that go to the driver as they are: both take them, and a wrapper for each is a fifth of a bulk write."""

    def bind_processor(self, dialect: Dialect) -> None:
        """None: nothing is done to them."""


installation = Table(
    "installation",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("withdrawals_dropped", BigInteger, nullable=False, server_default="0"),
    Column("recorded_since_us", BigInteger),
    Column("installation_id", String, nullable=False),
    Column("epoch", BigInteger, nullable=False, server_default="0"),
    Column("server", String, nullable=False, server_default=""),
    Column("token_key_check", LargeBinary),
)

revisions = Table(
    "revisions",
    metadata,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("mark", LargeBinary, nullable=False),
)

lost_revisions = Table(
    "lost_revisions",
    metadata,
    Column("first_revision", BigInteger, nullable=False),
    Column("last_revision", BigInteger, primary_key=True, autoincrement=False),
    Column("noticed_at_us", BigInteger),
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

plan_series = Table(
    "plan_series",
    metadata,
    Column("calling_code", Integer, primary_key=True),
    Column("series", String, primary_key=True),
    Column("source", String, nullable=False),
    Column("data_time_us", BigInteger),
    Column("imported_at_us", BigInteger, nullable=False),
    Column("range_count", Integer, nullable=False),
    Column("number_count", BigInteger, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("checksum", LargeBinary, nullable=False),
    Column("row_checksum", LargeBinary, nullable=False),
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

heads = Table(
    "heads",
    metadata,
    Column("kind", Integer, primary_key=True, autoincrement=False),
    Column("operator_id", Integer, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("data_time_us", BigInteger, nullable=False),
    Column("since_us", BigInteger, nullable=False),
    Column("stored_at_us", BigInteger, nullable=False),
    Column("number_count", BigInteger, nullable=False),
    Column("checksum", LargeBinary, nullable=False),
    Column("digest", LargeBinary),
    Column("synthetic", Boolean, nullable=False),
    Column("sequences", String, nullable=False),
    Column("row_checksum", LargeBinary, nullable=False),
)

blocks = Table(
    "blocks",
    metadata,
    Column("kind", Integer, primary_key=True, autoincrement=False),
    Column("operator_id", Integer, ForeignKey("operators.operator_id"), primary_key=True, autoincrement=False),
    Column("block", BigInteger, primary_key=True, autoincrement=False),
    Column("revision", BigInteger, nullable=False),
    Column("number_count", Integer, nullable=False),
    Column("checksum", LargeBinary, nullable=False),
    Column("digest", LargeBinary, nullable=False),
    Column("bitmap", LargeBinary, nullable=False),
    Index("blocks_by_place", "block"),
    Index("blocks_by_revision", "revision"),
)

pushes = Table(
    "pushes",
    metadata,
    Column("push_key", Integer, primary_key=True, autoincrement=True),
    Column("kind", Integer, nullable=False),
    Column("operator_id", Integer, nullable=False),
    Column("push_id", String),
    Column("base_version", BigInteger, nullable=False),
    Column("plan_revision", BigInteger, nullable=False),
    Column("portings_version", BigInteger, nullable=False),
    Column("version", BigInteger),
    Column("revision", BigInteger),
    Column("snapshot", Boolean, nullable=False),
    Column("data_time_us", BigInteger, nullable=False),
    Column("received_at_us", BigInteger, nullable=False),
    Column("counts", String, nullable=False),
    Column("token", String),
    Column("held_checksum", LargeBinary),
    Column("row_checksum", LargeBinary, nullable=False),
    UniqueConstraint("kind", "operator_id", "push_id"),
    UniqueConstraint("kind", "operator_id", "version"),
)

held_numbers = Table(
    "held_numbers",
    metadata,
    Column("push_key", Integer, ForeignKey("pushes.push_key"), primary_key=True),
    Column("chunk", BigInteger, primary_key=True, autoincrement=False),
    Column("checksum", LargeBinary, nullable=False),
    Column("added", LargeBinary, nullable=False),
    Column("removed", LargeBinary, nullable=False),
)

WAITING = text("next_place IS NOT NULL")

withdrawals = Table(
    "withdrawals",
    metadata,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("cause", String, primary_key=True),
    Column("chunk", BigInteger, primary_key=True, autoincrement=False),
    Column("withdrawn_at_us", BigInteger, nullable=False),
    Column("bulk", Boolean, nullable=False),
    Column("next_place", Integer),
    Column("checksum", LargeBinary, nullable=False),
    Column("places", LargeBinary, nullable=False),
    Index("withdrawals_by_chunk", "chunk", "revision"),
    Index("withdrawals_waiting", "bulk", "revision", "cause", "chunk", sqlite_where=WAITING, postgresql_where=WAITING),
)

recorded_withdrawals = Table(
    "recorded_withdrawals",
    metadata,
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("cause", String, primary_key=True),
    Column("chunk", BigInteger, primary_key=True, autoincrement=False),
    Column("at_us", BigInteger, nullable=False),
    Column("number_count", Integer, nullable=False),
    Column("checksum", LargeBinary, nullable=False),
    Column("places", LargeBinary, nullable=False),
    Index("recorded_withdrawals_by_chunk", "chunk", "revision"),
    Index("recorded_withdrawals_by_time", "at_us", "cause", "chunk"),
)

callers = Table(
    "callers",
    metadata,
    Column("uri", String, primary_key=True),
    Column("role", String, nullable=False),
    Column("operator_id", Integer, ForeignKey("operators.operator_id")),
    Column("service", String),
    Column("token_tag", LargeBinary, unique=True),
    Column("added_at_us", BigInteger, nullable=False),
    Column("revoked_at_us", BigInteger),
    Column("mac", LargeBinary(32), nullable=False),
)

agreements = Table(
    "agreements",
    metadata,
    Column("service", String, primary_key=True),
    Column("operator_id", Integer, ForeignKey("operators.operator_id"), primary_key=True, autoincrement=False),
    Column("since_us", BigInteger, nullable=False),
    Column("identifications", Boolean, nullable=False),
    Column("mac", LargeBinary(32), nullable=False),
)

callers_head = Table(
    "callers_head",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("mac", LargeBinary(32), nullable=False),
)

denials = Table(
    "denials",
    metadata,
    Column("denial_key", Integer, primary_key=True, autoincrement=True),
    Column("denied_at_us", BigInteger, nullable=False),
    Column("uri", String, nullable=False),
    Column("address", String, nullable=False),
    Column("method", String, nullable=False),
    Column("reason", String, nullable=False),
    Column("times", Integer, nullable=False),
    UniqueConstraint("uri", "address", "method", "reason"),
    Index("denials_by_address", "address"),
)


registrations = Table(
    "registrations",
    metadata,
    Column("registration_id", Bytes(16), primary_key=True),
    Column("service", String, nullable=False),
    Column("user_tag", Bytes(16), unique=True),
    Column("number_tag", Bytes(16)),
    Column("request_tag", Bytes(16)),
    Column("key_id", Integer, nullable=False),
    Column("sealed_record", Bytes),
    Column("sealed_number", Bytes),
    Column("state", Integer, nullable=False),
    Column("registered_at_us", BigInteger, nullable=False),
    Column("refreshed_at_us", BigInteger, nullable=False),
    Column("due_at_us", BigInteger, nullable=False),
    Column("reminded_of_us", BigInteger),
    Column("next_at_us", BigInteger),
    Column("evidence", String),
    Column("confirmed_by", Integer),
    Column("proofs", String),
    Column("as_of_revision", BigInteger, nullable=False),
    Column("verification_id", Bytes(16)),
    Column("sequence", BigInteger, nullable=False),
    Column("content", Bytes(32), nullable=False),
    Column("mac", Bytes(32), nullable=False),
    Index("registrations_by_service", "service", "registration_id"),
    Index("registrations_by_number", "number_tag", "registration_id"),
    Index("registrations_by_due_time", "service", "due_at_us", "registration_id"),
    Index("registrations_by_next_time", "next_at_us"),
)

confirmations = Table(
    "confirmations",
    metadata,
    Column("confirmation_id", Bytes(16), primary_key=True),
    Column("service", String, nullable=False),
    Column("state", Integer, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("after_id", Bytes, nullable=False),
    Column("last_id", Bytes(16), nullable=False),
    Column("due_before_us", BigInteger),
    Column("evidence", String, nullable=False),
    Column("key_id", Integer, nullable=False),
    Column("mac", Bytes(32), nullable=False),
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
    Column("as_of_revision", BigInteger, nullable=False),
    Column("expires_at_us", BigInteger, nullable=False),
    Column("next_code_at_us", BigInteger, nullable=False),
    Column("secret_mac", Bytes, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("attempt_id", Bytes(16), nullable=False),
    Column("alternatives", String, nullable=False),
    Column("given", String, nullable=False),
    Column("channel", String, nullable=False),
    Column("network_tag", Bytes(16), nullable=False),
    Column("sealed_change", Bytes),
    Column("mac", Bytes(32), nullable=False),
    Index("verifications_by_number", "number_tag", "service", "state"),
    Index("verifications_by_registration", "registration_id"),
)

code_tries = Table(
    "code_tries",
    metadata,
    Column("try_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("service", String, nullable=False),
    Column("number_tag", Bytes(16), nullable=False),
    Column("user_tag", Bytes(16), nullable=False),
    Column("network_tag", Bytes(16), nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("wrong", Boolean, nullable=False),
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
    Column("user_tag", Bytes(16), nullable=False),
    Column("block_tag", Bytes(16), nullable=False),
    Column("network_tag", Bytes(16), nullable=False),
    Column("completed", Boolean, nullable=False),
    Index("code_sends_by_number", "number_tag", "at_us"),
    Index("code_sends_by_block", "block_tag", "service", "at_us"),
    Index("code_sends_by_network", "network_tag", "service", "at_us"),
    Index("code_sends_by_service", "service", "at_us"),
)

identifications = Table(
    "identifications",
    metadata,
    Column("position", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("operator_id", Integer, nullable=False),
    Column("service", String, nullable=False),
    Column("registration_id", Bytes(16), nullable=False),
    Column("key_id", Integer, nullable=False),
    Column("number_tag", Bytes(16), nullable=False),
    Column("sealed_number", Bytes, nullable=False),
    Column("ended", Boolean, nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Index("identifications_by_operator", "operator_id", "position"),
    Index("identifications_by_registration", "registration_id", "position"),
    Index("identifications_that_ended", "at_us", sqlite_where=text("ended"), postgresql_where=text("ended")),
    sqlite_autoincrement=True,
)

asked_numbers = Table(
    "asked_numbers",
    metadata,
    Column("entry_id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("service", String, nullable=False),
    Column("day", Integer, nullable=False),
    Column("taken", BigInteger, nullable=False),
    Column("key_id", Integer, nullable=False),
    Column("sealed", Bytes, nullable=False),
    Index("asked_numbers_by_day", "service", "day", "entry_id"),
)

assertions = Table(
    "assertions",
    metadata,
    Column("assertion_tag", Bytes(16), primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Index("assertions_by_time", "at_us"),
)

requests = Table(
    "requests",
    metadata,
    Column("request_tag", Bytes(16), primary_key=True),
    Column("said_tag", Bytes(16), nullable=False),
    Column("at_us", BigInteger, nullable=False),
    Column("verification_id", Bytes, nullable=False),
    Column("problem", String, nullable=False),
    Index("requests_by_time", "at_us"),
)

imports = Table(
    "imports",
    metadata,
    Column("import_tag", Bytes(16), primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("row_count", BigInteger, nullable=False),
    Column("made_count", BigInteger, nullable=False),
    Column("already_count", BigInteger, nullable=False),
    Column("refused_count", BigInteger, nullable=False),
    Column("row_checksum", LargeBinary, nullable=False),
)

refused_rows = Table(
    "refused_rows",
    metadata,
    Column("import_tag", Bytes(16), primary_key=True),
    Column("place", BigInteger, primary_key=True, autoincrement=False),
    Column("reason", String, nullable=False),
    Column("field", String, nullable=False),
)

key_checks = Table(
    "key_checks",
    metadata,
    Column("key_id", Integer, primary_key=True, autoincrement=False),
    Column("check_value", Bytes(32), nullable=False),
)

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
    Column("service_sequence", BigInteger, nullable=False),
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

trusted_time = Table(
    "trusted_time",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True),
    Column("at_us", BigInteger, nullable=False),
)

commit_marks = Table("commit_marks", metadata, Column("mark", Bytes(16), primary_key=True))

nodes = Table(
    "nodes",
    metadata,
    Column("node_id", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("started_at_us", BigInteger, nullable=False),
    Column("beat", BigInteger, nullable=False),
    Column("beat_at_us", BigInteger, nullable=False),
    Column("version", String, nullable=False),
    Column("index_version", BigInteger),
)

leases = Table(
    "leases",
    metadata,
    Column("name", String, primary_key=True),
    Column("node_id", String, nullable=False),
    Column("term", BigInteger, nullable=False),
    Column("taken_at_us", BigInteger, nullable=False),
)

stray_receipts = Table(
    "stray_receipts",
    metadata,
    Column("receipt_id", LargeBinary, primary_key=True),
    Column("courier", String, nullable=False),
    Column("names", String, nullable=False),
    Column("outcome", String, nullable=False),
)

webhooks = Table(
    "webhooks",
    metadata,
    Column("name", String, primary_key=True),
    Column("service", String, nullable=False),
    Column("sequence", BigInteger, nullable=False),
    Column("problem", String, nullable=False),
    Column("changed_at_us", BigInteger, nullable=False),
)

dead_letters = Table(
    "dead_letters",
    metadata,
    Column("name", String, primary_key=True),
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("at_us", BigInteger, nullable=False),
    Column("problem", String, nullable=False),
)


def upgrade() -> None:
    """Make every table, and the installation's one row, of revision 0."""
    metadata.create_all(op.get_bind())
    # A name, and no secret: what tells this installation's index from another's.
    op.bulk_insert(installation, [{"id": 1, "revision": 0, "installation_id": uuid4().hex}])
    op.bulk_insert(revisions, [{"revision": 0, "mark": uuid4().bytes}])
