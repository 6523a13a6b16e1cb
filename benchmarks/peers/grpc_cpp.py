"""A gRPC C++ server in a process of its own: `python -m benchmarks.peers.grpc_cpp ADDRESS [INDEX DIRECTORY]`.

With a directory it answers from numcheck's index by numcheck's kernel, without one every answer is empty.
"""

import sys
from pathlib import Path

from benchmarks.peers.build import grpc_server
from numcheck.index import open_index


def main() -> None:
    address, *directory = sys.argv[1:]
    table = open_index(Path(directory[0])).table if directory else None
    if not grpc_server().serve(address, table):
        sys.exit(f"{address} cannot be listened on")


if __name__ == "__main__":
    main()
