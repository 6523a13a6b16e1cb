"""The state of webhooks, read from the store without disturbing a node."""

from typing import Any

from numcheck.config import Settings
from numcheck.moments import moment
from numcheck.store import Store


def webhooks_status(settings: Settings) -> list[dict[str, Any]]:
    """Return each webhook: its service, its position, how many events wait, its problem, and its dead letters."""
    with Store(settings.data_dir, url=settings.database, read_only=True) as store, store.one_moment():
        webhooks = store.webhooks()
        letters = webhooks.dead_letters()
        return [
            {
                "name": row.name,
                "service": row.service,
                "sequence": row.sequence,
                "waiting": newest - row.sequence,
                "problem": row.problem,
                "changed_at": moment(row.changed_at_us).isoformat(),
                "passed_over": [
                    {"sequence": one.sequence, "at": moment(one.at_us).isoformat(), "problem": one.problem}
                    for one in letters
                    if one.name == row.name
                ],
            }
            for row, newest in webhooks.all()
        ]
