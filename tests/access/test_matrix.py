"""R7: the whole matrix of callers, methods and objects, from the one table, over mutual TLS, on both doors.

Each call would succeed for its rightful caller, and does; so what is denied is denied for who calls and nothing else.
"""

import sqlite3
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from numcheck.access import METHODS, About, Caller, Role
from numcheck.offline.authority import issue_client
from numcheck.v1 import audit_pb2, caller_pb2, check_pb2, edition_pb2, numbering_pb2, registration_pb2
from tests.access import calls
from tests.access.node import ALPHA, BETA, CALLERS, NOW, SecureNode, secure_node

SERVED = {
    f"/{service.full_name}/{method.name}"
    for file in (
        *(audit_pb2, caller_pb2, check_pb2, edition_pb2, numbering_pb2, registration_pb2),
        *(health_pb2, reflection_pb2),
    )
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
SERVED |= {method.replace(".v1alpha.", ".v1.") for method in SERVED}
CHECK, NUMBERING = "/numcheck.v1.CheckService/", "/numcheck.v1.NumberingService/"
REGISTRATION, CALLER = "/numcheck.v1.RegistrationService/", "/numcheck.v1.CallerService/"
AUDIT, EDITION = "/numcheck.v1.AuditService/", "/numcheck.v1.EditionService/"
HEALTH = "/grpc.health.v1.Health/"
ABOUT_AN_OPERATOR = {
    f"{NUMBERING}PushActiveNumbers": calls.push,
    f"{NUMBERING}ConfirmPush": calls.confirm,
    f"{NUMBERING}RejectHeldPush": calls.reject,
    f"{NUMBERING}ListHeldPushes": calls.held,
    f"{NUMBERING}GetOperatorState": calls.state,
    f"{NUMBERING}WatchIdentifications": calls.identifications,
}
STRANGERS = {"revoked", "unknown"}
REFLECTION = {method for method in SERVED if "reflection" in method}
Make = Callable[[SecureNode], calls.Call]


def case(method: str, thing: Any) -> Make:
    """What makes a call of the method, about an operator or a service if it is about one."""
    name = method.rpartition("/")[2]
    if method in ABOUT_AN_OPERATOR:
        return lambda node: ABOUT_AN_OPERATOR[method](node, thing)
    if method.startswith(REGISTRATION):
        return lambda node: calls.registration(node, name, thing)
    if method.startswith(CALLER):
        return lambda node: calls.caller(node, name)
    if method.startswith(CHECK):
        return lambda _node: calls.check(name)
    if method.startswith(HEALTH):
        return lambda _node: calls.health(name)
    others: dict[str, Make] = {
        **{one: lambda _node: calls.audit(name) for one in METHODS if one.startswith(AUDIT)},
        f"{EDITION}WatchEditions": lambda _node: calls.watch_editions,
        f"{EDITION}FetchFile": calls.fetch_file,
        f"{NUMBERING}PushPortings": calls.push_portings,
        f"{NUMBERING}ImportNumberingPlan": calls.import_plan,
        f"{NUMBERING}WatchIndex": lambda _node: calls.watch_index,
        **dict.fromkeys(REFLECTION, lambda _node: calls.reflect(method)),
    }
    return others[method]


def things(method: str) -> list[Any]:
    """What a method may be about."""
    if method in (f"{NUMBERING}GetOperatorState", f"{NUMBERING}ListHeldPushes"):
        return [ALPHA, BETA, 0]
    if method in ABOUT_AN_OPERATOR:
        return [ALPHA, BETA]
    return ["chat", "other"] if method.startswith(REGISTRATION) else [None]


def allowed(caller: Caller, method: str, thing: Any) -> bool:
    """The rule, in other words than the program's."""
    if caller.role not in METHODS[method].roles:
        return False
    match caller.role:
        case Role.OPERATOR if method in ABOUT_AN_OPERATOR:
            return bool(thing == caller.operator_id)
        case Role.CLEARING_HOUSE if method in ABOUT_AN_OPERATOR:
            return bool(thing == 0)
        case Role.MESSENGER if method.startswith(REGISTRATION):
            return bool(thing == caller.service)
    return True


CASES = [
    (listener, method, thing)
    for listener in ("api", "native")
    for method in sorted(METHODS)
    for thing in things(method)
]


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    """With a certificate of a revoked caller and one of nobody's, and a token of each caller."""
    with secure_node(tmp_path_factory.mktemp("secure")) as one:
        for name in STRANGERS:
            issue_client(one.directory, name, f"numcheck://{name}", now=NOW.now(NOW.tzinfo))
        one.control.callers.add(Caller("numcheck://revoked", Role.ADMINISTRATOR), now=NOW)
        one.control.callers.revoke("numcheck://revoked", now=NOW)
        one.control.directory.refresh()
        yield one


def code_of(call: Callable[[], Any]) -> grpc.StatusCode:
    try:
        call()
    except grpc.RpcError as error:
        return error.code()
    return grpc.StatusCode.OK


def contents(node: SecureNode) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table but the denials', read past the program."""
    file = node.directory.parent / "data" / "numcheck.db"
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in tables}
    connection.close()
    assert {"callers", "pushes", "registrations", "events", "denials"} <= found.keys()
    return {name: rows for name, rows in found.items() if name not in ("denials", "sqlite_sequence")}


def test_table_has_every_method_that_is_served():
    """From the descriptors: a new method that nobody gave a row, or no call here, fails this."""
    about = {method: row.about for method, row in METHODS.items() if row.about is not About.NOBODY}
    assert about == {
        **dict.fromkeys(ABOUT_AN_OPERATOR, About.OPERATOR),
        **{method: About.SERVICE for method in METHODS if method.startswith(REGISTRATION)},
    }
    assert METHODS.keys() == {method for method in SERVED if not method.endswith("Health/List")}
    for method in METHODS:
        for thing in things(method):
            assert callable(case(method, thing))


@pytest.mark.parametrize(("listener", "method", "thing"), CASES)
@pytest.mark.parametrize("name", [*CALLERS, *sorted(STRANGERS)])
def test_caller_may_call_what_the_table_says_and_nothing_else(node, name, listener, method, thing):
    """Who may, succeeds; who may not is refused, which is kept, and no byte of the store is another."""
    call = case(method, thing)(node)
    node.forget_denials()
    before = contents(node)
    with node.channel(name, listener=listener) as channel:
        code = code_of(lambda: call(channel))
    if name not in STRANGERS and allowed(CALLERS[name], method, thing):
        assert (code, node.denied()) == (grpc.StatusCode.OK, 0)
        return
    stranger = name in STRANGERS
    assert code == (grpc.StatusCode.UNAUTHENTICATED if stranger else grpc.StatusCode.PERMISSION_DENIED)
    assert contents(node) == before
    assert node.denied() == 1
    (denial,) = node.store.last_denials(1)
    uri = f"numcheck://{name}" if stranger else CALLERS[name].uri
    assert (denial.uri, denial.method) == (uri, method)
    assert denial.reason == ("NOT_AUTHENTICATED" if stranger else "NOT_PERMITTED")


@pytest.mark.parametrize("listener", ["api", "native"])
@pytest.mark.parametrize(
    "method", [f"{CHECK}None", "/numcheck.v2.CheckService/CheckNumbers", "/grpc.health.v1.Health/X"]
)
def test_method_that_is_not_there_is_told_to_whom_is_known_and_to_nobody_else(node, listener, method):
    for name, code in (
        ("messenger", grpc.StatusCode.UNIMPLEMENTED),
        ("auditor", grpc.StatusCode.UNIMPLEMENTED),
        ("unknown", grpc.StatusCode.UNAUTHENTICATED),
        ("revoked", grpc.StatusCode.UNAUTHENTICATED),
    ):
        with node.channel(name, listener=listener) as channel:
            assert code_of(lambda channel=channel: channel.unary_unary(method)(b"", timeout=5)) == code
