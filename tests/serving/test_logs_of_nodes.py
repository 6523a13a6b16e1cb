"""What a node writes, in every form and at every level: JSON lines, each call's with its ids; an outage in one line; no
number, code, address or user identifier of any request (R11)."""

import json
import re
import signal
import urllib.request
from pathlib import Path
from typing import Any

import grpc
import psycopg
import pytest
from google.protobuf import timestamp_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from numcheck.access import METHODS, Runs
from numcheck.door.native_door import LACKING
from numcheck.v1 import audit_pb2, caller_pb2, check_pb2, edition_pb2, numbering_pb2, registration_pb2
from tests.serving.collector import collecting
from tests.serving.command import NUMCHECK, PLAIN, serving
from tests.serving.small import fill

DOORS = {"plain": (*PLAIN, "serve"), **({"native": (*NUMCHECK, "serve")} if LACKING is None else {})}
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
NUMBER = 79167654321
TEXT = "canary-79167654321"
ADDRESS = "203.0.113.79"
CODE = "791676"
CANARIES = (str(NUMBER)[1:], "canary", ADDRESS, CODE, NUMBER.to_bytes(8, "little").hex())
FILES = (check_pb2, numbering_pb2, registration_pb2, caller_pb2, audit_pb2, edition_pb2)
KINDS = {(False, False): "unary_unary", (False, True): "unary_stream", (True, False): "stream_unary"}


def methods() -> dict[str, Any]:
    """Every method of the API, by its path."""
    services = [one for file in FILES for one in file.DESCRIPTOR.services_by_name.values()]
    return {f"/{service.full_name}/{method.name}": method for service in services for method in service.methods}


def with_canaries(message: Message, *, text: str, depth: int = 3) -> Message:
    """The message with a canary in every field that has room for one."""
    for field in message.DESCRIPTOR.fields:
        is_many = field.is_repeated if hasattr(field, "is_repeated") else field.label == FieldDescriptor.LABEL_REPEATED
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            getattr(message, field.name)["login"] = text
        elif isinstance(getattr(message, field.name), timestamp_pb2.Timestamp):
            getattr(message, field.name).FromSeconds(1_000_000_000)
        elif field.message_type is not None:
            if depth:
                inner = getattr(message, field.name)
                with_canaries(inner.add() if is_many else inner, text=text, depth=depth - 1)
        elif (value := value_of(field, text)) is not None:
            if is_many:
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)
    return message


def value_of(field: FieldDescriptor, text: str) -> Any:
    if field.type in (field.TYPE_STRING, field.TYPE_BYTES):
        value = {"service": "canary", "code": CODE, "address": ADDRESS}.get(field.name, text)
        return value if field.type == field.TYPE_STRING else value.encode()
    if field.type in (field.TYPE_FIXED64, field.TYPE_UINT64, field.TYPE_SFIXED64, field.TYPE_INT64):
        return NUMBER
    return None


def call(channel: grpc.Channel, path: str, request: bytes, method: Any) -> str:
    """Call a method; what its error says of itself, if it ends with one."""
    kind = KINDS.get((method.client_streaming, method.server_streaming), "stream_stream")
    made = getattr(channel, kind)(path)
    metadata = [("traceparent", TRACE), ("x-canary", TEXT), ("grpc-previous-rpc-attempts", CODE)]
    try:
        answer = made(
            iter([request]) if method.client_streaming else request, timeout=20, metadata=metadata, wait_for_ready=True
        )
        if method.server_streaming:
            next(iter(answer), None)
            answer.cancel()
    except grpc.RpcError as error:
        trailing = [
            value if isinstance(value, bytes) else value.encode() for _, value in error.trailing_metadata() or ()
        ]
        return f"{error.details()} {b''.join(trailing)!r}"
    return ""


@pytest.mark.parametrize("door", DOORS)
def test_no_line_metric_error_or_trace_repeats_what_was_asked(tmp_path: Path, door: str) -> None:
    """Of every method, with canaries in every field, and in what cannot be read, at the level that tells most.

    A service's own name, an operator's, and a push's id are words that a caller chose, and are no subscriber's.
    """
    env = {"NUMCHECK_LOG_LEVEL": "debug", "NUMCHECK_METRICS_LISTEN": "127.0.0.1:0", "NUMCHECK_THREADS": "1"}
    told: list[str] = []
    assert {path for path in METHODS if "numcheck" in path} == methods().keys()
    with (
        collecting() as collector,
        serving(fill(tmp_path / "var"), command=DOORS[door], env=env | collector.env) as node,
    ):
        metrics = node.process.line_with("metrics ready on ").split("http://")[1].split("/")[0]
        with grpc.insecure_channel(node.address) as channel:
            for path, method in methods().items():
                message = GetMessageClass(method.input_type)
                for request in (
                    with_canaries(message(), text=TEXT).SerializeToString(),
                    with_canaries(message(), text=str(NUMBER)).SerializeToString(),
                    b"\xff" + TEXT.encode(),
                ):
                    told.append(call(channel, path, request, method))
        with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=10) as answer:
            told.append(answer.read().decode())
        node.process.signal(signal.SIGTERM)
        assert node.process.wait() == 0
        lines = [json.loads(line) for line in node.process.lines]
        told.append(collector.text)
    lasting = {path for path, one in METHODS.items() if one.runs in (Runs.WATCH, Runs.FEED)}
    assert {f"/{span.name}" for span in collector.spans} >= methods().keys() - lasting
    whole = "\n".join([*told, *node.process.lines])
    assert len(whole) > 5_000
    assert [one for one in whole.splitlines() if any(canary in one for canary in CANARIES)] == []
    assert all({"time", "level", "event"} <= line.keys() for line in lines)


@pytest.mark.parametrize("door", DOORS)
def test_a_line_of_a_call_has_its_id_and_its_callers_trace(tmp_path: Path, door: str) -> None:
    """A damaged block is told by a line that belongs to the call that met it, whatever carries the calls."""
    data_dir = fill(tmp_path / "var")
    with serving(data_dir, command=DOORS[door], env={"NUMCHECK_THREADS": "1"}) as node:
        import sqlite3  # noqa: PLC0415

        with sqlite3.connect(data_dir / "numcheck.db") as database:
            database.execute("UPDATE heads SET digest = zeroblob(32), number_count = number_count + 1")
        with grpc.insecure_channel(node.address) as channel:
            state = channel.unary_unary("/numcheck.v1.NumberingService/GetOperatorState")
            request = numbering_pb2.GetOperatorStateRequest(operator_id=1).SerializeToString()
            with pytest.raises(grpc.RpcError) as refused:
                state(request, timeout=20, metadata=[("traceparent", TRACE)])
        assert refused.value.code() is grpc.StatusCode.DATA_LOSS
        line = json.loads(node.process.line_with("call failed"))
        assert line["trace_id"] == TRACE.split("-")[1]
        assert re.fullmatch("[0-9a-f]{16}", line["request_id"])


def test_a_database_that_is_away_is_one_line_and_another_when_it_is_back(tmp_path: Path, server: Any) -> None:
    """However many threads of the node ask it again and again."""
    url = server.new_database()
    name = re.search(r"/(numcheck_\d+)\?", url)
    assert name is not None
    fill(tmp_path / "var", url)
    with serving(tmp_path / "var", env={"NUMCHECK_DATABASE_URL": url, "NUMCHECK_THREADS": "1"}) as node:
        with psycopg.connect(url.replace(name[1], "postgres"), autocommit=True) as other:
            other.execute(f"ALTER DATABASE {name[1]} ALLOW_CONNECTIONS false")
            other.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name[1]])
            node.process.line_with("the store cannot be")
            with grpc.insecure_channel(node.address) as channel:
                for _ in range(20):
                    call(channel, "/numcheck.v1.NumberingService/GetOperatorState", b"\x08\x01", STATE)
            other.execute(f"ALTER DATABASE {name[1]} ALLOW_CONNECTIONS true")
            node.process.line_with("the store is used again")
        lines = [json.loads(line) for line in node.process.lines]
    errors = [line["event"] for line in lines if line["level"] == "error"]
    assert [event.partition(" be ")[0] for event in errors] == ["the store cannot"]
    assert [line["event"] for line in lines].count("the store is used again") == 1


STATE = numbering_pb2.DESCRIPTOR.services_by_name["NumberingService"].methods_by_name["GetOperatorState"]
