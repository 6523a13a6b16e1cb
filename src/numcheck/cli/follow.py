"""`numcheck follow`: runs a check-only node from what other nodes publish."""

from pathlib import Path
from typing import Annotated

import typer

from numcheck.cli.options import Config, security_of, settings_of
from numcheck.cli.serve import Listen, MetricsListen, Threads
from numcheck.config import load_settings


def follow(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="NODE...", help="host:port of nodes or followers, or directories that a node publishes to."
        ),
    ],
    data_dir: Annotated[
        Path | None,
        typer.Option("--data-dir", envvar="NUMCHECK_DATA_DIR", help="Where the editions are kept.  (default: var)"),
    ] = None,
    config: Config = None,
    listen: Listen = None,
    threads: Threads = None,
    metrics_listen: MetricsListen = None,
    publisher_key: Annotated[
        str | None,
        typer.Option("--key", help="The key that signs editions, 64 hexadecimal digits.  (default: the first one met)"),
    ] = None,
) -> None:
    """Run a follower until SIGTERM or Ctrl-C: a check-only node without a database. It asks one source at a time, and
    the next where one fails; without any it answers from what it has.

    Example: numcheck follow --data-dir follower node1.example:50051 node2.example:50051 --config follower.toml
    Example: numcheck follow --data-dir follower --listen 127.0.0.1:50052 127.0.0.1:50051
    """
    from numcheck.client.channel import open_channel
    from numcheck.serving.follower import follow as run_follower

    given = {
        "data_dir": data_dir,
        "listen": listen,
        "threads": threads,
        "metrics_listen": metrics_listen,
        "publisher_key": publisher_key,
    }
    settings = settings_of(config, **given)
    security = security_of(settings)
    run_follower(
        settings,
        sources,
        lambda target: open_channel(target, security),
        lambda: load_settings(config, **given),
    )
