"""The environment in which alembic runs the steps: the connection and the transaction that open the store."""

from alembic import context

from numcheck.store.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
