"""Finds what would keep a node from serving by its settings, before one is started: nothing is opened to others."""

import os
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

from numcheck.config import Settings, foreign_variables
from numcheck.delivery.texts import parts_of
from numcheck.door.plain_door import host_and_port, warning_of
from numcheck.errors import BadConfiguration, NumcheckError
from numcheck.serving.couriers import check_delivery
from numcheck.serving.registrations import policy_warnings
from numcheck.serving.webhooks import check_webhooks

MADE_LATER = {"keys_file"}  # by the node itself, when it starts first


def problems_of(settings: Settings) -> list[str]:
    """Return what is wrong with settings that are well-formed, a line each."""
    checks = (_check_listen, _check_metrics_listen, _check_receipts_listen, _check_tls, check_delivery, check_webhooks)
    unreadable = list(_unreadable(settings))
    return unreadable or [problem for check in checks if (problem := _problem(check, settings)) is not None]


def warnings_of(settings: Settings) -> list[str]:
    """Return what a person should know of settings by which a node serves."""
    return [*filter(None, [warning_of(settings)]), *policy_warnings(settings)]


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
    files = {name: getattr(settings, name) for name in Settings.model_fields if name.endswith("_file")}
    for operator, one in settings.operators.items():
        files |= {f"operators.{operator}.{name}": file for name, file in one if name.endswith("_file")}
    for name, file in files.items():
        if file is not None and name not in MADE_LATER and (reason := _reason(file)):
            yield f"{name}: {file}: {reason}"


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
