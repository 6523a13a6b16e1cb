# The reading of numbers as other extensions use it: bytes in, a number out, with no GIL.

from libc.stdint cimport uint8_t, uint32_t, uint64_t

cdef enum:                           # as spelling.py has them
    NUMBER_DIGITS_MAX = 15           # ITU-T E.164 clause 6.2.1
    NUMBER_DIGITS_MIN = 4            # a calling code alone has up to three
    TEXT_SIZE_MAX = 250              # characters

cdef enum:
    PREFIX_SIZE_MAX = 4
    WRITTEN_DIGITS_MAX = NUMBER_DIGITS_MAX + PREFIX_SIZE_MAX

cdef enum Outcome:
    READ = 0
    NATIONAL                         # digits as a region writes them whose form is not known here
    NO_DIGITS
    STRAY                            # a character that has no place there
    UNFINISHED                       # an open bracket, or a mark behind the last digit
    TOO_LONG
    TOO_MANY_DIGITS
    TOO_FEW_DIGITS
    DECIMAL
    NETWORK_ADDRESS
    TRUNK_PREFIX                     # within an international number
    NOT_NATIONAL
    OUTCOME_COUNT

cdef enum Kind:                      # of a character, as spelling.Kind has them
    OTHER = 0
    SPACE
    LINE_END
    INVISIBLE
    PLUS
    APOSTROPHE
    SCHEME                           # tel:
    CLOSING
    JOINING
    OPENING

cdef struct Prefix:
    uint8_t digits[PREFIX_SIZE_MAX]
    size_t size                      # 0: there is none

cdef struct Home:                    # how a region writes its own numbers
    Prefix calling_code, trunk, international
    size_t national_size             # digits of a national number; 0: its form is not known here

cdef struct Written:                 # what a text holds
    uint8_t digits[WRITTEN_DIGITS_MAX]
    size_t digit_count
    uint8_t group_sizes[WRITTEN_DIGITS_MAX]
    size_t group_count
    bint plus
    bint marked                      # by dashes or brackets
    bint zero_in_brackets            # (0), behind other digits
    size_t dot_count
    size_t dotted                    # groups before the last dot
    size_t character_count
    # where its reading is:
    Kind last                        # mark since the last digit; OTHER: none
    uint8_t open_form                # of the bracket that is open; 0: none
    size_t groups_before_bracket
    bint apart                       # the next digit begins a group
    bint over                        # the line has ended

cdef Outcome read_number(const Home* home, const uint8_t* text, size_t size, uint64_t* number) noexcept nogil


cdef class Reader:
    cdef Home home
    cdef object ask_region
    cdef object number_of(self, Outcome outcome, const Written* written, uint64_t number)
    cdef uint64_t try_number(self, const uint8_t* text, size_t size) except? 0 nogil
