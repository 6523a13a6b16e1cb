# The index as the kernel reads it (docs/format.md describes the same bytes), shared with the page builder; and the
# kernel's face for other extensions, which need no GIL as long as they hold the Table whose view they use.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    #define numcheck_prefetch(address) __builtin_prefetch((address))
    #define numcheck_popcount(word) __builtin_popcount(word)
    """
    void prefetch "numcheck_prefetch"(const void* address) noexcept nogil
    int popcount "numcheck_popcount"(uint32_t word) noexcept nogil


cdef inline uint64_t load64(const void* source) noexcept nogil:
    cdef uint64_t value
    memcpy(&value, source, 8)
    return value


cdef inline uint32_t load32(const void* source) noexcept nogil:
    cdef uint32_t value
    memcpy(&value, source, 4)
    return value


cdef inline uint16_t load16(const void* source) noexcept nogil:
    cdef uint16_t value
    memcpy(&value, source, 2)
    return value


cdef enum:
    PAGE_NUMBERS = 10_000        # a page answers for this many consecutive numbers, the regulator's own unit
    PAGE_WORDS = 313             # 32-bit words that hold a page's active bits
    PLAIN_PAGE_SIZE = 1_256      # bytes: PAGE_WORDS, rounded up to whole 8-byte units
    RANK_LINES = 40              # 64-byte lines of a mixed page, 256 numbers each
    MIXED_PAGE_SIZE = 2_588      # bytes before a mixed page's palette: word pairs, a rank a line, palette size, code width
    PAGE_UNIT = 8                # an entry's offset counts these bytes
    EXTENTS_MAX = 256            # extent 0 is the two constant pages
    SPANS_MAX = 64
    LOST_MAX = 8                 # losses of the store's history whose versions are refused: the newest
    CLASSES_MAX = 65_536

cdef enum PageKind:
    PLAIN = 0                    # one class, active bits
    MIXED = 1                    # active bits paired with exception bits; each exception has a code of its class
    RUNS = 2                     # nothing active, several classes in runs

cdef enum:
    CLASS_UNALLOCATED = 0
    CLASS_INVALID = 1

cdef inline uint32_t code_width(uint32_t class_count) noexcept nogil:
    """The bits of a code that tells so many classes apart: the least that do of 0, 1, 2, 4, 8 and 16."""
    cdef uint32_t width = 0
    while <uint32_t>1 << width < class_count:
        width = 2 * width if width else 1
    return width


cdef inline size_t mixed_page_size(uint32_t class_count, uint32_t width, size_t exception_count) noexcept nogil:
    """The bytes of a mixed page. There is a word of codes more than their bits fill, so that a code of no bits is read
    like every other."""
    return MIXED_PAGE_SIZE + 2 * <size_t>class_count + 2 * (exception_count * width // 16 + 1)


cdef packed struct Entry:        # a page's place in the directory
    uint32_t offset              # in units of PAGE_UNIT from the start of its extent
    uint16_t number_class        # of the page's numbers but its exceptions
    uint8_t extent
    uint8_t kind

cdef packed struct NumberClass:  # what numbers of one operator and kind have in common
    uint32_t operator_id
    uint8_t statuses[2]          # NumberStatus without and with the active bit
    uint8_t varint_size
    uint8_t reserved
    uint8_t varint[8]            # operator_id as the wire has it

cdef packed struct Span:         # consecutive numbers that the directory covers
    uint64_t first
    uint32_t page_first          # the directory's index of its first page
    uint32_t page_count

cdef struct Versions:    # first and last inclusive
    uint64_t first
    uint64_t last

cdef struct View:
    const Entry* directory
    const NumberClass* classes
    const uint8_t* extents[EXTENTS_MAX]
    Span spans[SPANS_MAX]
    uint32_t span_count
    Span spaces[SPANS_MAX]    # all numbers that a loaded plan's country can have; page_first is not used
    uint32_t space_count
    size_t operator_varint_size_max
    uint64_t index_version
    Versions lost[LOST_MAX]   # that the store's history does not have
    uint32_t lost_count

cdef struct Cursor:
    const uint8_t* at
    const uint8_t* end

cdef enum WireType:
    WIRE_VARINT = 0
    WIRE_FIXED64 = 1
    WIRE_LENGTH = 2
    WIRE_GROUP_START = 3
    WIRE_GROUP_END = 4
    WIRE_FIXED32 = 5

cdef enum Step:
    STEP_MALFORMED = -1
    STEP_END = 0
    STEP_FIELD = 1

cdef struct Field:
    uint32_t number
    uint32_t wire_type
    uint64_t value            # of a varint
    const uint8_t* data       # of a fixed64 or of a length-delimited field, whose `size` bytes are all there
    size_t size

cdef struct Request:
    size_t number_count
    uint64_t request_id
    uint64_t min_index_version

cdef enum Verdict:               # on a request, in the order in which it is judged
    ADMITTED = 0
    MALFORMED = 1
    TOO_MANY = 2
    BEHIND = 3

cdef Step next_field(Cursor* cursor, Field* field) noexcept nogil
cdef uint32_t class_number_of(const View* view, uint64_t number) noexcept nogil
cdef uint8_t check_number(const View* view, uint64_t number, uint32_t* operator_id) noexcept nogil
cdef Verdict admit(const View* view, Cursor cursor, size_t numbers_per_call_max, Request* request) noexcept nogil
cdef size_t response_size_max(const View* view, const Request* request) noexcept nogil
cdef uint8_t* write_response(const View* view, Cursor cursor, const Request* request, uint64_t request_id,
                             uint8_t* at) noexcept nogil

cdef class Buffer:
    cdef Py_buffer view
    cdef bint held
    cdef const uint8_t* bytes(self) noexcept
    cdef size_t size(self) noexcept

cdef class Table:
    cdef View view
    cdef Buffer directory, classes
    cdef list extents
    cdef size_t[EXTENTS_MAX] extent_sizes    # of those in the view
    cdef uint32_t class_count, extent_count
    cdef readonly uint64_t index_version
    cdef int set_classes(self) except -1
    cdef int set_extents(self) except -1
    cdef int set_directory(self) except -1
    cdef size_t first_unsound_page(self, size_t entry_count) noexcept nogil
    cdef bint page_is_sound(self, const Entry* entry, uint8_t* seen) noexcept nogil
    cdef bint mixed_page_is_sound(self, const Entry* entry, const uint8_t* page, size_t room,
                                  uint8_t* seen) noexcept nogil
    cdef bint palette_is_sound(self, const Entry* entry, const uint8_t* page, uint8_t* seen) noexcept nogil
    cdef bint runs_are_sound(self, const uint8_t* page, size_t room) noexcept nogil
    cdef bytes respond(self, Cursor cursor, const Request* request, uint64_t request_id)
