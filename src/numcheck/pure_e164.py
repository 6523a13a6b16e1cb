"""The reading of written numbers in pure Python, for the client where nothing is compiled.

The grammar is that of `_e164.pyx`, which describes it. The two agree on every text, on the number as on the reason for
a refusal, and a test holds them together.
"""

from array import array
from collections.abc import Callable

from numcheck.errors import NotANumber
from numcheck.spelling import (
    MARKS,
    NUMBER_DIGITS_MAX,
    NUMBER_DIGITS_MIN,
    PREFIX_SIZE_MAX,
    TEXT_SIZE_MAX,
    Form,
    Kind,
    Refusal,
)

WRITTEN_DIGITS_MAX = NUMBER_DIGITS_MAX + PREFIX_SIZE_MAX
CALLING_CODE_DIGITS_MAX = 3
SCHEME = "tel:"
Mark = tuple[Kind, Form]
MARK_OF: dict[str, Mark] = {
    chr(code): (kind, form) for first, last, kind, form in MARKS for code in range(first, last + 1)
}
NO_MARK: Mark = (Kind.OTHER, Form.NONE)


class Reader:
    """Reads what people write as a number, in one region. It never changes."""

    def __init__(self, form: tuple[str, str, str, int] | None, ask_region: Callable[[str], int]) -> None:
        """`form` is how the region writes its own numbers: calling code, trunk prefix, international prefix, and the
        digits of a national number. None: `ask_region` gets such digits, and gives the number or raises NotANumber."""
        self._ask_region = ask_region
        self._calling_code, self._trunk, self._international, self._national_size = form or ("", "", "", 0)

    def read(self, text: str) -> int:
        """Return the number that the text writes. NotANumber says why there is none."""
        if len(text) > TEXT_SIZE_MAX:
            raise NotANumber(f"the text has {len(text)} characters; a number has at most {TEXT_SIZE_MAX}")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise _refused(Refusal.STRAY, error.start + 1) from None
        return self._number(_Written(text))

    def read_lines(self, lines: bytes) -> "array[int]":
        """Return the number of each line of a text in UTF-8, 0 where `read` refuses it, as an array of type Q."""
        return array("Q", map(self._try_number, lines.removesuffix(b"\n").split(b"\n") if lines else ()))

    def _try_number(self, line: bytes) -> int:
        try:
            return self.read(line.decode())
        except (NotANumber, UnicodeDecodeError):
            return 0

    def _number(self, written: "_Written") -> int:
        digits = "".join(written.groups)
        if written.plus:
            return self._international_number(digits, written)
        if digits.startswith("00"):
            return self._international_number(digits[2:], written)
        if self._national_size:
            return self._national_number(digits, written)
        if len(digits) > NUMBER_DIGITS_MAX:
            raise _refused(Refusal.TOO_MANY_DIGITS)
        return self._ask_region(digits)

    def _international_number(self, digits: str, written: "_Written") -> int:
        """Return the number of the digits as they stand: the calling code and what follows it."""
        if len(digits) > NUMBER_DIGITS_MAX:
            raise _refused(Refusal.TOO_MANY_DIGITS)
        if len(digits) < NUMBER_DIGITS_MIN:
            raise _refused(Refusal.TOO_FEW_DIGITS)
        home = self._calling_code + self._trunk
        has_trunk = self._national_size and digits.startswith(home) and len(digits) == len(home) + self._national_size
        if digits[0] == "0" or written.zero_in_brackets or has_trunk:
            raise _refused(Refusal.TRUNK_PREFIX)
        return int(digits)

    def _national_number(self, digits: str, written: "_Written") -> int:
        """Return the number of the last digits as a national one, alone or behind a prefix."""
        before, national = digits[: -self._national_size], digits[-self._national_size :]
        if len(national) == self._national_size and before in ("", self._calling_code, self._trunk):
            return int(self._calling_code + national)
        if digits.startswith(self._international):
            return self._international_number(digits.removeprefix(self._international), written)
        raise _refused(Refusal.NOT_NATIONAL if len(digits) <= NUMBER_DIGITS_MAX else Refusal.TOO_MANY_DIGITS)


class _Written:
    """The digits of a text, in their groups, and the marks among them; NotANumber if a character has no place there."""

    def __init__(self, text: str) -> None:
        self.groups: list[str] = []
        self.plus = self.zero_in_brackets = False
        self._marked = False  # by dashes or brackets
        self._dot_count = self._dotted = 0  # groups before the last dot
        # Where the reading is:
        self._last = Kind.OTHER  # mark since the last digit
        self._open = Form.NONE  # the bracket that is open
        self._groups_before_bracket = 0
        self._apart, self._over = True, False  # the next digit begins a group; the line has ended
        self._read(text)

    def _read(self, text: str) -> None:
        at = 0
        while at < len(text):
            character, size = text[at], 1
            if character.isdecimal():
                self._take_digit(str(int(character)), at + 1)
            else:
                mark = MARK_OF.get(character, NO_MARK)
                if mark is NO_MARK and text[at : at + len(SCHEME)].lower() == SCHEME:
                    mark, size = (Kind.SCHEME, Form.NONE), len(SCHEME)
                if not self._takes_mark(*mark):
                    raise _refused(Refusal.STRAY, at + size)
            at += size
        if not self.groups:
            raise _refused(Refusal.NO_DIGITS)
        if self._last or self._open:
            raise _refused(Refusal.UNFINISHED)
        self._judge_dots()

    def _take_digit(self, digit: str, place: int) -> None:
        if self._over:
            raise _refused(Refusal.STRAY, place)
        if sum(map(len, self.groups)) == WRITTEN_DIGITS_MAX:
            raise _refused(Refusal.TOO_MANY_DIGITS)
        if self._apart:
            self.groups.append("")
        self.groups[-1] += digit
        self._apart, self._last = False, Kind.OTHER

    def _takes_mark(self, kind: Kind, form: Form) -> bool:
        """Take what stands between digits or around them; False if it has no place there."""
        if kind in (Kind.INVISIBLE, Kind.SPACE):
            self._apart = self._apart or kind is Kind.SPACE
            return True
        if kind is Kind.LINE_END:
            self._over = bool(self.groups)
            return not self._last and not self._open and (self._over or not self.plus)
        if kind is Kind.OTHER or self._over:
            return False
        if kind is Kind.PLUS:
            is_first = not self.plus and not self.groups
            self.plus = True
            return is_first
        if kind <= self._last or not self._takes_in_order(kind, form):
            return False
        self._last, self._apart = kind, True
        return True

    def _takes_in_order(self, kind: Kind, form: Form) -> bool:
        if kind in (Kind.APOSTROPHE, Kind.SCHEME):
            return not self.groups and not self.plus
        if form is Form.DOT:
            self._dot_count, self._dotted = self._dot_count + 1, len(self.groups)
            return bool(self.groups)
        self._marked = True
        if kind is Kind.JOINING:
            return bool(self.groups)
        if kind is Kind.OPENING:
            was_open, self._open, self._groups_before_bracket = self._open, form, len(self.groups)
            return not was_open
        was_open, self._open = self._open, Form.NONE
        since = self.groups[self._groups_before_bracket :]
        self.zero_in_brackets = self.zero_in_brackets or (self._groups_before_bracket > 0 and since == ["0"])
        return was_open is form

    def _judge_dots(self) -> None:
        """Refuse a spreadsheet's number and a network address, which have dots too."""
        if self._dot_count == 1 and self._is_decimal():
            raise _refused(Refusal.DECIMAL)
        plain = not self._marked and not self.plus and self._dot_count == 3 and len(self.groups) == 4
        if plain and all(len(group) <= 3 and int(group) <= 255 for group in self.groups):
            raise _refused(Refusal.NETWORK_ADDRESS)

    def _is_decimal(self) -> bool:
        """Tell if the only dot stands last, a digit behind it or an integer before it. A calling code is none."""
        *before, last = self.groups
        if self._dotted != len(before):
            return False
        if len(last) == 1:
            return True
        if self._marked:
            return False
        if len(before) == 1:
            return not self.plus or len(before[0]) > CALLING_CODE_DIGITS_MAX
        return len(before[0]) <= 3 and all(len(group) == 3 for group in before[1:])


def _refused(refusal: Refusal, place: int = 0) -> NotANumber:
    return NotANumber(refusal.value.format(place=place))
