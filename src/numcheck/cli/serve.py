"""`numcheck serve`: runs a node."""

from typing import Annotated

import typer

from numcheck.cli.options import Config, DataDir, settings_of


def serve(
    data_dir: DataDir = None,
    config: Config = None,
    listen: Annotated[
        str | None,
        typer.Option(help="host:port of every service; port 0 takes a free one.  (default: 127.0.0.1:50051)"),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="Event loops.  (default: one a core)")] = None,
) -> None:
    """Run a node until SIGTERM or Ctrl-C, then let the calls under way end.

    Example: numcheck serve --data-dir var --listen 127.0.0.1:50051
    """
    from numcheck.cli.console import say
    from numcheck.serving.node import serve as serve_node

    settings = settings_of(config, data_dir=data_dir, listen=listen, threads=threads)
    serve_node(settings, lambda line: say(f"numcheck: {line}"))
