"""Connections to the plain door: how many there are and how long one lives without a call is bounded (R6)."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from numcheck.config import Settings
from numcheck.door import plain_door
from numcheck.door.plain_door import PlainDoor
from numcheck.door.watches import Watches
from tests.api.calls import DEADLINE_S
from tests.conformance.http2 import EMPTY_SETTINGS, PREFACE

SOON_S, NEVER_S = 0.3, 600.0
PATIENCE_S = 20.0


@contextmanager
def listening() -> Iterator[PlainDoor]:
    door = PlainDoor(Settings(listen="127.0.0.1:0"), [], Watches())
    try:
        yield door
    finally:
        door.stop(0)


def connected(door: PlainDoor) -> socket.socket:
    host, _, port = door.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=PATIENCE_S)


def await_end(peer: socket.socket) -> None:
    """Read to the end; TimeoutError if it does not come."""
    try:
        while peer.recv(1_024):
            pass
    except ConnectionError:
        pass


def ask(channel: grpc.Channel) -> None:
    health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=DEADLINE_S)


def test_peer_that_does_not_begin_to_speak_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_door, "HANDSHAKE_TIMEOUT_S", SOON_S)
    monkeypatch.setattr(plain_door, "IDLE_TIMEOUT_S", NEVER_S)
    with listening() as door, connected(door) as silent:
        await_end(silent)


def test_connection_without_a_call_is_ended_and_its_client_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger's and a known client's; one with a watch stays."""
    monkeypatch.setattr(plain_door, "HANDSHAKE_TIMEOUT_S", NEVER_S)
    monkeypatch.setattr(plain_door, "IDLE_TIMEOUT_S", SOON_S)
    options = [("grpc.use_local_subchannel_pool", 1)]
    with listening() as door, ExitStack() as opened:
        watching, idle = (opened.enter_context(grpc.insecure_channel(door.address, options=options)) for _ in range(2))
        watch = health_pb2_grpc.HealthStub(watching).Watch(health_pb2.HealthCheckRequest(), timeout=DEADLINE_S)
        next(watch)
        ask(idle)
        stranger = opened.enter_context(connected(door))
        stranger.sendall(PREFACE + EMPTY_SETTINGS)
        await_end(stranger)
        ask(idle)
        door.set_serving(serving=True)
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING


def test_connections_too_many_are_closed_and_those_before_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_door, "HANDSHAKE_TIMEOUT_S", NEVER_S)
    monkeypatch.setattr(plain_door, "CONNECTIONS_MAX", 2)
    with listening() as door, ExitStack() as opened:
        caller = opened.enter_context(grpc.insecure_channel(door.address))
        ask(caller)
        opened.enter_context(connected(door))
        for _ in range(3):
            await_end(opened.enter_context(connected(door)))
        ask(caller)
