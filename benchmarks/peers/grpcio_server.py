"""A grpcio server: `python -m benchmarks.peers.grpcio_server ADDRESS --index DIRECTORY [--tls ...]`.

It answers CheckNumbers by numcheck's kernel, which reads and writes protobuf, and does nothing else.
"""

import signal
from concurrent.futures import ThreadPoolExecutor

import grpc

from benchmarks.peers.grpc_cpp import options_of_server
from numcheck.index import open_index

NUMBERS_MAX = 65_536
THREADS = 8


def main() -> None:
    """Serve until SIGTERM."""
    options = options_of_server()
    ask = open_index(options.index).table.check_numbers
    server = grpc.server(ThreadPoolExecutor(THREADS))
    check = grpc.unary_unary_rpc_method_handler(lambda request, _: ask(request, numbers_per_call_max=NUMBERS_MAX))
    server.add_registered_method_handlers("numcheck.v1.CheckService", {"CheckNumbers": check})
    if options.tls:
        certificate, key, authority = (file.read_bytes() for file in options.tls)
        server.add_secure_port(options.address, grpc.ssl_server_credentials([(key, certificate)], authority, True))
    else:
        server.add_insecure_port(options.address)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    server.start()
    signal.sigwait({signal.SIGTERM})
    server.stop(None)


if __name__ == "__main__":
    main()
