"""Refuses calls that come while the listener stops, before its connections are told to go away.

A stopping grpcio cancels calls that it has not begun: a caller learns neither why, nor that the call may be repeated.
"""

import threading
from functools import partial
from typing import Any, NoReturn

import grpc

from numcheck.door.handlers import behind
from numcheck.door.refusing import refuse
from numcheck.errors import NodeStopping

HELD_MAX_S = 1.0
STOPPING = "this node is stopping; ask another one, or ask again"
"""The message of a call that comes, or still goes on, when the node stops."""


class Draining(grpc.ServerInterceptor):
    """Passes calls on until `begin`; calls that came before go on.

    Later calls wait for `leave`, which is called once the connections have been told to go away, and are refused then:
    a client that repeats refused calls at once has none on its way at that moment.
    """

    def __init__(self) -> None:
        self._begun, self._left = False, threading.Event()

    def begin(self) -> None:
        """Refuse the calls that come from now on."""
        self._begun = True

    def leave(self) -> None:
        """Refuse the calls that wait."""
        self._left.set()

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        """Return the method's handler, or one that refuses in its place."""
        handler = continuation(details)
        # A function, as grpcio's attributes of its behaviour are set on it.
        return behind(handler, lambda _behaviour: partial(self._refuse)) if self._begun and handler else handler

    def _refuse(self, _request: Any, context: grpc.ServicerContext, *_rest: Any) -> NoReturn:
        self._left.wait(HELD_MAX_S)
        refuse(context, NodeStopping(STOPPING))
