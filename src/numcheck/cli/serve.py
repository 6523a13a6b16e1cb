"""`numcheck serve`: runs a node."""

from typing import Annotated

import typer

from numcheck.cli.options import Config, DataDir, settings_of


def serve(
    data_dir: DataDir = None,
    config: Config = None,
    api_listen: Annotated[
        str | None,
        typer.Option(help="host:port of the API listener; port 0 takes a free one.  [default: 127.0.0.1:50051]"),
    ] = None,
    check_listen: Annotated[
        str | None, typer.Option(help="host:port of the native listener, where this build has one.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Threads of the API listener.  [default: 16]")] = None,
) -> None:
    """Run a node until SIGTERM or Ctrl-C, then let the calls under way end.

    Example: numcheck serve --data-dir var --api-listen 127.0.0.1:50051
    """
    from numcheck.cli.console import say
    from numcheck.serving.node import serve as serve_node

    settings = settings_of(config, data_dir=data_dir, api_listen=api_listen, threads=threads)
    if check_listen is not None:
        say("numcheck: this build has no native listener; the API listener serves everything")
    serve_node(settings, lambda line: say(f"numcheck: {line}"))
