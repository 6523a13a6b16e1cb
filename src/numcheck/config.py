"""Every setting, typed: from the command line, the environment (NUMCHECK_...), a TOML file, or its default, in this
order. docs/limits.md lists them with what a caller sees; a test holds that page to this file."""

import difflib
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from numcheck import e164
from numcheck.access import RATED
from numcheck.delivery import texts
from numcheck.delivery.settings import CourierSettings, WebhookSettings, service_name
from numcheck.delivery.texts import Wording
from numcheck.errors import BadConfiguration, NotANumber
from numcheck.hosts import is_loopback
from numcheck.names import SERVICE_LENGTH_MAX
from numcheck.registrations.codes import CODE_DIGITS
from numcheck.registrations.policy import Method, alternatives_of, channels_of, text_of

# gRPC takes its limits as 32-bit integers, and its times in milliseconds.
INT32_MAX = 2**31 - 1
Positive = Annotated[int, Field(gt=0, le=INT32_MAX)]
Seconds = Annotated[int, Field(gt=0, le=INT32_MAX // 1_000)]
EvidenceAge = Annotated[int, Field(ge=0, le=INT32_MAX)]
RecordDays = Annotated[int, Field(gt=0, le=3_650)]
Budget = Annotated[int, Field(ge=0, le=INT32_MAX)]
CallRate = Annotated[float, Field(gt=0, le=INT32_MAX)]
RefreshDays = Annotated[int, Field(gt=0, le=365)]

TEST_CODE = re.compile(f"[0-9]{{{CODE_DIGITS}}}")

PREFIX = "NUMCHECK_"
NEARLY = (
    0.8  # how like a setting's name a misspelt variable is: others may begin so too, as those of a Kubernetes Service
)

ReloadedField = partial(Field, json_schema_extra={"x-reloaded": True})
"""A setting that a running node takes anew on SIGHUP."""


ServiceName = Annotated[str, AfterValidator(service_name)]


def _rated(value: str) -> str:
    if value not in RATED:
        raise ValueError(f"must be one of {', '.join(sorted(RATED))}")
    return value


RatedMethod = Annotated[str, AfterValidator(_rated)]


def _methods(value: str) -> str:
    return text_of(alternatives_of(value))


Methods = Annotated[str, AfterValidator(_methods)]


def _channels(value: str) -> str:
    return ",".join(channels_of(value))


Channels = Annotated[str, AfterValidator(_channels)]
CodeMessage = Annotated[str, AfterValidator(texts.check_message)]
Language = Annotated[str, AfterValidator(texts.check_language)]
CodeMessages = dict[Annotated[Language, Field(min_length=1)], CodeMessage]
Domain = Annotated[str, AfterValidator(texts.check_domain)]
AppHash = Annotated[str, AfterValidator(texts.check_app_hash)]


class ServiceSettings(BaseModel):
    """A service's own values for the settings of the same names; None: the general setting holds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    verification_methods: Methods | None = None
    evidence_age_max_s: EvidenceAge | None = None
    refresh_after_days: RefreshDays | None = None
    attesting_authorities: str | None = None
    live_question: bool | None = None
    users_per_number_max: Positive | None = None
    code_channels: Channels | None = None
    code_message: CodeMessage | None = None
    code_messages: CodeMessages | None = None
    code_language: Language | None = None
    code_domain: Domain | None = None
    code_app_hash: AppHash | None = None
    codes_per_service_max: Positive | None = None
    codes_per_block_max: Positive | None = None
    codes_per_network_max: Positive | None = None
    new_numbers_per_day_max: Budget | None = None


class OperatorSettings(BaseModel):
    """An operator's address for live questions; without the three files, in plaintext and on loopback only."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    endpoint: str
    authority_file: Path | None = None
    certificate_file: Path | None = None
    key_file: Path | None = None

    @model_validator(mode="after")
    def _is_protected(self) -> Self:
        given = {file is not None for file in (self.authority_file, self.certificate_file, self.key_file)}
        if len(given) > 1:
            raise ValueError("authority_file, certificate_file and key_file go together")
        host, colon, port = self.endpoint.rpartition(":")
        if not (host and colon and port.isascii() and port.isdecimal() and 0 < int(port) < 65_536):
            raise ValueError("endpoint must be host:port")
        if given == {False} and not is_loopback(host):
            raise ValueError("an endpoint beyond loopback needs authority_file, certificate_file and key_file")
        return self


class Settings(BaseSettings):
    """A node's settings. Unknown names in the TOML file are refused: a misspelt limit would not limit."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True)
    config_file: ClassVar[Path | None] = None

    data_dir: Path = Field(Path("var"), description="where the store and the index are")
    database_url: SecretStr | None = Field(
        None,
        description="a PostgreSQL database that nodes share, postgresql://...; none: SQLite in data_dir",
        examples=["postgresql://numcheck@db.example/numcheck"],
    )
    database_replica_url: SecretStr | None = Field(
        None,
        description="a standby of database_url, which may be behind, for lists, exports, audits and first indexes",
        examples=["postgresql://numcheck@standby.example/numcheck"],
    )
    listen: str = Field("127.0.0.1:50051", description="host:port of every service; port 0 takes a free one")
    default_region: str = Field("RU", description="the country (ISO 3166) of numbers that are written without one")
    metrics_listen: str | None = Field(
        None,
        description="host:port of /metrics, /healthz and /readyz, over plain HTTP; none: nowhere",
        examples=["0.0.0.0:9464"],
    )
    receipts_listen: str | None = Field(
        None,
        description="host:port on loopback where HTTP gateways report deliveries, /receipts/COURIER; none: nowhere",
        examples=["127.0.0.1:9465"],
    )
    page_listen: str | None = Field(
        None,
        description="host:port of the page for people: on loopback in plaintext, elsewhere over TLS; none: nowhere",
        examples=["127.0.0.1:8080"],
    )
    threads: Positive = Field(
        default_factory=lambda: os.cpu_count() or 1, description="event loops, a thread each; grpcio has its own"
    )
    api_threads: Positive = Field(16, description="threads for calls that wait for others")
    concurrent_rpcs_max: Positive = Field(
        512, description="calls that Python holds at once, running and waiting; more get RESOURCE_EXHAUSTED"
    )
    numbers_per_call_max: Positive = Field(
        65_536, description="numbers in one request of CheckNumbers or CheckRecycled"
    )
    message_size_max: Positive = Field(
        2**20 + 1_024, description="bytes of one request: 65,536 numbers of CheckRecycled with a moment each fit"
    )
    metadata_size_max: Positive = Field(8_192, description="bytes of a call's metadata")
    streams_per_connection_max: Positive = Field(128, description="calls under way on one connection")
    connection_age_max_s: Seconds = Field(3_600, description="seconds until a connection is asked to reconnect")
    tls_certificate_file: Path | None = Field(
        None, description="PEM: this node's certificate, and its chain", examples=["/etc/numcheck/node.pem"]
    )
    tls_key_file: Path | None = Field(
        None, description="PEM: the certificate's key, not sealed by a password", examples=["/etc/numcheck/node.key"]
    )
    tls_client_authority_file: Path | None = Field(
        None, description="PEM: who clients' certificates must be from", examples=["/etc/numcheck/authority.pem"]
    )
    tls_clients: Literal["certificate", "token"] = Field(
        "certificate",
        description="what clients have to show: certificate (and a token beside it if they like), or a token alone",
    )
    plaintext_callers: Literal["owner", "everyone"] = Field(
        "owner",
        description="who may call in plaintext, on loopback: root and the owner of data_dir, or everyone",
    )
    server: str | None = Field(
        None,
        description="host:port of the node that commands ask; none: listen, or the data directory's node",
        examples=["numcheck.example:50051"],
    )
    server_authority_file: Path | None = Field(
        None,
        description="PEM: who issued the node's certificate; what commands connect over TLS with",
        examples=["/etc/numcheck/authority.pem"],
    )
    client_certificate_file: Path | None = Field(
        None, description="PEM: the certificate that commands show a node", examples=["/etc/numcheck/client.pem"]
    )
    client_key_file: Path | None = Field(
        None, description="PEM: the key of that certificate", examples=["/etc/numcheck/client.key"]
    )
    token: SecretStr | None = Field(
        None, description="the bearer token that commands send a node", examples=["as issued"]
    )
    use_proxy: bool = Field(
        False, description="go by the proxies of the environment (http_proxy and the like) to hosts beyond loopback"
    )
    numbers_asked_told: Positive = ReloadedField(
        1_000_000, description="numbers that a caller asks about in an hour: more is a line of the log"
    )
    new_numbers_per_day_max: Budget | None = ReloadedField(
        None,
        description="different numbers that a messenger may ask about in a day (UTC), beside those of its own users; "
        "0: any number; none: 10,000, and any number where listen is on loopback",
        examples=[10_000],
    )
    push_removed_percent_max: Annotated[int, Field(ge=0, le=100)] = ReloadedField(
        10, description="percent of an operator's set that a push may remove before it waits to be confirmed"
    )
    data_age_max_s: Annotated[int, Field(ge=0, le=INT32_MAX)] = Field(
        0, description="seconds after which an operator's data answers UNKNOWN; 0: it never ages"
    )
    recycled_record_days: RecordDays = Field(
        1_095, description="days that the record of withdrawals goes back, which CheckRecycled answers from"
    )
    keys_file: Path | None = Field(
        None, description="the keys of registrations; None: keys.json in data_dir", examples=["/etc/numcheck/keys.json"]
    )
    verification_methods: Methods = ReloadedField(
        "code+operator,code",
        description=f"how a number is verified: alternatives in order, each of steps joined by +: {', '.join(Method)}",
    )
    evidence_age_max_s: EvidenceAge = ReloadedField(
        2_592_000, description="seconds after which an operator's data verifies nothing; 0: it never ages"
    )
    refresh_after_days: RefreshDays = ReloadedField(
        365, description="days after which a registration has to be refreshed; the law allows no more than 365"
    )
    attesting_authorities: str = ReloadedField("", description="whose assertions are taken, separated by commas")
    live_question: bool = ReloadedField(
        False, description="ask an operator itself, where it has an endpoint, when its data says nothing of a number"
    )
    users_per_number_max: Positive = ReloadedField(
        1, description="users of one service VERIFIED on a number at a time: a newer proof of it ends the oldest"
    )
    live_question_timeout_s: Annotated[int, Field(gt=0, le=60)] = Field(
        5, description="seconds that an operator's live answer is waited for"
    )
    operators: Annotated[dict[str, OperatorSettings], NoDecode] = Field(
        {}, description="by operator, its id or tax id: where it answers live questions"
    )
    test_numbers: Annotated[dict[str, SecretStr], NoDecode] = Field(
        {}, description="by number, one that the plan allots to nobody: the code that verifies it, with nothing sent"
    )
    calls_per_second_max: Annotated[dict[RatedMethod, CallRate], NoDecode] = ReloadedField(
        {}, description="by method, one of Python's: calls a second that this node takes of each caller, however many"
    )
    # A table of tables: the TOML file has room for it, a variable has not.
    services: Annotated[dict[ServiceName, ServiceSettings], NoDecode] = ReloadedField(
        {}, description="by service, what it has instead of the settings of the same names"
    )
    code_delivery: str = Field(
        "none", description="how codes are sent: none, console, an HTTP gateway's URL, or smpp://host:port of an SMSC"
    )
    couriers: Annotated[list[CourierSettings], NoDecode] = Field(
        [], description="several couriers in order, instead of code_delivery: each with its name, url and channels"
    )
    webhooks: Annotated[list[WebhookSettings], NoDecode] = Field(
        [], description="where events are posted: each with its name, service, url and secret_file"
    )
    code_delivery_secret_file: Path | None = Field(
        None, description="the key that signs what the HTTP gateway gets", examples=["/etc/numcheck/gateway.key"]
    )
    code_channels: Channels = ReloadedField(
        "sms", description="how codes go, in order: the first where a request names none, the next where one fails"
    )
    code_message: CodeMessage = ReloadedField(
        "{code}", description="what a message says: {code} stands for the code, {service} for the service's name"
    )
    code_messages: Annotated[CodeMessages, NoDecode] = ReloadedField(
        {}, description="by language, a tag such as ru: what a message says instead of code_message"
    )
    code_language: Language = ReloadedField("", description="the language of a request that names none")
    code_domain: Domain = ReloadedField(
        "",
        description="whose page WebOTP fills the code in: the last line of a short message",
        examples=["chat.example"],
    )
    code_app_hash: AppHash = ReloadedField(
        "", description="which app Android's SMS Retriever gives a short message", examples=["FA+9qCX9VSu"]
    )
    smpp_system_id: str = Field("", description="as whom the node binds to the SMSC")
    smpp_password_file: Path | None = Field(
        None, description="the file with the password for the SMSC", examples=["/etc/numcheck/smsc.password"]
    )
    smpp_receive: bool = Field(
        True, description="bind to the SMSC as a transceiver, so that messages come back; false: as a transmitter"
    )
    smpp_source_address: str = Field(
        "", description="the sender of short messages: +79161234567, a short number, or up to 11 letters and digits"
    )
    codes_per_service_max: Positive = ReloadedField(100, description="codes of one service in ten seconds")
    codes_per_number_max: Positive = ReloadedField(
        20, description="codes in a day to one number, of all services together"
    )
    codes_per_block_max: Positive = ReloadedField(
        1_000, description="codes of one service in a day to one block of 10,000 numbers"
    )
    codes_per_network_max: Positive = ReloadedField(
        100, description="codes of one service in a day for one network address"
    )
    witness_file: Path | None = Field(
        None,
        description="where the signed head of the chain of events is appended: on a disk of somebody else's",
        examples=["/mnt/witness/heads.jsonl"],
    )
    witness_url: str | None = Field(
        None,
        description="where the signed head is posted: https://..., or http:// on loopback",
        examples=["https://witness.example/heads"],
    )
    witness_interval_s: Seconds = Field(3_600, description="seconds between two heads that are handed to the witness")
    codes_returned_percent_min: Annotated[int, Field(ge=0, le=100)] = ReloadedField(
        20, description="percent of a courier's last 50 codes to an operator that come back, or it rests; 0: any"
    )
    publish_dir: Path | None = Field(
        None,
        description="where editions are kept for followers that read a directory, such as an object store's mount",
        examples=["/mnt/editions"],
    )
    publisher_key: str | None = Field(
        None,
        description="the key that signs what a follower takes, 64 hexadecimal digits; none: the first that it meets",
        examples=[64 * "0"],
    )
    follow_age_max_s: Annotated[int, Field(ge=0, le=INT32_MAX)] = Field(
        86_400, description="seconds for which a follower answers without news of its node; 0: for ever"
    )
    drain_timeout_s: Seconds = Field(10, description="seconds that running calls have to end when the node stops")
    log_level: Literal["debug", "info", "warning", "error"] = ReloadedField(
        "info", description="the least that is logged: debug, info, warning or error"
    )
    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="how a line of the log looks: json, console for a person, or auto: console on a terminal"
    )
    traces_url: str | None = Field(
        None,
        description="the OpenTelemetry collector that traces are posted to, https://... or http://...; none: no traces",
        examples=["http://127.0.0.1:4318/v1/traces"],
    )
    traces_percent: Annotated[float, Field(ge=0, le=100)] = ReloadedField(
        1.0, description="percent that is traced of calls whose callers do not say, and of a node's own work"
    )
    traces_per_second_max: Positive = Field(
        100, description="traces that a node begins in a second, those that callers ask for among them"
    )

    def values_of(self, changes: ServiceSettings) -> dict[str, Any]:
        """Return a service's settings: its own, and the installation's for those that it has none of."""
        return {name: getattr(self, name) for name in ServiceSettings.model_fields} | {
            name: value for name, value in changes if value is not None
        }

    def wording(self, changes: ServiceSettings) -> Wording:
        """Return the words of a service's codes. Those of its own language or any are not mixed with the others'."""
        values = self.values_of(changes)
        mixed = changes.code_message is not None and changes.code_messages is None
        return Wording(
            values["code_message"],
            {} if mixed else values["code_messages"],
            values["code_language"],
            values["code_domain"],
            values["code_app_hash"],
        )

    @property
    def wordings(self) -> dict[str, tuple[str, Wording]]:
        """The words of all services, by where they are set: with the name of the service, the longest that can be."""
        common = {"": ("x" * SERVICE_LENGTH_MAX, self.wording(ServiceSettings()))}
        own = {f"services.{name}.": (name, self.wording(one)) for name, one in self.services.items()}
        return common | own

    @property
    def longest_texts(self) -> dict[str, tuple[Wording, str]]:
        """The longest text of each setting that has words, by its name."""
        return {
            f"{where}{setting}": (wording, wording.filled(message, service, "0" * CODE_DIGITS))
            for where, (service, wording) in self.wordings.items()
            for setting, message in wording.messages.items()
        }

    @property
    def database(self) -> str | None:
        """The database's URL, which may hold a password: to be handed on, never to be shown."""
        return None if self.database_url is None else self.database_url.get_secret_value()

    @property
    def replica(self) -> str | None:
        """The URL of the standby for such reads, never to be shown; None without one."""
        return None if self.database_replica_url is None else self.database_replica_url.get_secret_value()

    @property
    def database_to_read(self) -> str | None:
        """The URL of what is read where it may be behind: never by what decides, and never to be shown."""
        return self.replica or self.database

    @model_validator(mode="after")
    def _has_what_the_replica_is_of(self) -> Self:
        if self.database_replica_url is not None and self.database_url is None:
            raise ValueError("database_replica_url is a standby of database_url, which is not set")
        return self

    @field_validator("default_region")
    @classmethod
    def _is_region(cls, value: str) -> str:
        if len(value) != 2 or not (value.isascii() and value.isalpha()):
            raise ValueError("must be a country's two letters, such as RU")
        return value.upper()

    @field_validator("publisher_key")
    @classmethod
    def _is_public_key(cls, value: str | None) -> str | None:
        if value is not None and re.fullmatch("[0-9a-f]{64}", value) is None:
            raise ValueError("must be 64 hexadecimal digits, as `numcheck events head` says it")
        return value

    @field_validator("witness_url")
    @classmethod
    def _is_witness(cls, value: str | None) -> str | None:
        parts = urlsplit(value or "https://none.example")
        if not parts.hostname or parts.scheme not in ("https", "http"):
            raise ValueError("must be the URL of an HTTPS server")
        if parts.scheme == "http" and not is_loopback(parts.hostname):
            raise ValueError("must begin with https:// beyond loopback")
        return value

    @field_validator("traces_url")
    @classmethod
    def _is_collector(cls, value: str | None) -> str | None:
        parts = urlsplit(value or "https://none.example")
        if not parts.hostname or parts.scheme not in ("https", "http") or parts.username is not None:
            raise ValueError("must be the URL of an HTTP server, such as http://127.0.0.1:4318/v1/traces")
        return value

    @model_validator(mode="after")
    def _has_all_of_tls(self) -> Self:
        own = self.tls_certificate_file, self.tls_key_file
        if self.tls_clients == "token":
            if None in own:
                raise ValueError("tls_clients = token needs TLS: tls_certificate_file and tls_key_file")
            if self.tls_client_authority_file is not None:
                raise ValueError(
                    "with tls_clients = token nobody is asked for a certificate of tls_client_authority_file"
                )
        elif len({file is None for file in (*own, self.tls_client_authority_file)}) > 1:
            raise ValueError("tls_certificate_file, tls_key_file and tls_client_authority_file go together")
        return self

    @field_validator("test_numbers")
    @classmethod
    def _are_test_numbers(cls, value: dict[str, SecretStr], info: ValidationInfo) -> dict[str, SecretStr]:
        """Check test numbers, each told by its place: neither it nor its code is."""
        numbers = set()
        for place, (text, code) in enumerate(value.items(), 1):
            try:
                numbers.add(e164.parse(text, info.data.get("default_region", "RU")))
            except NotANumber:
                raise ValueError(f"number {place} cannot be read as a telephone number") from None
            if re.fullmatch(TEST_CODE, code.get_secret_value()) is None:
                raise ValueError(f"the code of number {place} must have {CODE_DIGITS} digits, in quotes")
        if len(numbers) < len(value):
            raise ValueError("a number is there twice")
        return value

    @property
    def call_rates(self) -> dict[str, float]:
        """Calls a second that are taken of each caller, by the method's path."""
        return {RATED[name]: rate for name, rate in self.calls_per_second_max.items()}

    @property
    def test_codes(self) -> dict[int, str]:
        """The code of each test number: to be handed on, never to be shown."""
        codes = self.test_numbers.items()
        return {e164.parse(text, self.default_region): code.get_secret_value() for text, code in codes}

    @model_validator(mode="after")
    def _has_texts_that_can_be_sent(self) -> Self:
        by_smpp = any(url.startswith("smpp:") for url in (self.code_delivery, *(one.url for one in self.couriers)))
        for name, (wording, text) in self.longest_texts.items():
            if by_smpp and not texts.fits(text):
                raise ValueError(
                    f"{name}: must fit into one short message with what belongs to it, as an SMSC sends it"
                )
            if wording.app_hash and len(text.encode()) > texts.RETRIEVER_SIZE_MAX:
                raise ValueError(
                    f"{name}: has more than the {texts.RETRIEVER_SIZE_MAX} bytes of Android's SMS Retriever"
                )
        return self

    @property
    def tls_files(self) -> list[Path]:
        """The node's certificate, its key, and the clients' authority if they have to show certificates; or nothing."""
        files = self.tls_certificate_file, self.tls_key_file, self.tls_client_authority_file
        return [file for file in files if file is not None]

    @property
    def tls(self) -> bool:
        """True if the node speaks TLS, and asks clients who they are."""
        return bool(self.tls_files)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the order of sources, strongest first."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, cls.config_file)


TABLES: dict[str, type[BaseModel]] = {
    "couriers": CourierSettings,
    "webhooks": WebhookSettings,
    "services": ServiceSettings,
    "operators": OperatorSettings,
}
"""Settings that are tables of tables, and what each of these has."""
RELOADED = frozenset(
    name for name, field in Settings.model_fields.items() if field.json_schema_extra == {"x-reloaded": True}
)
"""The settings that a running node takes anew."""


def load_settings(config_file: Path | None = None, **overrides: Any) -> Settings:
    """Return the settings of this run; what is None in `overrides` was not asked for. BadConfiguration names what is
    wrong.

    A relative data_dir of a TOML file is relative to where the command runs, as on the command line.
    """
    source = type("Settings", (Settings,), {"config_file": config_file, "__module__": __name__})
    try:
        settings: Settings = source(**_given(overrides))
    except ValidationError as error:
        raise BadConfiguration("; ".join(_describe(one) for one in error.errors())) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfiguration(f"{config_file} is not TOML: {error}") from None
    return settings


def sources_of(config_file: Path | None, **overrides: Any) -> dict[str, str]:
    """Return where each setting of such a run comes from: command line, environment, file or default."""
    found = {
        "file": TomlConfigSettingsSource(Settings, config_file)(),
        "environment": EnvSettingsSource(Settings)(),
        "command line": _given(overrides),
    }
    sources = dict.fromkeys(Settings.model_fields, "default")
    return sources | {name: source for source, settings in found.items() for name in settings}


def secrets_in(config_file: Path) -> list[str]:
    """Return the settings of a file whose values, or parts of them, are never shown."""
    of_file = TomlConfigSettingsSource(Settings, config_file)()
    return [name for name in of_file if _holds_secret(Settings.model_fields[name].annotation)]


def _holds_secret(annotation: Any) -> bool:
    """Return True if a value of this type is a secret, or has some in it."""
    return annotation is SecretStr or any(map(_holds_secret, get_args(annotation)))


def foreign_variables(environment: Mapping[str, str]) -> dict[str, str | None]:
    """Return the variables that begin as settings' do and are of none, each with the setting that it is nearly of."""
    names = [name for name in environment if name.upper().startswith(PREFIX)]
    foreign = {name: name.upper().removeprefix(PREFIX).lower() for name in names}
    return {
        name: nearest(setting, Settings.model_fields, likeness=NEARLY)
        for name, setting in sorted(foreign.items())
        if setting not in Settings.model_fields
    }


def nearest(name: str, names: Iterable[str], *, likeness: float = 0.6) -> str | None:
    """Return the name that was most likely meant; None if none is so like it."""
    meant = name.lower().replace("-", "_").removeprefix(PREFIX.lower())
    return next(iter(difflib.get_close_matches(meant, list(names), 1, likeness)), None)


def _given(overrides: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in overrides.items() if value is not None}


def _describe(error: ErrorDetails) -> str:
    """Return what is wrong with which setting; never its value, which may be a secret."""
    places = error["loc"][:1] if error["loc"][:1] == ("test_numbers",) else error["loc"]
    name = ".".join(str(place) for place in places if place != "[key]")
    if error["type"] == "extra_forbidden":
        *table, key = map(str, error["loc"])
        near = nearest(key, TABLES[table[0]].model_fields if table else Settings.model_fields)
        return f"there is no setting {name}" + (f"; the nearest is {'.'.join([*table, near])}" if near else "")
    said = "must be a table" if error["type"] == "dict_type" else error["msg"].removeprefix("Value error, ")
    return f"{name}: {said[:1].lower()}{said[1:]}" if name else said
