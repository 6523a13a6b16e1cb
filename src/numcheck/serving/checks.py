"""Finds what would keep a node from serving by its settings, before one is started: nothing is opened to others."""

import os
import ssl
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from numcheck.config import Settings, foreign_variables, secrets_in
from numcheck.delivery.texts import parts_of
from numcheck.door.plain_door import host_and_port, warning_of
from numcheck.errors import BadConfiguration, NumcheckError
from numcheck.page.where import check_page
from numcheck.serving.couriers import check_delivery
from numcheck.serving.registrations import registration_warnings
from numcheck.serving.tracing import check_tracing
from numcheck.serving.webhooks import check_webhooks

MADE_LATER = {"keys_file"}  # by the node itself, when it starts first
SECRET = ("key_file", "secret_file", "password_file")  # ends of the names of settings


def problems_of(settings: Settings) -> list[str]:
    """Return what is wrong with settings that are well-formed, a line each."""
    listeners = _check_listen, _check_metrics_listen, _check_receipts_listen, _check_page_listen
    checks = (*listeners, _check_tls, check_delivery, check_webhooks, check_tracing)
    unreadable = list(_unreadable(settings))
    return unreadable or [problem for check in checks if (problem := _problem(check, settings)) is not None]


def warnings_of(settings: Settings) -> list[str]:
    """Return what a person should know of settings by which a node serves."""
    return [*filter(None, [warning_of(settings)]), *registration_warnings(settings), *exposed_secrets(settings)]


def exposed_secrets(settings: Settings) -> list[str]:
    """Warn of each file with a secret that every user of this machine can read. Keys that seal are refused instead."""
    files = {name: file for name, file in _files_of(settings).items() if name.endswith(SECRET)}
    if settings.config_file is not None:
        files |= dict.fromkeys(secrets_in(settings.config_file), settings.config_file)
    return [
        f"WARNING: {name}: every user of this machine can read {file}; chmod o= takes that away"
        for name, file in files.items()
        if file.exists() and file.stat().st_mode & stat.S_IROTH
    ]


def short_messages_of(settings: Settings) -> dict[str, int]:
    """Return how many short messages the longest text of each setting takes, if codes are sent at all."""
    if settings.code_delivery == "none" and not settings.couriers:
        return {}
    return {name: parts_of(text) for name, (_, text) in settings.longest_texts.items()}


def misspelt_variables() -> list[str]:
    """Return a line for each variable of the environment that is nearly a setting's."""
    found = foreign_variables(os.environ)
    return [f"{name} is no setting; the nearest is {near}" for name, near in found.items() if near]


def _unreadable(settings: Settings) -> Iterator[str]:
    for name, file in _files_of(settings).items():
        if name not in MADE_LATER and (reason := _reason(file)):
            yield f"{name}: {file}: {reason}"


def _files_of(settings: Settings) -> dict[str, Path]:
    """Return the files that settings name, by the settings' names."""
    tables: dict[str, Iterable[tuple[str, Any]]] = {"": settings}
    tables |= {f"operators.{name}.": one for name, one in settings.operators.items()}
    tables |= {f"couriers.{one.name}.": one for one in settings.couriers}
    tables |= {f"couriers.{one.name}.callback.": one.callback for one in settings.couriers if one.callback}
    tables |= {f"webhooks.{one.name}.": one for one in settings.webhooks}
    found = ((prefix + name, value) for prefix, one in tables.items() for name, value in one)
    return {name: value for name, value in found if name.endswith("_file") and value is not None}


def _reason(file: Path) -> str:
    try:
        with file.open("rb"):
            return ""
    except OSError as error:
        return (error.strerror or str(error)).lower()


def _problem(check: Callable[[Settings], None], settings: Settings) -> str | None:
    try:
        check(settings)
    except NumcheckError as error:
        return str(error)
    return None


def _check_listen(settings: Settings) -> None:
    host_and_port(settings.listen, anywhere=settings.tls)


def _check_metrics_listen(settings: Settings) -> None:
    if settings.metrics_listen is not None:
        host_and_port(settings.metrics_listen, anywhere=True)


def _check_receipts_listen(settings: Settings) -> None:
    if settings.receipts_listen is not None:
        host_and_port(settings.receipts_listen)


def _check_page_listen(settings: Settings) -> None:
    if settings.page_listen is not None:
        check_page(settings)


def _check_tls(settings: Settings) -> None:
    """Raise BadConfiguration unless the certificate is one, the key is its own, and the authority is one."""
    if settings.tls_certificate_file is None:
        return
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.tls_certificate_file, settings.tls_key_file, _no_password)
        if settings.tls_client_authority_file is not None:
            context.load_verify_locations(settings.tls_client_authority_file)
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error)
        raise BadConfiguration(
            f"the TLS files do not hold a certificate, its own key and an authority as PEM ({reason})"
        ) from None


def _no_password() -> str:
    raise ValueError("the key is sealed by a password")
