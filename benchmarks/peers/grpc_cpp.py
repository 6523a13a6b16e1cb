"""A gRPC C++ server: `python -m benchmarks.peers.grpc_cpp ADDRESS [--index DIRECTORY] [--tls ...]`.

With a directory it answers from numcheck's index by numcheck's kernel, without one every answer is empty. With a
certificate, its key and the clients' authority it speaks TLS and asks for the client's certificate, as the node does.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.peers.build import grpc_server
from numcheck.index import open_index


def options_of_server() -> argparse.Namespace:
    """Return the arguments of a server that stands for a node."""
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--index", type=Path)
    parser.add_argument("--tls", type=Path, nargs=3, metavar=("CERTIFICATE", "KEY", "AUTHORITY"), default=())
    return parser.parse_args()


def main() -> None:
    """Serve until SIGTERM."""
    options = options_of_server()
    table = open_index(options.index).table if options.index else None
    if not grpc_server().serve(options.address, table, [file.read_bytes() for file in options.tls]):
        sys.exit(f"{options.address} cannot be listened on")


if __name__ == "__main__":
    main()
