"""The store's tables. Moments are microseconds since 1970 in UTC, as integers: every engine keeps those exactly."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
)

SCHEMA_VERSION = 1

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
    Column("digest", LargeBinary, nullable=False),
    Column("synthetic", Boolean, nullable=False),
)

active_chunks = Table(
    "active_chunks",
    metadata,
    Column("operator_id", Integer, ForeignKey("active_sets.operator_id"), primary_key=True),
    Column("chunk", Integer, primary_key=True),
    Column("number_count", Integer, nullable=False),
    Column("digest", LargeBinary, nullable=False),  # of the numbers
    Column("checksum", LargeBinary, nullable=False),  # of the bitmap's bytes, compared before anything parses them
    Column("bitmap", LargeBinary, nullable=False),  # Roaring, portable format
)
