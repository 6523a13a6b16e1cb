"""Reads what a data directory holds and what its node says, without disturbing the node."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from numcheck.active import Operator
from numcheck.client.failures import reason_of
from numcheck.config import Settings
from numcheck.door.plain_door import warning_of
from numcheck.errors import IndexDamaged, IndexMissing
from numcheck.index import open_index
from numcheck.moments import moment
from numcheck.nearby import token_for
from numcheck.serving.access import KEY_NAME, callers_of, token_key
from numcheck.serving.courier_report import told_of_couriers
from numcheck.serving.publishing import LOST, index_directory, point_of, told_losses
from numcheck.serving.registrations import registration_warnings
from numcheck.serving.whereabouts import node_address, whereabouts_of
from numcheck.store import SeriesInfo, Store
from numcheck.v1 import check_pb2, check_pb2_grpc

HEALTH_DEADLINE_S = 1.0
PLAN_AGE_MAX = timedelta(days=60)
SERVING, NOT_SERVING, NOT_RUNNING = "serving", "not serving", "not running"
NOBODY_ANSWERS = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
# In gRPC's words; a peer that is there and ends the handshake gets others.
NOBODY_THERE = ("Failed to connect to remote host", "errors resolving", "DNS resolution failed")
OTHERS = "not running: a node of another installation listens there"
OWN_NODE = [("grpc.enable_http_proxy", 0)]  # it runs on this machine, whatever address it listens on


def node_status(settings: Settings, *, now: datetime, digests: bool = False) -> dict[str, Any]:
    """Versions, counts, freshness by operator, the listeners, and how many revisions behind the node answers,
    or its index on disk if no node does; as JSON has it.

    With `digests`, those of the active sets as well: a second for 100 million numbers.
    """
    with Store(settings.data_dir, url=settings.database, read_only=True) as store:
        revision, series, operators = store.revision, store.series(), store.operators()
        counts = store.sets.active_counts()
        callers = _callers_status(store, settings.data_dir)
        installation_id, held = store.installation_id, store.sets.held_pushes(now=now)
        losses, nodes = told_losses(store.losses()), _nodes_status(store, revision)
        engine, warning, portings = store.engine_name, store.warning, store.sets.portings_head()
        found = {
            one.operator_id: store.sets.active_set(one.operator_id).digest()
            for one in operators
            if digests and one.data_version
        }
        index = _index_status(settings.data_dir, installation_id, store)
    address = node_address(settings)
    is_own = _answering_installation(settings, address) in (None, installation_id)
    served_version = _served_version(settings, address) if is_own else None
    shown = index["version"] if served_version is None else served_version
    return {
        "data_dir": str(settings.data_dir),
        "synthetic": any(operator.synthetic for operator in operators),
        "revision": revision,
        "lost_history": losses,
        "nodes": nodes,
        "engine": engine,
        "engine_warning": warning,
        "warnings": [
            *filter(None, [warning_of(settings), _age_warning(series, now)]),
            *registration_warnings(settings),
        ],
        "callers": callers,
        "index": index,
        "served_version": served_version,
        "lag": _lag(revision, shown),
        "listener": listener_status(settings, address, is_own=is_own),
        "couriers": told_of_couriers(settings.data_dir),
        "plan": [_series_status(one) for one in series],
        "portings": {
            "version": portings.version,
            "numbers": portings.number_count,
            "data_time": moment(portings.data_time_us).isoformat() if portings.version else None,
        },
        "held_pushes": [
            {
                "operator_id": one.operator_id,
                "received_at": moment(one.received_at_us).isoformat(),
                "added": one.pushed.counts.added,
                "removed": one.pushed.counts.removed,
            }
            for one in held
        ],
        "operators": [
            _operator_status(one, counts.get(one.operator_id, 0), found.get(one.operator_id), now) for one in operators
        ],
    }


def _lag(revision: int, index_version: int | None) -> int | None:
    """Return how far an index is behind; a node may be ahead of what the store was read at."""
    return None if index_version is None else max(revision - index_version, 0)


def _age_warning(plan: Sequence[SeriesInfo], now: datetime) -> str | None:
    """Return a warning of series that are older than the regulator lets pass between two of its files."""
    ages = {_series_name(one): now - (one.data_time or one.imported_at) for one in plan}
    old = [f"{name} ({age.days} days)" for name, age in ages.items() if age > PLAN_AGE_MAX]
    if not old:
        return None
    return (
        f"WARNING: the plan is old: {', '.join(old)}; import the regulator's newest files, or have a timer do it "
        "(docs/operations.md, The plan is old)"
    )


def _series_name(series: SeriesInfo) -> str:
    return f"+{series.calling_code} {series.series}xx"


def _series_status(series: SeriesInfo) -> dict[str, Any]:
    return {
        "series": _series_name(series),
        "source": series.source,
        "data_time": series.data_time and series.data_time.isoformat(),
        "imported_at": series.imported_at.isoformat(timespec="seconds"),
        "ranges": series.range_count,
        "numbers": series.number_count,
    }


def _index_status(data_dir: Path, installation_id: str, store: Store) -> dict[str, Any]:
    try:
        index = open_index(index_directory(data_dir), installation_id=installation_id)
        if store.is_lost(point_of(index)):
            raise IndexDamaged(LOST)
    except (IndexMissing, IndexDamaged) as error:
        return {"version": None, "size": None, "error": f"{error}; `numcheck serve` builds it anew"}
    return {"version": index.index_version, "size": index.size, "error": None}


def _nodes_status(store: Store, revision: int) -> list[dict[str, Any]]:
    """Return the nodes of the store, and the background work that each does, the oldest first.

    A node that has its store alone does not tell again and again which index it answers from.
    """
    seen = store.leases().look()
    return [
        {
            "name": node.name,
            "started_at": moment(node.started_at_us).isoformat(),
            "beat_at": moment(node.beat_at_us).isoformat(),
            "version": node.version,
            "index_version": node.index_version if store.shared else None,
            "lag": _lag(revision, node.index_version if store.shared else None),
            "leases": [
                {"name": one.name, "term": one.term, "taken_at": moment(one.taken_at_us).isoformat()}
                for one in seen.leases.values()
                if one.node_id == node.node_id
            ],
        }
        for node in seen.nodes.values()
    ]


def _callers_status(store: Store, data_dir: Path) -> dict[str, Any] | None:
    """Return the set of callers, by this data directory's key; None if it has none."""
    if not (data_dir / KEY_NAME).exists():
        return None
    found = callers_of(store, token_key(data_dir)).all()
    may_call = sum(one.revoked_at is None for one in found.callers)
    return {"revision": found.revision, "may_call": may_call, "refused": found.refused or None}


def _operator_status(operator: Operator, active: int, digest: bytes | None, now: datetime) -> dict[str, Any]:
    data_time = operator.data_time
    return {
        "operator_id": operator.operator_id,
        "display_name": operator.display_name,
        "tax_id": operator.tax_id,
        "active": active,
        "data_version": operator.data_version,
        "data_time": None if data_time is None else data_time.isoformat(),
        "age_s": None if data_time is None else (now - data_time).total_seconds(),
        "synthetic": operator.synthetic,
        "digest": digest and digest.hex(),
    }


def listener_status(settings: Settings, address: str, *, is_own: bool) -> dict[str, str | None]:
    """Return where the node listens, its state, and what carries its calls if it is this data directory's."""
    if not is_own:
        return {"address": address, "state": OTHERS, "door": None}
    here = whereabouts_of(settings.data_dir)
    return {"address": address, "state": node_state(settings, address), "door": here and here.door}


def node_state(settings: Settings, address: str) -> str:
    """Return SERVING, NOT_SERVING or NOT_RUNNING, as the node's health service says, or why it did not say it."""
    with _channel(settings, address) as channel:
        try:
            request = health_pb2.HealthCheckRequest()
            stub: Any = health_pb2_grpc.HealthStub(channel)  # the stubs lack its methods
            response = stub.Check(request, timeout=HEALTH_DEADLINE_S, metadata=_shown(settings, address))
        except grpc.RpcError as error:
            return _state_of(error)
    return SERVING if response.status == health_pb2.HealthCheckResponse.SERVING else NOT_SERVING


def _state_of(error: grpc.RpcError) -> str:
    """Return what a call of the health service that failed says of the node."""
    code, words, reason = error.code(), error.details() or "", reason_of(error)
    if reason is not None or code not in NOBODY_ANSWERS:
        return f"refuses this caller: {reason or code.name}: {words}"
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"does not answer within {HEALTH_DEADLINE_S:.0f} s"
    return NOT_RUNNING if any(sign in words for sign in NOBODY_THERE) else f"refuses the connection: {words}"


def _answering_installation(settings: Settings, address: str) -> str | None:
    """Return which installation the node is of that answers there; None if none does, or it does not say."""
    response = _checked(settings, address, "ListOperators", check_pb2.ListOperatorsRequest())
    return None if response is None else str(response.installation_id)


def _served_version(settings: Settings, address: str) -> int | None:
    """Return the index version that the node answers from; None if it does not answer, or not to this caller."""
    response = _checked(settings, address, "CheckNumbers", check_pb2.CheckNumbersRequest())
    return None if response is None else int(response.index_version)


def _checked(settings: Settings, address: str, method: str, request: Any) -> Any:
    """Return what CheckService answers; None if it does not answer, or not to this caller."""
    with _channel(settings, address) as channel:
        try:
            call = getattr(check_pb2_grpc.CheckServiceStub(channel), method)
            return call(request, timeout=HEALTH_DEADLINE_S, metadata=_shown(settings, address))
        except grpc.RpcError:
            return None


def _channel(settings: Settings, address: str) -> grpc.Channel:
    files = settings.server_authority_file, settings.client_key_file, settings.client_certificate_file
    contents = [None if file is None else file.read_bytes() for file in files]
    if contents[0] is None:
        return grpc.insecure_channel(address, OWN_NODE)
    credentials = grpc.ssl_channel_credentials(*contents)
    if settings.token is not None:
        token = grpc.access_token_call_credentials(settings.token.get_secret_value())
        credentials = grpc.composite_channel_credentials(credentials, token)
    return grpc.secure_channel(address, credentials, OWN_NODE)


def _shown(settings: Settings, address: str) -> list[tuple[str, str]]:
    """Return what a call in plaintext shows besides: the token of the data directory, where there is one."""
    token = None if settings.server_authority_file else token_for(address, settings.data_dir)
    return [] if token is None else [("authorization", f"Bearer {token}")]


def plan_status(settings: Settings) -> dict[str, Any]:
    """Return the loaded series of the numbering plan, and how much of it each operator holds."""
    with Store(settings.data_dir, url=settings.database, read_only=True) as store, store.one_moment():
        return {"series": [_series_status(one) for one in store.series()], "operators": _holdings(store)}


def _holdings(store: Store) -> list[dict[str, Any]]:
    """Return how much of the numbering plan each operator holds, the largest first; who holds nothing is left out."""
    ranges, operators, counts = store.ranges(), store.operators(), store.sets.active_counts()
    holdings: dict[int, dict[str, Any]] = {
        operator.operator_id: {
            "operator_id": operator.operator_id,
            "tax_id": operator.tax_id,
            "display_name": operator.display_name,
            "ranges": 0,
            "mobile_numbers": 0,
            "other_numbers": 0,
            "active": counts.get(operator.operator_id, 0),
            "synthetic": operator.synthetic,
        }
        for operator in operators
    }
    for held in ranges:
        holding = holdings[held.operator_id]
        holding["ranges"] += 1
        holding["mobile_numbers" if held.mobile else "other_numbers"] += held.last - held.first + 1
    kept = [holding for holding in holdings.values() if holding["ranges"]]
    return sorted(kept, key=lambda holding: -(holding["mobile_numbers"] + holding["other_numbers"]))
