# The index as the kernel reads it; docs/format.md describes the same bytes. Shared with the page builder.

from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t

cdef enum:
    PAGE_NUMBERS = 10_000        # a page answers for this many consecutive numbers, the regulator's own unit
    PAGE_WORDS = 313             # 32-bit words that hold a page's active bits
    PLAIN_PAGE_SIZE = 1_256      # bytes: PAGE_WORDS, rounded up to whole 8-byte units
    RANK_LINES = 40              # 64-byte lines of a mixed page, 256 numbers each
    MIXED_PAGE_SIZE = 2_584      # bytes before the exceptions' classes: word pairs, then a rank a line
    PAGE_UNIT = 8                # an entry's offset counts these bytes
    EXTENTS_MAX = 256            # extent 0 is the two constant pages
    SPANS_MAX = 64

cdef enum PageKind:
    PLAIN = 0                    # one class, active bits
    MIXED = 1                    # active bits paired with exception bits; each exception names its class
    RUNS = 2                     # nothing active, several classes in runs

cdef enum:
    CLASS_UNALLOCATED = 0
    CLASS_INVALID = 1

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
