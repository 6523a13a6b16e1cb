"""`numcheck status` and `ready`: what a data directory holds and what its node serves, and whether it serves."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from numcheck.cli.options import Config, DataDir, Json, Server, security_of, settings_of, target_of

if TYPE_CHECKING:
    from numcheck.client import PushClient
    from numcheck.config import Settings


NOT_SERVED = 3
"""The exit status of `numcheck status` where no node serves, or not this caller."""
POLL_INTERVAL_S = 0.2


def ready(
    wait: Annotated[float, typer.Option(min=0, help="Seconds to wait until it is, if it is not yet.")] = 0,
    server: Server = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Say whether a node serves, and nothing else. Exit status: 0 it serves, 1 it does not, with the reason.

    Example: numcheck ready --wait 60
    Example: numcheck ready --server numcheck.example:50051 --config operator.toml
    """
    from numcheck.cli.console import out, print_json
    from numcheck.errors import NodeUnreachable, OtherInstallation
    from numcheck.offline.status import SERVING, node_state

    settings = settings_of(config, data_dir=data_dir)
    until, state = time.monotonic() + wait, ""
    while True:
        over = time.monotonic() >= until
        try:
            target = target_of(settings, server)  # a node that starts says where it listens
            state = node_state(settings, target)
        except OtherInstallation:  # it listens where this node would by default
            if over:
                raise
        if state == SERVING or over:
            break
        time.sleep(POLL_INTERVAL_S)
    if json:
        print_json({"server": target, "ready": state == SERVING, "state": state})
    if state != SERVING:
        raise typer.Exit(1) if json else NodeUnreachable(f"the node at {target} is not ready: {state}")
    if not json:
        out.print(f"the node at {target} is ready")


def status(
    digests: Annotated[bool, typer.Option("--digests", help="Compute the digest of each active set, too.")] = False,
    server: Server = None,
    data_dir: DataDir = None,
    config: Config = None,
    json: Json = False,
) -> None:
    """Say versions, counts, the freshness of each operator's data, and whether the listener answers.

    Exit status: 0 if a node serves, 3 if none does, or not this caller; 1 if there is nothing to tell.

    With --server, or the setting server, the node says what this caller may know: an operator, of its own set.

    Example: numcheck status --json
    Example: numcheck status --digests --server numcheck.example:50051 --config operator.toml
    """
    from numcheck.cli.console import print_json

    settings, now = settings_of(config, data_dir=data_dir), datetime.now(UTC)
    if server or settings.server:
        show: Callable[[dict[str, Any]], None] = _print_answers
        result = _ask(settings, target_of(settings, server), now, digests=digests)
    else:
        result, show = _look(settings, now, digests=digests)
    if json:
        print_json(result)
    else:
        show(result)
    if "listener" in result and result["listener"]["state"] != "serving":
        raise typer.Exit(NOT_SERVED)


def _look(
    settings: "Settings", now: datetime, *, digests: bool
) -> tuple[dict[str, Any], Callable[[dict[str, Any]], None]]:
    """Return what a data directory holds, be it a node's or a follower's, and what prints it."""
    from numcheck.offline.follower_status import follower_status, is_followers
    from numcheck.offline.status import node_status

    if is_followers(settings):
        return follower_status(settings, now=now), _print_follower
    return node_status(settings, now=now, digests=digests), _print


def _print_follower(result: dict[str, Any]) -> None:
    from numcheck.cli.console import out, print_table

    edition, listener = result["edition"], result["listener"]
    out.print(f"data directory   {result['data_dir']}, a follower's")
    out.print(f"edition          {edition['error'] or _edition_line(result)}")
    out.print(f"signed by        {edition['publisher_key'] or 'nobody yet'}")
    out.print(f"listener         {listener['address']}: {listener['state']}")
    rows = [[one["name"], "followed" if one["followed"] else one["problem"]] for one in result["sources"]]
    print_table("sources", ["source", "state"], rows)


def _edition_line(result: dict[str, Any]) -> str:
    edition, lag = result["edition"], result["lag"]
    behind = "" if lag is None else f", {lag} behind its source"
    return f"version {edition['version']}{behind}, {edition['size'] / 1e6:,.1f} MB, {edition['age_s']:.0f} s old"


def _ask(settings: "Settings", target: str, now: datetime, *, digests: bool) -> dict[str, Any]:
    """Return what the node at `target` says of each operator's data, and of the portings; None for what this caller may
    not know."""
    from numcheck.cli.messages import message_fields
    from numcheck.client import PushClient

    with PushClient(target, security_of(settings)) as client:
        operators = [message_fields(one) for one in client.list_operators()]
        wanted = {one["operator_id"]: digests and one["data_version"] > 0 for one in operators}
        states = _states(client, wanted | {0: False})
    for one in operators:
        state = states.get(one["operator_id"])
        one["active"], one["digest"] = (state["number_count"], state["digest"] or None) if state else (None, None)
        one["age_s"] = one["data_time"] and (now - datetime.fromisoformat(one["data_time"])).total_seconds()
    state = states.get(0)
    portings = state and {key: state[name] for key, name in PORTINGS.items()}
    return {"server": target, "operators": operators, "portings": portings}


PORTINGS = {"version": "version", "numbers": "number_count", "data_time": "data_time"}


def _states(client: "PushClient", wanted: dict[int, bool]) -> dict[int, dict[str, Any]]:
    """Return the heads that this caller may know, by operator (0: the portings); `wanted` says where with the digest.

    The first refusal tells which those are, and so is the only one: each is a denial in the node's log.
    """
    from numcheck.cli.messages import message_fields
    from numcheck.errors import NotPermitted, PushRefused

    found, left = {}, dict(wanted)
    while left:
        operator_id = next(iter(left))
        digest = left.pop(operator_id)
        try:
            found[operator_id] = message_fields(client.state(operator_id, digest=digest))
        except PushRefused as refused:
            if refused.refusal != NotPermitted.reason:
                raise
            own = refused.refusal_metadata.get("operator_id")
            left = {one: digest for one, digest in left.items() if str(one) == own}
    return found


def _print_answers(result: dict[str, Any]) -> None:
    from numcheck.cli.console import out

    out.print(f"node             {result['server']}")
    _print_operators(result)


def _print(result: dict[str, Any]) -> None:
    from numcheck.cli.console import out, print_table

    label = "  SYNTHETIC data: made up, for trying out" if result["synthetic"] else ""
    out.print(f"data directory   {result['data_dir']}{label}")
    out.print(f"store            revision {result['revision']}, {result['engine']}")
    if result["callers"] is not None:
        out.print(f"callers          {_callers_line(result['callers'])}")
    out.print(f"index            {_index_line(result)}")
    listener = result["listener"]
    door = f" (the {listener['door']} door)" if listener["door"] else ""
    out.print(f"listener         {listener['address']}: {listener['state']}{door}")
    plan = [
        [
            one["series"],
            f"{one['ranges']:,}",
            f"{one['numbers']:,}",
            one["data_time"] or "not known",
            one["imported_at"],
            one["source"],
        ]
        for one in result["plan"]
    ]
    print_table("numbering plan", ["series", "#ranges", "#numbers", "data of", "imported", "from"], plan)
    _print_operators(result)
    _print_couriers(result)
    _print_nodes(result)
    for held in result["held_pushes"]:
        out.print(
            f"held: a push of operator {held['operator_id']} of {held['received_at']}, which adds {held['added']:,} "
            f"and removes {held['removed']:,}; `numcheck push confirm` applies it"
        )
    for lost in result["lost_history"]:
        out.print(_lost_line(lost))
    if result["engine_warning"]:
        out.print()
        out.print(result["engine_warning"])
    for warning in result["warnings"]:
        out.print()
        out.print(warning)


def _print_operators(result: dict[str, Any]) -> None:
    from numcheck.cli.console import out, print_table

    rows = [
        [str(one["operator_id"]), one["display_name"], _count(one["active"]), str(one["data_version"]), _age(one)]
        for one in result["operators"]
    ]
    print_table("operators' data", ["#id", "operator", "#active numbers", "#version", "age"], rows)
    digests = [[str(one["operator_id"]), one["digest"]] for one in result["operators"] if one["digest"]]
    if digests:
        print_table("digests", ["#id", "SHA-256"], digests)
    portings = result["portings"]
    if portings and portings["version"]:
        out.print()
        out.print(
            f"portings: {portings['numbers']:,} numbers, version {portings['version']}, of {portings['data_time']}"
        )


def _print_couriers(result: dict[str, Any]) -> None:
    """Print what became of codes, where the node has sent some; the share is of those that were judged."""
    from numcheck.cli.console import print_table

    rows = [
        [
            one["courier"],
            one["operator"] or "any",
            f"{one['returned']:,}",
            f"{one['lost']:,}",
            _percent(one["returned"], one["returned"] + one["lost"]),
            f"{one['delivered']:,}",
            f"{one['failed']:,}",
            "passed over" if one["rests"] else "serves",
        ]
        for one in result["couriers"]
    ]
    if rows:
        headings = ["courier", "#operator", "#came back", "#lost", "#share", "#delivered", "#not delivered", "state"]
        print_table("couriers' codes", headings, rows)


def _print_nodes(result: dict[str, Any]) -> None:
    """Print the nodes that have said that they live, and the background work that each does."""
    from numcheck.cli.console import print_table

    rows = [
        [
            one["name"],
            one["version"],
            one["started_at"],
            one["beat_at"],
            "-" if one["lag"] is None else str(one["lag"]),
            ", ".join(lease["name"] for lease in one["leases"]) or "-",
        ]
        for one in result["nodes"]
    ]
    if rows:
        print_table("nodes", ["node", "numcheck", "since", "last beat", "#behind by", "background work"], rows)


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.0f}%" if whole else "-"


def _count(count: int | None) -> str:
    """Return a count; a caller that may not know it sees a dash."""
    return "-" if count is None else f"{count:,}"


def _callers_line(callers: dict[str, Any]) -> str:
    if callers["refused"]:
        return f"REFUSED, nobody new is let in: {callers['refused']}; see `numcheck callers confirm-restore`"
    return f"revision {callers['revision']}, {callers['may_call']} may call"


def _lost_line(lost: dict[str, Any]) -> str:
    operators = ", ".join(
        f"operator {one['operator_id']} versions {one['version_found'] + 1} to {one['version_before']}"
        for one in lost["operators"]
    )
    revisions = f"revisions {lost['first_revision']} to {lost['last_revision']}"
    return f"LOST HISTORY: {revisions}, noticed {lost['noticed_at']}; of {operators or 'no operator that is known'}"


def _index_line(result: dict[str, Any]) -> str:
    index = result["index"]
    if index["error"]:
        return str(index["error"])
    size = f"{index['size'] / 1e6:,.1f} MB"
    return f"version {index['version']}, {result['lag']} behind the store, {size}"


def _age(operator: dict[str, Any]) -> str:
    if operator["age_s"] is None:
        return "no data"
    days, seconds = divmod(int(operator["age_s"]), 86_400)
    age = f"{days} d {seconds // 3_600} h" if days else f"{seconds // 3_600} h {seconds % 3_600 // 60} min"
    return age + (" (synthetic)" if operator["synthetic"] else "")
