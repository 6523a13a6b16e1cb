"""The one reading of what people write as a number. Every character is accounted for, or the text is refused.

A text is read in two steps: its characters give digits (`read_written`), and the digits give a number (`take_number`).

    text  = edge ["'"] ["tel:"] ["+"] group {gap group} edge
    edge  = spaces and line ends
    group = digits of any script (Unicode's Nd)
    gap   = [closing bracket] [dash or dot] [opening bracket]

Spaces may stand between any two of these, the first opening bracket before the first group, also before the plus, and
invisible marks anywhere: they mean nothing. Brackets hold digits, do not nest, and have digits behind them:
`(79161234567)` is how accountants write a negative number, and `(2)` at the end is a remark. A dash before the first
digit is a sign, and one behind the last digit belongs to something else. All other characters are refused, wherever
they stand.

A spreadsheet's number is not a spelling. A text whose only dot stands before the last group is a decimal number if
that group is a single digit, or if what precedes the dot is an integer, plain or with spaces between thousands:
`79160000001.0`, `91 612 345.67`. But `+7.9161234567` is how RFC 5733 writes numbers: behind a plus, the calling code
may end in the only dot. Four groups of up to 255 with dots between them are a network address.

Then the digits. None is added, dropped or exchanged but for these prefixes:

* Behind a plus or 00: the number itself, of 4 to 15 digits. Zero is not its first digit, `(0)` not within it, and the
  region's trunk prefix not behind the region's calling code (`+7 8 916 ...`).
* Else, as the region writes its numbers: a national number, alone or behind the calling code or the trunk prefix; or an
  international number behind the region's international prefix.
"""

from cpython.array cimport array, clone
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from cpython.unicode cimport PyUnicode_AsUTF8AndSize
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.string cimport memchr, memcmp, memset

from numcheck import spelling
from numcheck.errors import NotANumber
from numcheck.spelling import Refusal

cdef extern from "Python.h":
    # A look into a static table, which needs no GIL: -1 if the character is no decimal digit of any script (Nd).
    int decimal_value "Py_UNICODE_TODECIMAL"(Py_UCS4 character) noexcept nogil

cdef array UINT64S = array("Q")


# --- characters -------------------------------------------------------------------------------------------------

cdef enum:
    ASCII_COUNT = 128
    MARKS_MAX = 64
    NO_CHARACTER = 0xFFFFFFFF

cdef enum Form:                      # of a mark, where there are several of a kind, as spelling.Form has them
    ROUND = 1
    SQUARE
    DASH
    DOT

cdef struct Mark:
    uint32_t first, last
    Kind kind
    uint8_t form

cdef size_t MARK_COUNT = len(spelling.MARKS)
cdef Mark SORTED_MARKS[MARKS_MAX]
cdef Mark ASCII_MARKS[ASCII_COUNT]   # by character


cdef int set_marks() except -1:
    cdef size_t i
    if MARK_COUNT > MARKS_MAX:
        raise ValueError("there are more marks than room for them")
    for i in range(MARK_COUNT):
        SORTED_MARKS[i].first, SORTED_MARKS[i].last, SORTED_MARKS[i].kind, SORTED_MARKS[i].form = spelling.MARKS[i]
    for i in range(<size_t>ASCII_COUNT):
        ASCII_MARKS[i] = find_mark(<uint32_t>i)
    return 0


cdef Mark find_mark(uint32_t character) noexcept nogil:
    """Return the mark that the character is; one of kind OTHER if it is none."""
    cdef Mark none
    cdef size_t low = 0, high = MARK_COUNT, middle
    while low < high:
        middle = (low + high) // 2
        if SORTED_MARKS[middle].last < character:
            low = middle + 1
        else:
            high = middle
    if low < MARK_COUNT and SORTED_MARKS[low].first <= character:
        return SORTED_MARKS[low]
    memset(&none, 0, sizeof(none))
    return none


cdef inline Mark mark_of(uint32_t character) noexcept nogil:
    return ASCII_MARKS[character] if character < ASCII_COUNT else find_mark(character)


cdef inline int digit_of(uint32_t character) noexcept nogil:
    """Return the digit that the character is, in whatever script; else a number out of 0 to 9."""
    return <int>character - c"0" if character < ASCII_COUNT else decimal_value(character)


set_marks()


cdef inline uint32_t next_character(const uint8_t* text, size_t size, size_t* at) noexcept nogil:
    """Return the character at `at`, which is below `size`, and go behind it. NO_CHARACTER: that is not UTF-8."""
    if text[at[0]] < ASCII_COUNT:
        at[0] += 1
        return text[at[0] - 1]
    return next_beyond_ascii(text, size, at)


cdef uint32_t next_beyond_ascii(const uint8_t* text, size_t size, size_t* at) noexcept nogil:
    cdef uint32_t character = text[at[0]], least
    cdef size_t i, end
    if character < 0xC2:
        return NO_CHARACTER
    elif character < 0xE0:
        end, least, character = at[0] + 2, 0x80, character & 0x1F
    elif character < 0xF0:
        end, least, character = at[0] + 3, 0x800, character & 0x0F
    else:
        end, least, character = at[0] + 4, 0x10000, character & 0x0F    # 0xF8 and above become too great
    if end > size:
        return NO_CHARACTER
    for i in range(at[0] + 1, end):
        if text[i] & 0xC0 != 0x80:
            return NO_CHARACTER
        character = character << 6 | text[i] & 0x3F
    if character < least or character > 0x10FFFF or 0xD800 <= character <= 0xDFFF:
        return NO_CHARACTER
    at[0] = end
    return character


# --- text to digits ---------------------------------------------------------------------------------------------

cdef Outcome read_written(const uint8_t* text, size_t size, Written* written) noexcept nogil:
    """Read a text in UTF-8; unless it returns READ, `written` ends where it was refused."""
    cdef size_t at = 0, start
    cdef uint32_t character
    cdef int digit
    cdef Mark mark
    cdef Outcome outcome
    memset(written, 0, sizeof(Written))
    written.apart = True
    while at < size:
        start = at
        character = next_character(text, size, &at)
        written.character_count += 1
        digit = digit_of(character)
        if 0 <= digit <= 9:
            outcome = take_digit(written, digit)
        else:
            mark = mark_of(character)
            if mark.kind == OTHER and is_scheme(text + start, size - start):
                mark.kind, at = SCHEME, start + 4
                written.character_count += 3
            outcome = READ if takes_mark(written, &mark) else STRAY
        if written.character_count > TEXT_SIZE_MAX:
            return TOO_LONG
        if outcome != READ:
            return outcome
    if written.digit_count == 0:
        return NO_DIGITS
    if written.last != OTHER or written.open_form:
        return UNFINISHED
    return judge_dots(written)


cdef inline Outcome take_digit(Written* written, int digit) noexcept nogil:
    if written.over:
        return STRAY
    if written.digit_count == WRITTEN_DIGITS_MAX:
        return TOO_MANY_DIGITS
    if written.apart:
        written.group_count += 1
        written.apart = False
    written.group_sizes[written.group_count - 1] += 1
    written.digits[written.digit_count] = <uint8_t>digit
    written.digit_count += 1
    written.last = OTHER
    return READ


cdef bint takes_mark(Written* written, const Mark* mark) noexcept nogil:
    """Take what stands between digits or around them; False if it has no place there."""
    if mark.kind == INVISIBLE:
        return True
    if mark.kind == SPACE:
        written.apart = True
        return True
    if mark.kind == LINE_END:
        return takes_line_end(written)
    if mark.kind == OTHER or written.over:
        return False
    if mark.kind == PLUS:
        return takes_plus(written)
    if mark.kind <= written.last or not takes_in_order(written, mark):
        return False
    written.last, written.apart = mark.kind, True
    return True


cdef bint takes_line_end(Written* written) noexcept nogil:
    """Before everything or behind everything."""
    written.over = written.digit_count > 0
    return written.last == OTHER and not written.open_form and (written.over or not written.plus)


cdef bint takes_plus(Written* written) noexcept nogil:
    if written.plus or written.digit_count:
        return False
    written.plus = True
    return True


cdef bint takes_in_order(Written* written, const Mark* mark) noexcept nogil:
    if mark.kind == APOSTROPHE or mark.kind == SCHEME:
        return written.digit_count == 0 and not written.plus
    if mark.kind == JOINING:
        return takes_joint(written, mark)
    written.marked = True
    if mark.kind == OPENING:
        if written.open_form:
            return False
        written.open_form, written.groups_before_bracket = mark.form, written.group_count
        return True
    return takes_closing(written, mark)


cdef bint takes_joint(Written* written, const Mark* mark) noexcept nogil:
    """Between two groups: what stands before the first is a sign."""
    if mark.form == DOT:
        written.dot_count += 1
        written.dotted = written.group_count
    else:
        written.marked = True
    return written.digit_count > 0


cdef bint takes_closing(Written* written, const Mark* mark) noexcept nogil:
    """Behind at least one digit, by the order of marks."""
    if written.open_form != mark.form:
        return False
    written.open_form = 0
    if (written.groups_before_bracket and written.group_count == written.groups_before_bracket + 1
            and written.group_sizes[written.group_count - 1] == 1 and written.digits[written.digit_count - 1] == 0):
        written.zero_in_brackets = True
    return True


cdef Outcome judge_dots(const Written* written) noexcept nogil:
    """A spreadsheet's number and a network address have dots too."""
    if written.dot_count == 1 and is_decimal(written):
        return DECIMAL
    if written.dot_count == 3 and is_network_address(written):
        return NETWORK_ADDRESS
    return READ


cdef bint is_decimal(const Written* written) noexcept nogil:
    """Tell if the only dot stands last, with one digit behind it or an integer before it. A calling code is none."""
    cdef size_t i
    if written.dotted != written.group_count - 1:
        return False
    if written.group_sizes[written.dotted] == 1:
        return True
    if written.marked:
        return False
    if written.dotted == 1:
        return not written.plus or written.group_sizes[0] > 3
    for i in range(1, written.dotted):
        if written.group_sizes[i] != 3:
            return False
    return written.group_sizes[0] <= 3


cdef bint is_network_address(const Written* written) noexcept nogil:
    """Tell if these are four groups of up to 255, with dots alone."""
    cdef size_t group, i, at = 0
    cdef uint32_t value
    if written.marked or written.plus or written.group_count != 4:
        return False
    for group in range(4):
        value = 0
        for i in range(at, at + written.group_sizes[group]):
            value = 10 * value + written.digits[i]
        at += written.group_sizes[group]
        if written.group_sizes[group] > 3 or value > 255:
            return False
    return True


cdef bint is_scheme(const uint8_t* text, size_t size) noexcept nogil:
    """Tell if tel: stands there, in capitals or not (RFC 3966)."""
    return (size >= 4 and text[0] | 0x20 == c"t" and text[1] | 0x20 == c"e" and text[2] | 0x20 == c"l"
            and text[3] == c":")


# --- digits to number -------------------------------------------------------------------------------------------

cdef Outcome read_number(const Home* home, const uint8_t* text, size_t size, uint64_t* number) noexcept nogil:
    """Read a text in UTF-8 as one writes numbers at home; `number` is set if this returns READ."""
    cdef Written written
    cdef Outcome outcome = read_written(text, size, &written)
    return outcome if outcome != READ else take_number(home, &written, number)


cdef Outcome take_number(const Home* home, const Written* written, uint64_t* number) noexcept nogil:
    if written.plus:
        return take_international(home, written, 0, number)
    if written.digit_count >= 2 and written.digits[0] == 0 and written.digits[1] == 0:
        return take_international(home, written, 2, number)
    if home.national_size:
        return take_national(home, written, number)
    return NATIONAL if written.digit_count <= NUMBER_DIGITS_MAX else TOO_MANY_DIGITS


cdef Outcome take_international(
        const Home* home, const Written* written, size_t first, uint64_t* number) noexcept nogil:
    """Take the digits from `first` on as they stand: the calling code and what follows it."""
    cdef size_t count = written.digit_count - first
    cdef size_t trunk_at = first + home.calling_code.size
    if count > NUMBER_DIGITS_MAX:
        return TOO_MANY_DIGITS
    if count < NUMBER_DIGITS_MIN:
        return TOO_FEW_DIGITS
    if written.digits[first] == 0 or written.zero_in_brackets:
        return TRUNK_PREFIX
    if (has_prefix(written, first, &home.calling_code) and has_prefix(written, trunk_at, &home.trunk)
            and written.digit_count - trunk_at == home.trunk.size + home.national_size):
        return TRUNK_PREFIX
    number[0] = value_of(0, written.digits + first, count)
    return READ


cdef Outcome take_national(const Home* home, const Written* written, uint64_t* number) noexcept nogil:
    """Take the last digits as a national number, alone or behind a prefix."""
    cdef size_t count = written.digit_count, size = home.national_size
    if (count == size
            or count == size + home.calling_code.size and has_prefix(written, 0, &home.calling_code)
            or count == size + home.trunk.size and has_prefix(written, 0, &home.trunk)):
        number[0] = value_of(0, home.calling_code.digits, home.calling_code.size)
        number[0] = value_of(number[0], written.digits + count - size, size)
        return READ
    if has_prefix(written, 0, &home.international):
        return take_international(home, written, home.international.size, number)
    return NOT_NATIONAL if count <= NUMBER_DIGITS_MAX else TOO_MANY_DIGITS


cdef bint has_prefix(const Written* written, size_t first, const Prefix* prefix) noexcept nogil:
    return (prefix.size > 0 and written.digit_count >= first + prefix.size
            and memcmp(written.digits + first, prefix.digits, prefix.size) == 0)


cdef uint64_t value_of(uint64_t value, const uint8_t* digits, size_t count) noexcept nogil:
    """Return the number whose digits are those of `value` and then these."""
    cdef size_t i
    for i in range(count):
        value = 10 * value + digits[i]
    return value


# --- for Python -------------------------------------------------------------------------------------------------

cdef list REASONS = [None] * OUTCOME_COUNT
REASONS[NO_DIGITS] = Refusal.NO_DIGITS.value
REASONS[STRAY] = Refusal.STRAY.value
REASONS[UNFINISHED] = Refusal.UNFINISHED.value
REASONS[TOO_LONG] = Refusal.TOO_LONG.value
REASONS[TOO_MANY_DIGITS] = Refusal.TOO_MANY_DIGITS.value
REASONS[TOO_FEW_DIGITS] = Refusal.TOO_FEW_DIGITS.value
REASONS[DECIMAL] = Refusal.DECIMAL.value
REASONS[NETWORK_ADDRESS] = Refusal.NETWORK_ADDRESS.value
REASONS[TRUNK_PREFIX] = Refusal.TRUNK_PREFIX.value
REASONS[NOT_NATIONAL] = Refusal.NOT_NATIONAL.value


cdef class Reader:
    """Reads what people write as a number, in one region. It never changes."""

    def __init__(self, form, ask_region):
        """`form` is how the region writes its own numbers: calling code, trunk prefix, international prefix, and the
        digits of a national number. None: `ask_region` gets such digits, and gives the number or raises NotANumber."""
        self.ask_region = ask_region
        if form is not None:
            calling_code, trunk_prefix, international_prefix, self.home.national_size = form
            set_prefix(&self.home.calling_code, calling_code)
            set_prefix(&self.home.trunk, trunk_prefix)
            set_prefix(&self.home.international, international_prefix)
            if self.home.calling_code.size + self.home.national_size > NUMBER_DIGITS_MAX:
                raise ValueError("no number is so long")

    def read(self, str text not None):
        """Return the number that the text writes. NotANumber says why there is none."""
        cdef Written written
        cdef Py_ssize_t size
        cdef const char* data
        cdef uint64_t number = 0
        if len(text) > TEXT_SIZE_MAX:
            raise NotANumber(f"the text has {len(text)} characters; a number has at most {TEXT_SIZE_MAX}")
        try:
            data = PyUnicode_AsUTF8AndSize(text, &size)
        except UnicodeEncodeError as error:
            raise NotANumber(REASONS[STRAY].format(place=error.start + 1)) from None
        cdef Outcome outcome = read_written(<const uint8_t*>data, size, &written)
        if outcome == READ:
            outcome = take_number(&self.home, &written, &number)
        return self.number_of(outcome, &written, number)

    cdef object number_of(self, Outcome outcome, const Written* written, uint64_t number):
        cdef size_t i
        if outcome == READ:
            return number
        if outcome == NATIONAL:
            return self.ask_region("".join([str(written.digits[i]) for i in range(written.digit_count)]))
        raise NotANumber(REASONS[outcome].format(place=written.character_count))

    def read_lines(self, bytes lines not None):
        """Return the number of each line of a text in UTF-8, 0 where `read` refuses it, as an array of type Q.

        A line ends with its line feed, which the last may lack. No GIL is held."""
        cdef const uint8_t* at = <const uint8_t*>PyBytes_AS_STRING(lines)
        cdef const uint8_t* end = at + PyBytes_GET_SIZE(lines)
        cdef const uint8_t* line_end
        cdef size_t i, count = count_lines(at, end)
        cdef array numbers = clone(UINT64S, count, False)
        cdef uint64_t* number = <uint64_t*>numbers.data.as_voidptr
        with nogil:
            for i in range(count):
                line_end = find_line_end(at, end)
                number[i] = self.try_number(at, line_end - at)
                at = line_end + 1
        return numbers

    cdef uint64_t try_number(self, const uint8_t* text, size_t size) except? 0 nogil:
        """Return the number that the text writes; 0 if it is refused."""
        cdef Written written
        cdef uint64_t number = 0
        cdef Outcome outcome = read_written(text, size, &written)
        if outcome == READ:
            outcome = take_number(&self.home, &written, &number)
        if outcome == NATIONAL:
            with gil:
                try:
                    number = self.number_of(outcome, &written, number)
                except NotANumber:
                    pass
        return number


cdef const uint8_t* find_line_end(const uint8_t* at, const uint8_t* end) noexcept nogil:
    """Return where the line ends that begins at `at`: at its line feed, or with the text."""
    cdef const void* found = memchr(at, c"\n", end - at)
    return end if found == NULL else <const uint8_t*>found


cdef size_t count_lines(const uint8_t* at, const uint8_t* end) noexcept nogil:
    cdef size_t count = 0
    while at < end:
        at = find_line_end(at, end) + 1
        count += 1
    return count


cdef int set_prefix(Prefix* prefix, str digits) except -1:
    cdef size_t i
    if len(digits) > PREFIX_SIZE_MAX:
        raise ValueError("no prefix is so long")
    prefix.size = len(digits)
    for i in range(prefix.size):
        prefix.digits[i] = int(digits[i])
    return 0
