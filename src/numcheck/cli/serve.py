"""`numcheck serve`: runs a node."""

from typing import Annotated

import typer

from numcheck.cli.options import Config, DataDir, settings_of
from numcheck.config import load_settings

Listen = Annotated[
    str | None,
    typer.Option(help="host:port of every service; port 0 takes a free one.  (default: 127.0.0.1:50051)"),
]
Threads = Annotated[int | None, typer.Option(min=1, help="Event loops.  (default: one a core)")]
MetricsListen = Annotated[
    str | None, typer.Option(help="host:port of /metrics, /healthz and /readyz.  (default: none)")
]


def serve(
    data_dir: DataDir = None,
    config: Config = None,
    listen: Listen = None,
    threads: Threads = None,
    metrics_listen: MetricsListen = None,
    page_listen: Annotated[str | None, typer.Option(help="host:port of the page for people.  (default: none)")] = None,
) -> None:
    """Run a node until SIGTERM or Ctrl-C, then let the calls under way end.

    When it serves, its log says `ready on HOST:PORT`, on standard error; `numcheck ready --wait 60` waits for that. On
    SIGHUP it takes those settings anew that `numcheck config sample` marks.

    Example: numcheck serve --data-dir var --listen 127.0.0.1:50051
    """
    from numcheck.cli.console import say
    from numcheck.serving.checks import misspelt_variables
    from numcheck.serving.node import announce
    from numcheck.serving.node import serve as serve_node

    listening = {"listen": listen, "metrics_listen": metrics_listen, "page_listen": page_listen}
    given = {"data_dir": data_dir, "threads": threads, **listening}
    settings = settings_of(config, **given)
    for warning in misspelt_variables():
        announce(f"WARNING: {warning}")
    serve_node(settings, lambda line: say(f"numcheck: {line}"), lambda: load_settings(config, **given))
