"""A data directory with what the page has to show, its listener in the tests' own process, and who asks it."""

import gzip
import http.client
import json
import ssl
import struct
from array import array
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from numcheck.active import PushHeader
from numcheck.api.access import Admission, LoopbackAccess
from numcheck.config import Settings
from numcheck.door.methods import methods_of
from numcheck.door.watches import Watches
from numcheck.index import PublishedIndex, open_index
from numcheck.page.app import Parts
from numcheck.page.listener import PageListener
from numcheck.serving.publishing import index_directory, rebuild_index
from numcheck.serving.services import check_service, numbering_service
from numcheck.store import DataDirLock, Store
from tests.active.sets import active_set_of
from tests.store.registry import plan, row

HOSTILE = '<img src=x onerror="document.title=1">&quot</script>'
ALPHA, BETA, FIXED = "7740000076", "7701725181", "7707049388"
RANGES = [
    (916, 0, 9_999_999, HOSTILE, ALPHA),
    (917, 0, 4_999, HOSTILE, ALPHA),
    (917, 5_000, 9_999, "Бета", BETA),
    (917, 20_000, 29_999, "Бета", BETA),
    (495, 1_230_000, 1_239_999, "Городская", FIXED),
]
ACTIVE = {
    ALPHA: [79160000000 + 3 * i for i in range(2_000)] + [79169990000 + i for i in range(10_000)] + [79170000007],
    BETA: [79170005000 + i for i in range(100)] + [79170020000 + 2 * i for i in range(5_000)],
}
ONE_ACTIVE, ONE_INACTIVE, NOBODYS = 79160000003, 79160000004, 79170010000
HELD_TOKEN = "held-push-of-a-test"
HELD_REMOVED = 12_000
DATA_TIME = datetime.now(UTC) - timedelta(hours=3)


def fill(data_dir: Path) -> Path:
    """Fill a data directory; a push of ALPHA is held."""
    with DataDirLock(data_dir), Store(data_dir) as store:
        rows = [row(*one) for one in RANGES]
        store.import_plan(plan(*rows), source="rows.csv", now=DATA_TIME, data_time=DATA_TIME)
        ids = operator_ids(store)
        for tax_id, numbers in ACTIVE.items():
            store.sets.replace_active_set(ids[tax_id], active_set_of(numbers), data_time=DATA_TIME, now=DATA_TIME)
        content = store.sets.push_content(ids[ALPHA])
        content.remove(array("Q", ACTIVE[ALPHA][:HELD_REMOVED]))
        header = PushHeader(ids[ALPHA], False, 1, None, DATA_TIME)
        pushed = store.sets.push(header, content, base_version=1, token=HELD_TOKEN, now=datetime.now(UTC))
        assert pushed.held
        rebuild_index(store, data_dir)
    return data_dir


def operator_ids(store: Store) -> dict[str, int]:
    """The operators' ids, by tax id."""
    return {one.tax_id or "": one.operator_id for one in store.operators()}


class Answer(NamedTuple):
    """An answer of the page."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        """What the body says."""
        return json.loads(self.body)


@dataclass
class Site:
    """The page's listener, and how it is asked."""

    port: int
    store: Store
    published: PublishedIndex
    sample: dict[str, Any]
    context: ssl.SSLContext | None = None
    reread: Callable[[], None] = lambda: None
    """Has the listener read its TLS files, as it does when it sees that they have changed."""

    def connected(self) -> http.client.HTTPConnection:
        """A connection of its own."""
        if self.context is None:
            return http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=30, context=self.context)

    def ask(
        self, path: str, body: Any = None, *, method: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The answer to one request; a body that is not bytes is sent as JSON."""
        connection = self.connected()
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request(method or ("GET" if body is None else "POST"), path, content, dict(headers or {}))
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def token(self, headers: Mapping[str, str] | None = None) -> dict[str, str]:
        """The header that a change of the same caller needs, and theirs."""
        return {"X-Numcheck-Token": self.ask("/api/me", headers=headers).json["token"], **(headers or {})}


@contextmanager
def site(
    data_dir: Path,
    admission: Admission | None = None,
    *,
    store: Store | None = None,
    **settings: Any,
) -> Iterator[Site]:
    """The page of a data directory that is filled; on loopback, for everybody of this machine, by default."""
    chosen = Settings(**{"data_dir": data_dir, "page_listen": "127.0.0.1:0", **settings})
    with nullcontext(store) if store else Store(data_dir) as opened:
        published, watches, sample = PublishedIndex(), Watches(), {"at": 1.0}
        published.publish(open_index(index_directory(data_dir)))
        services = [
            check_service(published, chosen),
            numbering_service(opened, published, chosen, watches, changed=()),
        ]
        parts = Parts(admission or LoopbackAccess(), methods_of(services), published, opened, lambda: sample)
        listener = PageListener(chosen, parts)
        try:
            one = Site(int(listener.address.rpartition(":")[2]), opened, published, sample)
            if listener._context is not None:
                one.reread = listener._context._read
            yield one
        finally:
            listener.stop()
            watches.close()


class Columns(NamedTuple):
    """The map's answer, taken apart."""

    head: dict[str, Any]
    classes: tuple[int, ...]
    active_counts: tuple[int, ...]


def columns_of(answer: Answer) -> Columns:
    """The map in an answer, read by the words of its description."""
    content = gzip.decompress(answer.body)
    (size,) = struct.unpack_from("<I", content)
    head = json.loads(content[4 : 4 + size])
    count = 1_000 * len(head["chunks"])
    assert size % 4 == 0
    assert len(content) == 4 + size + 4 * count
    both = struct.unpack_from(f"<{2 * count}H", content, 4 + size)
    return Columns(head, both[:count], both[count:])
