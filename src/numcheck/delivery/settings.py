"""Settings of a courier, and of a webhook: the address, and what is sent there."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from numcheck.hosts import is_loopback
from numcheck.names import CHANNEL_RULE, SERVICE_RULE, is_channel, is_service

ANY_CHANNEL = frozenset({"sms", "call", "flash_call"})
"""Channels of a courier that says nothing of its own, and can serve any that it names."""
FIELDS = frozenset({"number", "code", "text", "language", "channel", "service", "message_id", "secret"})
"""Names that a template may have in braces."""
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
FIELD = re.compile(r"\{(\w*)\}")


def pattern(value: str) -> str:
    """Return a regular expression; ValueError if it is none."""
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return value


Pattern = Annotated[str, AfterValidator(pattern)]


class CallbackSettings(BaseModel):
    """How an HTTP gateway reports what became of its messages: where an answer names the message, and what it says."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    secret_file: Path
    message_id: str = "message_id"
    """Names of fields, joined by dots."""
    status: str = "status"
    delivered: Pattern = "(?i)delivered"
    failed: Pattern = "(?i)failed|undelivered|undeliverable|rejected|expired|deleted"


def channel_name(value: str) -> str:
    """Return a channel's name; ValueError if it is none."""
    if not is_channel(value):
        raise ValueError(CHANNEL_RULE)
    return value


ChannelName = Annotated[str, AfterValidator(channel_name)]


class CourierSettings(BaseModel):
    """A courier of `[[couriers]]`: an HTTP gateway, an SMSC, or the console."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    url: str
    channels: Annotated[list[ChannelName], Field(min_length=1)] | None = None
    """None: those that its kind has."""

    # An HTTP gateway. Without `body`, `form` or `query` it gets the request of Standard Webhooks.
    secret_file: Path | None = None
    method: Literal["POST", "PUT", "GET"] = "POST"
    headers: dict[str, str] = Field({}, repr=False)  # these four may hold a vendor's password
    query: dict[str, str] = Field({}, repr=False)
    body: dict[str, Any] | None = Field(None, repr=False)
    form: dict[str, str] | None = Field(None, repr=False)
    success: Pattern | None = None
    callback: CallbackSettings | None = None

    # An SMSC.
    system_id: str = ""
    password_file: Path | None = None
    source_address: str = ""
    receive: bool = True
    receipts: bool = True

    @property
    def scheme(self) -> str:
        """The kind of the courier: "console", "http", "https" or "smpp"; anything else is none."""
        return self.url.partition("://")[0]

    @property
    def is_templated(self) -> bool:
        """True if the settings say what a request to the gateway looks like."""
        return self.body is not None or self.form is not None or bool(self.query)

    @property
    def templates(self) -> Iterator[str]:
        """Every text in which fields are filled in."""
        for part in (self.headers, self.query, self.body, self.form):
            yield from _texts(part)

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        if self.body is not None and self.form is not None:
            raise ValueError("body and form exclude each other")
        unknown = {name for text in self.templates for name in FIELD.findall(text)} - FIELDS
        if unknown:
            raise ValueError(f"there is no field {{{min(unknown)}}}; there are {', '.join(sorted(FIELDS))}")
        return self


def service_name(value: str) -> str:
    """Return a service's name; ValueError if it is none."""
    if not is_service(value):
        raise ValueError(SERVICE_RULE)
    return value


class WebhookSettings(BaseModel):
    """A webhook of `[[webhooks]]`: the receiver of a service's events."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Name
    service: Annotated[str, AfterValidator(service_name)]
    url: str
    secret_file: Path
    from_start: bool = False
    """True: from the service's first event on; otherwise those that come once the webhook is there."""

    @property
    def host(self) -> str:
        """The receiver's host."""
        return urlsplit(self.url).hostname or ""

    @model_validator(mode="after")
    def _is_protected(self) -> Self:
        scheme = urlsplit(self.url).scheme
        if not self.host or scheme not in ("http", "https"):
            raise ValueError("url must be that of an HTTPS server")
        if scheme == "http" and not is_loopback(self.host):
            raise ValueError("url must begin with https:// beyond loopback: events name users")
        return self


def _texts(part: Any) -> Iterator[str]:
    """Yield every text in tables and lists of a TOML file."""
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict):
        for value in part.values():
            yield from _texts(value)
    elif isinstance(part, list):
        for value in part:
            yield from _texts(value)
