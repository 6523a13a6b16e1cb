"""The first schema.

Until the first release it is what schema.py says, whole; with the release it is written out here and never changed.
"""

from alembic import op

from numcheck.store.schema import installation, metadata

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make every table, and the installation's one row."""
    metadata.create_all(op.get_bind())
    op.bulk_insert(installation, [{"id": 1, "revision": 0}])
