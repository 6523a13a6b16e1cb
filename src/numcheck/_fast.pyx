"""The kernel: numbers in, statuses and serving operators out, with no lock, no GIL and no object per number.

Invariants:

* `Table` checks every entry, page and class that it is given once, when it is made; afterwards no number, whatever
  its value, leads a lookup outside the memory that the table keeps alive.
* A table never changes. A batch is answered from one table, so it sees one index version.
* The packed codec accepts and refuses the very bytes that the official protobuf runtime accepts and refuses.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memmove, memset

from numcheck._varint cimport varint_size, write_varint, write_varint_field

from numcheck.errors import IndexBehind, IndexDamaged, MalformedMessage, TooManyNumbers

cdef extern from *:
    """
    #if !defined(__BYTE_ORDER__) || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
    #error "numcheck reads the wire and its index in place, which needs a little-endian machine"
    #endif
    #define numcheck_unlikely(condition) __builtin_expect(!!(condition), 0)
    """
    bint unlikely "numcheck_unlikely"(bint condition) noexcept nogil



# --- lookup -----------------------------------------------------------------------------------------------------

cdef enum:
    AHEAD = 64                # numbers whose lines are under way while one is answered; measured, docs/performance.md
    SPAN_PAGES_MAX = 429_496  # 2**32 numbers
    # A lookup costs 10 ns and giving up the GIL up to 14 microseconds beside a busy thread.
    NUMBERS_UNDER_GIL_MAX = 1_024

cdef uint8_t CONSTANT_PAGES[2 * PLAIN_PAGE_SIZE]    # extent 0: nothing active, then everything active
memset(CONSTANT_PAGES, 0, PLAIN_PAGE_SIZE)
memset(CONSTANT_PAGES + PLAIN_PAGE_SIZE, 0xFF, PLAIN_PAGE_SIZE)

cdef struct Slot:             # where one number's answer is, found before it is read
    const uint8_t* words
    uint32_t place            # of the number in its page
    Entry entry


cdef inline bint span_holds(const Span* span, uint64_t number) noexcept nogil:
    return number - span.first < <uint64_t>span.page_count * PAGE_NUMBERS


cdef void locate_elsewhere(const View* view, uint64_t number, Slot* slot) noexcept nogil:
    """Locate a number outside the first span: in another span, or in none, where nothing is allotted."""
    cdef uint32_t i
    for i in range(1, view.span_count):
        if span_holds(&view.spans[i], number):
            locate_in(view, &view.spans[i], number, slot)
            return
    memset(&slot.entry, 0, sizeof(Entry))
    slot.entry.number_class = CLASS_INVALID
    for i in range(view.space_count):
        if span_holds(&view.spaces[i], number):
            slot.entry.number_class = CLASS_UNALLOCATED
    slot.words = CONSTANT_PAGES
    slot.place = 0


cdef inline void locate_in(const View* view, const Span* span, uint64_t number, Slot* slot) noexcept nogil:
    # A span is at most 2**32 numbers wide (SPAN_PAGES_MAX), so that the division is one 64-bit multiplication.
    cdef uint32_t index = <uint32_t>(number - span.first)
    cdef uint32_t page = index // PAGE_NUMBERS
    slot.place = index - page * PAGE_NUMBERS
    slot.entry = view.directory[span.page_first + page]
    slot.words = (view.extents[slot.entry.extent] + <size_t>slot.entry.offset * PAGE_UNIT
                  + (<size_t>(slot.place >> 5) << (2 + (slot.entry.kind & MIXED))))


cdef inline void locate(const View* view, uint64_t number, Slot* slot) noexcept nogil:
    if unlikely(not span_holds(&view.spans[0], number)):
        locate_elsewhere(view, number, slot)
    else:
        locate_in(view, &view.spans[0], number, slot)


cdef inline uint32_t palette_size(const uint8_t* mixed_page) noexcept nogil:
    return load16(mixed_page + MIXED_PAGE_SIZE - 4)


cdef inline uint32_t width_of_codes(const uint8_t* mixed_page) noexcept nogil:
    return load16(mixed_page + MIXED_PAGE_SIZE - 2)


cdef inline uint32_t code_of(const uint8_t* mixed_page, uint32_t rank) noexcept nogil:
    """The code of the exception that has so many before it. Widths divide 16: no code lies in two words."""
    cdef uint32_t width = width_of_codes(mixed_page), bit = rank * width
    cdef uint32_t word = load16(mixed_page + MIXED_PAGE_SIZE + 2 * (palette_size(mixed_page) + (bit >> 4)))
    return word >> (bit & 15) & ((<uint32_t>1 << width) - 1)


cdef inline uint16_t class_of_code(const uint8_t* mixed_page, uint32_t code) noexcept nogil:
    return load16(mixed_page + MIXED_PAGE_SIZE + 2 * code)


cdef uint16_t class_of_exception(const uint8_t* page, uint32_t place) noexcept nogil:
    """The class of an exception of a mixed page: the exceptions before it are counted, by line and then by word; that
    says where its code is, and the code which class of the palette it is."""
    cdef uint32_t word = place >> 5
    cdef uint32_t rank = load16(page + PAGE_WORDS * 8 + 2 * (word >> 3))
    cdef uint32_t i
    for i in range(word & ~7, word):
        rank += popcount(load32(page + 8 * i + 4))
    rank += popcount(load32(page + 8 * word + 4) & ((<uint32_t>1 << (place & 31)) - 1))
    return class_of_code(page, code_of(page, rank))


cdef uint16_t class_of_run(const uint8_t* page, uint32_t place) noexcept nogil:
    """The class of the last run that starts at or before `place`; the first run starts at 0."""
    cdef uint32_t low = 0, high = load16(page), middle
    while high - low > 1:
        middle = (low + high) // 2
        if load16(page + 2 + 4 * middle) <= place:
            low = middle
        else:
            high = middle
    return load16(page + 4 + 4 * low)


cdef inline const NumberClass* answer(const View* view, const Slot* slot, uint32_t* active) noexcept nogil:
    """The class of the number that `slot` locates, and whether its active bit is set."""
    cdef const uint8_t* page
    active[0] = load32(slot.words) >> (slot.place & 31) & 1
    if unlikely(slot.entry.kind != PLAIN):
        page = view.extents[slot.entry.extent] + <size_t>slot.entry.offset * PAGE_UNIT
        if slot.entry.kind == RUNS:
            active[0] = 0
            return &view.classes[class_of_run(page, slot.place)]
        if load32(slot.words + 4) >> (slot.place & 31) & 1:
            return &view.classes[class_of_exception(page, slot.place)]
    return &view.classes[slot.entry.number_class]


cdef uint8_t check_number(const View* view, uint64_t number, uint32_t* operator_id) noexcept nogil:
    """The status of one number and the id of its serving operator, 0 where there is none."""
    cdef Slot slot
    cdef uint32_t active
    cdef const NumberClass* number_class
    locate(view, number, &slot)
    number_class = answer(view, &slot, &active)
    operator_id[0] = number_class.operator_id
    return number_class.statuses[active]


cdef uint32_t class_number_of(const View* view, uint64_t number) noexcept nogil:
    """The class of one number."""
    cdef Slot slot
    cdef uint32_t active
    locate(view, number, &slot)
    return <uint32_t>(answer(view, &slot, &active) - view.classes)


cdef uint8_t* look_up(const View* view, const uint8_t* numbers, size_t count,
                      uint8_t* statuses, uint8_t* operators) noexcept nogil:
    """Answer `count` little-endian numbers: a status byte each, and operator ids as varints.

    `statuses` has room for `count` bytes, `operators` for `count` of the widest varints and 8 bytes more.
    Returns the end of the varints.
    """
    cdef Slot slots[AHEAD]
    cdef const NumberClass* number_class
    cdef Slot* slot
    cdef uint32_t active
    cdef size_t i, ahead = count if count < AHEAD else AHEAD
    for i in range(ahead):
        locate(view, load64(numbers + 8 * i), &slots[i])
        prefetch(slots[i].words)
    for i in range(count):
        slot = &slots[i % AHEAD]
        number_class = answer(view, slot, &active)
        statuses[i] = number_class.statuses[active]
        memcpy(operators, number_class.varint, 8)    # eight at once is quicker than just enough
        operators += number_class.varint_size
        if i + AHEAD < count:
            locate(view, load64(numbers + 8 * (i + AHEAD)), slot)
            prefetch(slot.words)
    return operators


# --- the packed wire codec --------------------------------------------------------------------------------------

cdef enum:
    GROUP_DEPTH_MAX = 100     # the official runtime's own limit
    TAG_SIZE_MAX = 5
    VARINT_SIZE_MAX = 10

cdef bint read_varint(Cursor* cursor, int size_max, uint64_t* value) noexcept nogil:
    """Read a varint of at most `size_max` bytes; False if it is cut short or too long.

    Of a tenth byte only the lowest bit counts: the official runtime drops what is over 64 bits and refuses nothing.
    """
    cdef uint64_t byte
    cdef int i
    value[0] = 0
    for i in range(size_max):
        if cursor.at == cursor.end:
            return False
        byte = cursor.at[0]
        cursor.at += 1
        value[0] |= (byte & 0x7F) << (7 * i)
        if byte < 0x80:
            return True
    return False


cdef bint skip_bytes(Cursor* cursor, uint64_t size) noexcept nogil:
    if size > <uint64_t>(cursor.end - cursor.at):
        return False
    cursor.at += size
    return True


cdef bint read_tag(Cursor* cursor, Field* field) noexcept nogil:
    cdef uint64_t tag
    if not read_varint(cursor, TAG_SIZE_MAX, &tag) or tag >> 32 != 0:
        return False
    field.number = <uint32_t>(tag >> 3)
    field.wire_type = <uint32_t>(tag & 7)
    return True


cdef bint read_value(Cursor* cursor, Field* field, int depth) noexcept nogil:
    """Read what follows a tag; a group is skipped whole."""
    cdef uint64_t size
    field.data = cursor.at
    if field.wire_type == WIRE_VARINT:
        return read_varint(cursor, VARINT_SIZE_MAX, &field.value)
    if field.wire_type == WIRE_FIXED64:
        field.size = 8
        return skip_bytes(cursor, 8)
    if field.wire_type == WIRE_FIXED32:
        return skip_bytes(cursor, 4)
    if field.wire_type == WIRE_LENGTH:
        if not read_varint(cursor, TAG_SIZE_MAX, &size) or size > 0x7FFFFFFF:
            return False
        field.data = cursor.at
        field.size = <size_t>size
        return skip_bytes(cursor, size)
    if field.wire_type == WIRE_GROUP_START and depth < GROUP_DEPTH_MAX:
        return skip_group(cursor, field.number, depth + 1)
    return False


cdef bint skip_group(Cursor* cursor, uint32_t number, int depth) noexcept nogil:
    cdef Field field
    while read_tag(cursor, &field):
        if field.wire_type == WIRE_GROUP_END:
            return field.number == number
        if not read_value(cursor, &field, depth):
            return False
    return False


cdef Step next_field(Cursor* cursor, Field* field) noexcept nogil:
    if cursor.at == cursor.end:
        return STEP_END
    # Field number 0 is refused here and not in read_tag: inside of a group the official runtime skips it.
    if not read_tag(cursor, field) or field.number == 0 or not read_value(cursor, field, 0):
        return STEP_MALFORMED
    return STEP_FIELD


cdef inline bint is_chunk(const Field* field) noexcept nogil:
    """Return True if the field holds numbers: a packed list of them, or one alone."""
    return field.number == 1 and (field.wire_type == WIRE_LENGTH or field.wire_type == WIRE_FIXED64)


cdef bint read_request(Cursor cursor, Request* request) noexcept nogil:
    """Read a CheckNumbersRequest but its numbers, which are counted; False if it is malformed."""
    cdef Field field
    cdef Step step
    memset(request, 0, sizeof(Request))
    step = next_field(&cursor, &field)
    while step == STEP_FIELD:
        if is_chunk(&field):
            if field.size % 8:
                return False
            request.number_count += field.size // 8
        elif field.number == 2 and field.wire_type == WIRE_VARINT:
            request.request_id = field.value
        elif field.number == 3 and field.wire_type == WIRE_VARINT:
            request.min_index_version = field.value
        step = next_field(&cursor, &field)
    return step == STEP_END


cdef uint8_t* look_up_chunks(const View* view, Cursor cursor, uint8_t* statuses, uint8_t* operators) noexcept nogil:
    """Answer every number of a request that `read_request` has accepted."""
    cdef Field field
    while next_field(&cursor, &field) == STEP_FIELD:
        if is_chunk(&field):
            operators = look_up(view, field.data, field.size // 8, statuses, operators)
            statuses += field.size // 8
    return operators


cdef uint8_t* write_lists(const View* view, Cursor request, size_t count, uint8_t* at) noexcept nogil:
    """Write both packed lists of a response. The varints come before their size is known: they go where they belong
    if every id takes one byte, and are moved by a byte or two if not."""
    cdef uint8_t* statuses
    cdef uint8_t* operators
    cdef uint8_t* operators_end
    cdef size_t size
    at[0] = 1 << 3 | WIRE_LENGTH
    statuses = write_varint(at + 1, count)
    at = statuses + count
    at[0] = 2 << 3 | WIRE_LENGTH
    operators = at + 1 + varint_size(count)
    operators_end = look_up_chunks(view, request, statuses, operators)
    size = operators_end - operators
    if varint_size(size) != varint_size(count):
        memmove(at + 1 + varint_size(size), operators, size)
    return write_varint(at + 1, size) + size


# --- a request and its response, for whoever has a view ----------------------------------------------------------

cdef bint is_lost(const View* view, uint64_t version) noexcept nogil:
    """Tell whether a version was given out by a history that the store does not have: it is never reached."""
    cdef uint32_t i
    for i in range(view.lost_count):
        if view.lost[i].first <= version <= view.lost[i].last:
            return True
    return False


cdef Verdict admit(const View* view, Cursor cursor, size_t numbers_per_call_max, Request* request) noexcept nogil:
    """Read a serialised CheckNumbersRequest and say whether it can be answered."""
    if not read_request(cursor, request):
        return MALFORMED
    if request.number_count > numbers_per_call_max:
        return TOO_MANY
    if request.min_index_version > view.index_version or is_lost(view, request.min_index_version):
        return BEHIND
    return ADMITTED


cdef size_t response_size_max(const View* view, const Request* request) noexcept nogil:
    """The room that `write_response` takes: two lists with tag and size, two varint fields, and the 8 bytes that
    look_up may write past its end."""
    return request.number_count * (1 + view.operator_varint_size_max) + 2 * 6 + 2 * 11 + 8


cdef uint8_t* write_response(const View* view, Cursor cursor, const Request* request, uint64_t request_id,
                             uint8_t* at) noexcept nogil:
    """Write the answer to a request that was admitted; returns its end."""
    if request.number_count > 0:
        at = write_lists(view, cursor, request.number_count, at)
    at = write_varint_field(at, 3, view.index_version)
    return write_varint_field(at, 4, request_id)


# --- the table ---------------------------------------------------------------------------------------------------

cdef class Buffer:
    """A view of somebody's memory, kept alive and unchanged in size while this object lives."""

    def __cinit__(self, source):
        PyObject_GetBuffer(source, &self.view, PyBUF_SIMPLE)
        self.held = True

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.view)

    cdef const uint8_t* bytes(self) noexcept:
        return <const uint8_t*>self.view.buf

    cdef size_t size(self) noexcept:
        return self.view.len


cdef class Table:
    """One version of the index, ready to answer: constant, and safe to ask from any thread."""

    def __init__(self, *, directory, classes, extents, spans, spaces, uint64_t index_version, lost=()):
        """Take the index's parts as docs/format.md lays them out; raise IndexDamaged if they do not fit together.

        `directory`, `classes` and each of `extents` are buffers; `spans` and `spaces` are (first number, first page,
        page count) each. The first span should be the one asked for most. `lost` are the (first, last) versions that
        no request may ask for.
        """
        self.index_version = self.view.index_version = index_version
        self.directory = Buffer(directory)
        self.classes = Buffer(classes)
        self.extents = [Buffer(extent) for extent in extents]
        self.set_classes()
        self.set_extents()
        self.view.span_count = fill_spans(self.view.spans, spans)
        self.view.space_count = fill_spans(self.view.spaces, spaces)
        self.view.lost_count = fill_lost(self.view.lost, lost)
        self.set_directory()

    def with_classes(self, classes):
        """The same pages with another table of as many classes, which costs next to nothing."""
        cdef Table other = Table.__new__(Table)
        other.view, other.directory, other.extents = self.view, self.directory, self.extents
        other.view.operator_varint_size_max = 0
        other.index_version, other.classes = self.index_version, Buffer(classes)
        other.set_classes()
        if other.class_count != self.class_count:
            raise ValueError(f"{other.class_count} classes for pages that speak of {self.class_count}")
        return other

    cdef int set_classes(self) except -1:
        cdef uint32_t i
        self.view.classes = <const NumberClass*>self.classes.bytes()
        self.class_count = <uint32_t>(self.classes.size() // sizeof(NumberClass))
        if self.class_count < 2 or self.classes.size() % sizeof(NumberClass) or self.class_count > CLASSES_MAX:
            raise IndexDamaged("the class table has an impossible size")
        for i in range(self.class_count):
            if not 1 <= self.view.classes[i].varint_size <= 5:
                raise IndexDamaged(f"class {i} has an impossible operator id")
            if self.view.classes[i].varint_size > self.view.operator_varint_size_max:
                self.view.operator_varint_size_max = self.view.classes[i].varint_size
        return 0

    cdef int set_extents(self) except -1:
        cdef Py_ssize_t i
        cdef Buffer extent
        if len(self.extents) >= EXTENTS_MAX:
            raise IndexDamaged(f"{len(self.extents)} extents; at most {EXTENTS_MAX - 1} can be mapped")
        self.view.extents[0], self.extent_sizes[0] = CONSTANT_PAGES, 2 * PLAIN_PAGE_SIZE
        for i in range(len(self.extents)):
            extent = self.extents[i]
            self.view.extents[i + 1], self.extent_sizes[i + 1] = extent.bytes(), extent.size()
        self.extent_count = <uint32_t>len(self.extents) + 1
        return 0

    cdef int set_directory(self) except -1:
        cdef size_t i, unsound, entry_count = self.directory.size() // sizeof(Entry)
        self.view.directory = <const Entry*>self.directory.bytes()
        if self.directory.size() % sizeof(Entry):
            raise IndexDamaged("the directory has an impossible size")
        for i in range(self.view.span_count):
            if self.view.spans[i].page_count > SPAN_PAGES_MAX:
                raise IndexDamaged(f"span {i} is too wide")
            if <size_t>self.view.spans[i].page_first + self.view.spans[i].page_count > entry_count:
                raise IndexDamaged(f"span {i} goes past the end of the directory")
        with nogil:    # it takes milliseconds, in which a node answers
            unsound = self.first_unsound_page(entry_count)
        if unsound < entry_count:
            raise IndexDamaged(f"page {unsound} of the directory is not sound")
        return 0

    cdef size_t first_unsound_page(self, size_t entry_count) noexcept nogil:
        """The first page that is not sound; as many as there are if all are."""
        cdef size_t i
        cdef uint8_t[CLASSES_MAX] seen    # by class: all zero between two pages
        memset(seen, 0, CLASSES_MAX)
        for i in range(entry_count):
            if not self.page_is_sound(&self.view.directory[i], seen):
                return i
        return entry_count

    cdef bint page_is_sound(self, const Entry* entry, uint8_t* seen) noexcept nogil:
        """Return True if every lookup in the page stays inside its extent and names an existing class.

        `seen` has a zero for each class, and has it again when this returns True.
        """
        cdef size_t offset = <size_t>entry.offset * PAGE_UNIT, extent_size
        cdef const uint8_t* page
        if entry.extent >= self.extent_count or entry.number_class >= self.class_count:
            return False
        extent_size = self.extent_sizes[entry.extent]
        # A lookup may read a plain page's width before it knows the page's kind.
        if offset + PLAIN_PAGE_SIZE > extent_size:
            return False
        if entry.kind == PLAIN:
            return True
        page = self.view.extents[entry.extent] + offset
        if entry.kind == MIXED:
            return self.mixed_page_is_sound(entry, page, extent_size - offset, seen)
        return entry.kind == RUNS and self.runs_are_sound(page, extent_size - offset)

    cdef bint mixed_page_is_sound(self, const Entry* entry, const uint8_t* page, size_t room,
                                  uint8_t* seen) noexcept nogil:
        cdef int word
        cdef uint32_t exception_count = 0
        if room < MIXED_PAGE_SIZE or load64(page + 8 * PAGE_WORDS - 8) & <uint64_t>0xFFFF0000FFFF0000:
            return False
        for word in range(PAGE_WORDS):
            if word % 8 == 0 and load16(page + PAGE_WORDS * 8 + word // 4) != exception_count:
                return False
            exception_count += popcount(load32(page + 8 * word + 4))
        # A class of the palette is an exception's, so there are not more: that bounds both before they are read.
        if not 1 <= palette_size(page) <= exception_count or width_of_codes(page) != code_width(palette_size(page)):
            return False
        if room < mixed_page_size(palette_size(page), width_of_codes(page), exception_count):
            return False
        return self.palette_is_sound(entry, page, seen) and codes_are_sound(page, exception_count)

    cdef bint palette_is_sound(self, const Entry* entry, const uint8_t* page, uint8_t* seen) noexcept nogil:
        """Return True if a mixed page's palette has existing classes, each once, and not the entry's."""
        cdef uint32_t i, number_class
        seen[entry.number_class] = True
        for i in range(palette_size(page)):
            number_class = class_of_code(page, i)
            if number_class >= self.class_count or seen[number_class]:
                return False
            seen[number_class] = True
        for i in range(palette_size(page)):
            seen[class_of_code(page, i)] = False
        seen[entry.number_class] = False
        return True

    cdef bint runs_are_sound(self, const uint8_t* page, size_t room) noexcept nogil:
        cdef uint32_t i, run_count = load16(page)
        if run_count == 0 or room < 2 + 4 * run_count or load16(page + 2) != 0:
            return False
        for i in range(run_count):
            if load16(page + 4 + 4 * i) >= self.class_count:
                return False
            if i > 0 and load16(page + 2 + 4 * i) <= load16(page + 4 * i - 2):
                return False
        return True

    def check(self, uint64_t number):
        """The status of one number and the id of its serving operator, 0 where there is none. Takes 50 ns."""
        cdef uint32_t operator_id = 0
        cdef uint8_t status = check_number(&self.view, number, &operator_id)
        return status, operator_id

    def check_numbers(self, bytes request not None, *, size_t numbers_per_call_max, bint echo_request_id=False):
        """Answer a serialised CheckNumbersRequest with a serialised CheckNumbersResponse, in the request's order.

        Raises MalformedMessage, TooManyNumbers or IndexBehind, in this order.
        """
        cdef Request parsed
        cdef Verdict verdict
        cdef Cursor cursor
        cursor.at = <const uint8_t*>PyBytes_AS_STRING(request)
        cursor.end = cursor.at + PyBytes_GET_SIZE(request)
        verdict = admit(&self.view, cursor, numbers_per_call_max, &parsed)
        if verdict == MALFORMED:
            raise MalformedMessage("the request is not a well-formed CheckNumbersRequest")
        if verdict == TOO_MANY:
            raise TooManyNumbers(parsed.number_count, numbers_per_call_max)
        if verdict == BEHIND:
            raise IndexBehind(parsed.min_index_version, self.index_version)
        return self.respond(cursor, &parsed, parsed.request_id if echo_request_id else 0)

    cdef bytes respond(self, Cursor cursor, const Request* request, uint64_t request_id):
        cdef bytes result = PyBytes_FromStringAndSize(NULL, response_size_max(&self.view, request))
        cdef uint8_t* start = <uint8_t*>PyBytes_AS_STRING(result)
        cdef uint8_t* end
        if request.number_count > NUMBERS_UNDER_GIL_MAX:
            with nogil:
                end = write_response(&self.view, cursor, request, request_id, start)
        else:
            end = write_response(&self.view, cursor, request, request_id, start)
        return result[:end - start]


cdef bint codes_are_sound(const uint8_t* page, uint32_t exception_count) noexcept nogil:
    """Return True if the codes of a whole mixed page first occur in the order of its palette, use all of it, and end in
    zeros."""
    cdef uint32_t i, code, next_code = 0, end = exception_count * width_of_codes(page)
    for i in range(exception_count):
        code = code_of(page, i)
        if code > next_code:
            return False
        next_code += code == next_code
    if next_code != palette_size(page):
        return False
    return load16(page + MIXED_PAGE_SIZE + 2 * (palette_size(page) + (end >> 4))) >> (end & 15) == 0


cdef uint32_t fill_spans(Span* spans, source) except? 0:
    cdef uint32_t i = 0
    if not 1 <= len(source) <= SPANS_MAX:
        raise IndexDamaged(f"{len(source)} spans; there must be between 1 and {SPANS_MAX}")
    for i, (first, page_first, page_count) in enumerate(source):
        spans[i].first = first
        spans[i].page_first = page_first
        spans[i].page_count = page_count
    return i + 1


cdef uint32_t fill_lost(Versions* versions, source) except? LOST_MAX:
    cdef uint32_t count = 0
    for first, last in source[:LOST_MAX]:
        versions[count].first = first
        versions[count].last = last
        count += 1
    return count
