"""What alembic runs the steps in: the connection, and the transaction, that the store is opened with."""

from alembic import context

from numcheck.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
