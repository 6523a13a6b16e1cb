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

SCHEMA_VERSION = 3

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
    Column("revision", BigInteger, nullable=False),  # that replaced it last
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

# The newest version of what is pushed as one: an operator's active set, or all portings (operator_id 0).
heads = Table(
    "heads",
    metadata,
    Column("kind", Integer, primary_key=True, autoincrement=False),
    Column("operator_id", Integer, primary_key=True, autoincrement=False),
    Column("version", BigInteger, nullable=False),
    Column("data_time_us", BigInteger, nullable=False),
    Column("stored_at_us", BigInteger, nullable=False),
    Column("number_count", BigInteger, nullable=False),
    Column("checksum", LargeBinary, nullable=False),  # of its blocks: the exclusive or of theirs
    Column("digest", LargeBinary),  # of this version; null until somebody asks for it
    Column("synthetic", Boolean, nullable=False),
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
    Column("version", BigInteger),  # that the push made; null while it is held
    Column("revision", BigInteger),  # that shows it; null while it is held
    Column("snapshot", Boolean, nullable=False),
    Column("data_time_us", BigInteger, nullable=False),
    Column("received_at_us", BigInteger, nullable=False),
    Column("counts", String, nullable=False),  # PushCounts as JSON: what the answer says
    Column("token", String),  # that confirms it; null if it never was held
    UniqueConstraint("kind", "operator_id", "push_id"),
    UniqueConstraint("kind", "operator_id", "version"),
)

# What a held push would change, by block; gone when it is confirmed or dropped.
held_changes = Table(
    "held_changes",
    metadata,
    Column("push_key", Integer, ForeignKey("pushes.push_key"), primary_key=True),
    Column("chunk", BigInteger, primary_key=True, autoincrement=False),
    Column("checksum", LargeBinary, nullable=False),  # of both bitmaps' bytes, compared before anything parses them
    Column("added", LargeBinary, nullable=False),  # Roaring, portable format
    Column("removed", LargeBinary, nullable=False),
)
