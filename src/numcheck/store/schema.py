"""The store's tables. Moments are microseconds since 1970 in UTC, as integers: every engine keeps those exactly."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

SCHEMA_VERSION = 2

metadata = MetaData()

installation = Table(
    "installation",
    metadata,
    Column("id", Integer, CheckConstraint("id = 1"), primary_key=True),
    Column("schema_version", Integer, nullable=False),
    # Raised in the transaction that commits a plan or an active set; what the API calls index_version.
    Column("revision", BigInteger, nullable=False),
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
    Column("imported_at_us", BigInteger, nullable=False),
    Column("range_count", Integer, nullable=False),
    Column("number_count", BigInteger, nullable=False),
    Column("checksum", LargeBinary, nullable=False),
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

active_sets = Table(
    "active_sets",
    metadata,
    Column("operator_id", Integer, ForeignKey("operators.operator_id"), primary_key=True),
    Column("version", BigInteger, nullable=False),
    Column("data_time_us", BigInteger, nullable=False),
    Column("stored_at_us", BigInteger, nullable=False),
    Column("number_count", BigInteger, nullable=False),
    Column("digest", LargeBinary),  # of this version; null until somebody asks for it
    Column("synthetic", Boolean, nullable=False),
)

# A checkpoint of each chunk: with the journal's changes after it, in order of version, it is the chunk.
active_chunks = Table(
    "active_chunks",
    metadata,
    Column("operator_id", Integer, ForeignKey("active_sets.operator_id"), primary_key=True),
    Column("chunk", Integer, primary_key=True),
    Column("number_count", Integer, nullable=False),
    Column("checksum", LargeBinary, nullable=False),  # of the bitmap's bytes, compared before anything parses them
    Column("bitmap", LargeBinary, nullable=False),  # Roaring, portable format
)

pushes = Table(
    "pushes",
    metadata,
    Column("push_key", Integer, primary_key=True, autoincrement=True),
    Column("operator_id", Integer, ForeignKey("operators.operator_id"), nullable=False),
    Column("push_id", String),  # the caller's; null if it gave none
    Column("base_version", BigInteger, nullable=False),
    Column("version", BigInteger),  # that the push made; null while it is held
    Column("revision", BigInteger),  # that shows it; null while it is held
    Column("snapshot", Boolean, nullable=False),
    Column("data_time_us", BigInteger, nullable=False),
    Column("received_at_us", BigInteger, nullable=False),
    Column("counts", String, nullable=False),  # PushCounts as JSON: what the answer says
    Column("token", String),  # that confirms it; null if it never was held
    UniqueConstraint("operator_id", "push_id"),
    UniqueConstraint("operator_id", "version"),
)

# The journal: what each push changes in each chunk. Changes that are folded into their chunk's checkpoint are gone.
active_changes = Table(
    "active_changes",
    metadata,
    Column("push_key", Integer, ForeignKey("pushes.push_key"), primary_key=True),
    Column("chunk", Integer, primary_key=True),
    Column("operator_id", Integer, nullable=False),
    Column("checksum", LargeBinary, nullable=False),  # of both bitmaps' bytes, compared before anything parses them
    Column("added", LargeBinary, nullable=False),  # Roaring, portable format
    Column("removed", LargeBinary, nullable=False),
    Index("active_changes_by_chunk", "operator_id", "chunk"),
)
