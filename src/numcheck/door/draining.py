"""Refuses calls that come when the listener stops, before its connections are told to go.

grpcio, once it stops, cancels a call that it has not begun: its caller learns neither why, nor that it may be repeated.
"""

import threading
from typing import Any, NoReturn

import grpc

from numcheck.door.handlers import behind
from numcheck.door.refusing import refuse
from numcheck.errors import NodeStopping

HELD_MAX_S = 1.0
STOPPING = "this node is stopping; ask another one, or ask again"
"""What a call is told that comes, or still goes on, when the node stops."""


class Draining(grpc.ServerInterceptor):
    """Lets calls through until `begin`; those that came before go on.

    Those that come behind it are refused when `leave` says that the connections have been told to go: until then they
    wait, so that a client which calls again and again has no other call on its way just then.
    """

    def __init__(self) -> None:
        self._begun, self._left = False, threading.Event()

    def begin(self) -> None:
        """Refuse the calls that come from now on."""
        self._begun = True

    def leave(self) -> None:
        """Answer those that wait."""
        self._left.set()

    def intercept_service(self, continuation: Any, details: Any) -> Any:
        """Return the method's handler, or one that refuses in its place."""
        handler = continuation(details)
        return behind(handler, lambda _behaviour: self._refuse) if self._begun and handler is not None else handler

    def _refuse(self, _request: Any, context: grpc.ServicerContext, *_rest: Any) -> NoReturn:
        self._left.wait(HELD_MAX_S)
        refuse(context, NodeStopping(STOPPING))
