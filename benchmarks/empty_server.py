"""A grpcio server with numcheck's own options and a handler that does nothing: what bench_rpc.py compares with."""

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

from numcheck.config import Settings
from numcheck.door.plain_door import server_options
from numcheck.serving.node import Signals


def main() -> None:
    settings = Settings()
    server = grpc.server(
        ThreadPoolExecutor(settings.threads),
        options=server_options(settings),
        maximum_concurrent_rpcs=settings.concurrent_rpcs_max,
    )
    handlers = {"CheckNumbers": grpc.unary_unary_rpc_method_handler(lambda request, context: b"")}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("numcheck.v1.CheckService", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    signals = Signals()
    sys.stderr.write(f"ready on 127.0.0.1:{port} \n")
    sys.stderr.flush()
    signals.wait_for_stop(lambda: None)
    server.stop(1).wait()


if __name__ == "__main__":
    main()
