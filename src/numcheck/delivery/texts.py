"""The words in which a code is sent: by language, with the lines that phones fill codes in from, and what they take.

Invariant: a text is made of a template by putting values in their places once, so that none of them is read as a place.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from numcheck.names import LANGUAGE_RULE, is_language

SMS = "sms"
FIELDS = frozenset({"code", "service"})
FIELD = re.compile(r"\{(\w*)\}")

# Written alike in ASCII, Latin 1 and the GSM alphabet (3GPP TS 23.038): whichever an SMSC takes for its default, data
# coding 0, they arrive as they are. Anything else goes as UCS-2, data coding 8.
PLAIN = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789 !\"#%&'()*+,-./:;<=>?\n\r")
# The alphabet and what is written with an escape before it (3GPP TS 23.038, 6.2.1).
GSM = frozenset("@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ ¡ÄÖÑÜ§¿äöñüà") | PLAIN | {"¤"}
GSM_ESCAPED = frozenset("\f^{}\\[~]|€")
GSM_LENGTHS = 160, 153
"""Characters of a message that is whole, and of a part of one (3GPP TS 23.040, 9.2.3.24.1)."""
UCS2_LENGTHS = 70, 67

# Android's SMS Retriever: the hash of an app, and what it reads.
APP_HASH = re.compile(r"[A-Za-z0-9+/]{11}")
RETRIEVER_SIZE_MAX = 140  # bytes
DOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")


@dataclass(frozen=True, slots=True)
class Wording:
    """The words of a service: in any language, in some of them, and the language of who asks for none.

    `domain` is where WebOTP fills the code in, `app_hash` tells Android's SMS Retriever the app; empty: nowhere.
    """

    message: str
    by_language: Mapping[str, str] = field(default_factory=dict)
    language: str = ""
    domain: str = ""
    app_hash: str = ""

    @property
    def messages(self) -> Mapping[str, str]:
        """Every template, by the setting that has it."""
        return {"code_message": self.message} | {f"code_messages.{tag}": one for tag, one in self.by_language.items()}

    def template(self, language: str) -> str:
        """Return the words in a language, in a wider one of it, or in the service's (RFC 4647, 3.4)."""
        known = {tag.lower(): message for tag, message in self.by_language.items()}
        wanted = [*_widening(language.lower()), *_widening(self.language.lower())]
        return next((known[tag] for tag in wanted if tag in known), self.message)

    def text(self, service: str, code: str, *, language: str, channel: str) -> str:
        """Return the text of a message. What phones fill codes in from is in short messages alone."""
        if channel == SMS:
            return self.filled(self.template(language), service, code)
        return _filled(self.template(language), service, code)

    def filled(self, template: str, service: str, code: str) -> str:
        """Return the text of a short message after a template. WebOTP's line is the last one, as it has to be."""
        behind = [*filter(None, [self.app_hash, self.domain and f"@{self.domain} #{code}"])]
        return "\n".join([_filled(template, service, code), *([""] if behind else []), *behind])


def _widening(tag: str) -> Iterator[str]:
    """Yield a language's tag, and those of the wider ones that it is of: zh-Hant-TW, zh-Hant, zh."""
    while tag:
        yield tag
        tag = tag.rpartition("-")[0]


def _filled(template: str, service: str, code: str) -> str:
    values = {"service": service, "code": code}
    return FIELD.sub(lambda found: values[found[1]], template)


def check_message(message: str) -> str:
    """Return a template; ValueError if it is none."""
    unknown = set(FIELD.findall(message)) - FIELDS
    if unknown:
        raise ValueError(f"there is no field {{{min(unknown)}}}; there are {{code}} and {{service}}")
    if "{code}" not in message:
        raise ValueError("must have {code}, which stands for the code")
    return message


def check_language(tag: str) -> str:
    """Return a language's tag, empty if there is none; ValueError if it cannot be one."""
    if tag and not is_language(tag):
        raise ValueError(LANGUAGE_RULE)
    return tag


def check_domain(domain: str) -> str:
    """Return a domain, empty if there is none; ValueError if it cannot be one."""
    if domain and not DOMAIN.fullmatch(domain):
        raise ValueError("must be a domain in small letters, without scheme or port, such as messenger.example")
    return domain


def check_app_hash(app_hash: str) -> str:
    """Return the hash of an app, empty if there is none; ValueError if it cannot be one."""
    if app_hash and not APP_HASH.fullmatch(app_hash):
        raise ValueError("must have the 11 characters that Android's SMS Retriever knows the app by")
    return app_hash


def parts_of(text: str) -> int:
    """Return how many short messages a text takes: in the GSM alphabet if it has all of it, or else in UCS-2."""
    if set(text) <= GSM | GSM_ESCAPED:
        length, (whole, part) = sum(2 if letter in GSM_ESCAPED else 1 for letter in text), GSM_LENGTHS
    else:
        length, (whole, part) = _ucs2_length(text), UCS2_LENGTHS
    return 1 if length <= whole else -(-length // part)


def fits(text: str) -> bool:
    """Return True if a text fits into one short message of an SMSC: its default alphabet is known in part only."""
    return _ucs2_length(text) <= (GSM_LENGTHS if set(text) <= PLAIN else UCS2_LENGTHS)[0]


def _ucs2_length(text: str) -> int:
    return len(text.encode("utf-16-le", errors="surrogatepass")) // 2
