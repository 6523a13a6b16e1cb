"""The record of withdrawals: layers of it laid out and read, and the answers from them.

A layer has the moment at which each of some numbers was last taken from whoever had it: as a code, a place in the
layer's own table of moments. docs/format.md has its bytes.

Invariants: `Layer` checks every byte that it is given once, when it is made; afterwards no number, whatever its value,
leads a lookup outside the memory that the layer keeps alive. A layer never changes.
"""

from cpython.array cimport array, clone
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset

from numcheck._fast cimport (
    PAGE_NUMBERS, PAGE_WORDS, RANK_LINES, WIRE_FIXED64, WIRE_LENGTH, STEP_END, STEP_FIELD, Buffer, Cursor, Field, Step,
    Table, View, class_number_of, load16, load32, load64, next_field, popcount, prefetch,
)

from numcheck.errors import BadMoments, IndexDamaged, MalformedMessage, TooManyNumbers

cdef enum:
    NUMBERS = 10_000_000         # of a chunk
    PAGES = NUMBERS // PAGE_NUMBERS
    COUNTS_SIZE = 24             # that a layer ends with
    CHUNK_ENTRY_SIZE = 16
    BLOCK_WORDS = 32             # that say which of a chunk's pages there are
    BLOCK_HEADER_SIZE = 4 * BLOCK_WORDS + 2 * BLOCK_WORDS
    PAGE_HEADER_SIZE = 4
    BITS_SIZE = 4 * PAGE_WORDS + 2 * RANK_LINES
    PAGE_SIZE_MAX = PAGE_HEADER_SIZE + BITS_SIZE + 2 * PAGE_NUMBERS
    CODES_MAX = 65_535
    GROUP = 32                   # numbers whose lines are under way together
    NUMBERS_UNDER_GIL_MAX = 256

cdef enum Form:                  # of the places in a page
    FULL = 0                     # every place
    SPARSE = 1                   # a list
    DENSE = 2                    # a bit a place, and ranks

cdef enum RecycledStatus:
    NO = 1
    YES = 2
    NOT_KNOWN = 3
    HIDDEN = 4                   # becomes NOT_KNOWN, whatever the record has

cdef array UINT16S = array("H")

WIDE_CODE_SIZE = 2
NARROW_CODES_MAX = 255
WIDE_CODES_MAX = CODES_MAX


# --- writing

cdef inline uint32_t sparse_size(uint32_t count) noexcept nogil:
    return 2 * count


cdef inline uint32_t padded(uint32_t size) noexcept nogil:
    return (size + 3) & ~<uint32_t>3


cdef class ChunkWriter:
    """Lays out the numbers of one chunk after the other. A number that is given two codes keeps the higher one."""

    cdef array codes             # of each place of the chunk; all zero between two chunks
    cdef uint8_t[PAGES] touched

    def __cinit__(self):
        self.codes = clone(UINT16S, NUMBERS, zero=True)
        memset(self.touched, 0, PAGES)

    def add(self, const uint32_t[::1] places, uint16_t code):
        """Give places of the chunk a code. ValueError if one is outside of it."""
        cdef unsigned short* codes = self.codes.data.as_ushorts
        cdef Py_ssize_t i, outside = 0
        with nogil:
            for i in range(places.shape[0]):
                if places[i] >= NUMBERS:
                    outside += 1
                    continue
                self.touched[places[i] // PAGE_NUMBERS] = 1
                if codes[places[i]] < code:
                    codes[places[i]] = code
        if outside:
            raise ValueError(f"{outside} places are outside of the chunk")

    def overlay(self, Layer layer not None, uint64_t chunk, const uint16_t[::1] translation):
        """Add what a layer has of a chunk; `translation` gives each of its codes another, 0 for one that is dropped."""
        cdef const uint8_t* block = find_block(&layer.view, chunk)
        cdef uint32_t page
        if translation.shape[0] != layer.view.moment_count + 1:
            raise ValueError("the translation is not of this layer's codes")
        if block == NULL:
            return
        with nogil:
            for page in range(<uint32_t>PAGES):
                if has_page(block, page):
                    self.touched[page] = 1
                    self.overlay_page(page_of(block, page), layer.view.code_size, page * PAGE_NUMBERS, &translation[0])

    cdef void overlay_page(self, const uint8_t* page, uint32_t code_size, uint32_t base,
                           const uint16_t* translation) noexcept nogil:
        cdef unsigned short* codes = self.codes.data.as_ushorts + base
        cdef uint32_t rank, count = count_of(page), word, bits, place, at = 0
        cdef uint16_t code
        for rank in range(count):
            if form_of(page) == FULL:
                place = rank
            elif form_of(page) == SPARSE:
                place = load16(page + PAGE_HEADER_SIZE + 2 * rank)
            else:
                while not dense_has(page, at):
                    at += 1
                place = at
                at += 1
            code = translation[code_at(page, rank, code_size)]
            if codes[place] < code:
                codes[place] = code

    def lay_out(self, uint32_t code_size):
        """Return the block of the chunk and how many numbers it has, and begin the next one; nothing if it has none."""
        cdef uint32_t page, page_count = 0, number_count = 0
        for page in range(<uint32_t>PAGES):
            page_count += self.touched[page]
        cdef bytes room = PyBytes_FromStringAndSize(
            NULL, BLOCK_HEADER_SIZE + 4 * page_count + <size_t>page_count * (PAGE_SIZE_MAX + 3))
        cdef uint8_t* block = <uint8_t*>PyBytes_AS_STRING(room)
        cdef size_t size
        with nogil:
            size = self.write_block(block, code_size, &number_count)
        return (room[:size], number_count) if number_count else (b"", 0)

    cdef size_t write_block(self, uint8_t* block, uint32_t code_size, uint32_t* number_count) noexcept nogil:
        cdef uint32_t page, word = 0, page_count = 0, i = 0, offset
        cdef uint16_t rank
        cdef uint32_t[PAGES] kept
        memset(block, 0, BLOCK_HEADER_SIZE)
        for page in range(<uint32_t>PAGES):
            kept[page] = self.number_count(page) if self.touched[page] else 0
            self.touched[page] = 0
            if kept[page]:
                word = load32(block + 4 * (page >> 5)) | <uint32_t>1 << (page & 31)
                memcpy(block + 4 * (page >> 5), &word, 4)
                page_count += 1
        for i in range(<uint32_t>BLOCK_WORDS):
            rank = 0 if i == 0 else load16(block + 4 * BLOCK_WORDS + 2 * (i - 1)) + popcount(load32(block + 4 * (i - 1)))
            memcpy(block + 4 * BLOCK_WORDS + 2 * i, &rank, 2)
        offset, i = BLOCK_HEADER_SIZE + 4 * page_count, 0
        for page in range(<uint32_t>PAGES):
            if kept[page]:
                memcpy(block + BLOCK_HEADER_SIZE + 4 * i, &offset, 4)
                offset += self.write_page(block + offset, page, kept[page], code_size)
                number_count[0] += kept[page]
                i += 1
        return offset

    cdef uint32_t number_count(self, uint32_t page) noexcept nogil:
        cdef const unsigned short* codes = self.codes.data.as_ushorts + page * PAGE_NUMBERS
        cdef uint32_t place, count = 0
        for place in range(<uint32_t>PAGE_NUMBERS):
            count += codes[place] != 0
        return count

    cdef uint32_t write_page(self, uint8_t* page, uint32_t number, uint32_t count, uint32_t code_size) noexcept nogil:
        """Write a page and forget its codes; its size."""
        cdef unsigned short* codes = self.codes.data.as_ushorts + number * PAGE_NUMBERS
        cdef uint16_t place, count16 = <uint16_t>count, code, first = 0
        cdef uint32_t rank = 0, size = PAGE_HEADER_SIZE
        cdef bint same = True
        for place in range(<uint32_t>PAGE_NUMBERS):
            if codes[place]:
                first = codes[place] if first == 0 else first
                same = same and codes[place] == first
        memcpy(page, &count16, 2)
        page[2] = FULL if count == PAGE_NUMBERS else SPARSE if sparse_size(count) <= BITS_SIZE else DENSE
        page[3] = same
        if page[2] == SPARSE:
            size += sparse_size(count)
        elif page[2] == DENSE:
            size += BITS_SIZE
            write_bits(page + PAGE_HEADER_SIZE, codes)
        for place in range(<uint32_t>PAGE_NUMBERS):
            if codes[place]:
                if page[2] == SPARSE:
                    memcpy(page + PAGE_HEADER_SIZE + 2 * rank, &place, 2)
                if rank == 0 or not same:
                    code = codes[place]
                    memcpy(page + size + rank * code_size, &code, code_size)
                rank += 1
        size += code_size * (1 if same else count)
        memset(page + size, 0, padded(size) - size)
        memset(codes, 0, 2 * PAGE_NUMBERS)
        return padded(size)


cdef void write_bits(uint8_t* bits, const unsigned short* codes) noexcept nogil:
    """Write a bit for each place that has a code, and how many come before each line of eight words."""
    cdef uint32_t place, word = 0, i
    cdef uint16_t rank = 0
    for i in range(<uint32_t>PAGE_WORDS):
        if i % 8 == 0:
            memcpy(bits + 4 * PAGE_WORDS + i // 4, &rank, 2)
        word = 0
        for place in range(32 * i, 32 * i + 32 if 32 * i + 32 < PAGE_NUMBERS else PAGE_NUMBERS):
            word |= <uint32_t>(codes[place] != 0) << (place & 31)
        memcpy(bits + 4 * i, &word, 4)
        rank += popcount(word)
    for i in range((PAGE_WORDS + 7) // 8, <uint32_t>RANK_LINES):
        memcpy(bits + 4 * PAGE_WORDS + 2 * i, &rank, 2)


def foot_of(moments, blocks, uint32_t code_size, uint64_t number_count):
    """Return what ends a layer: `moments` ascend, and are those of code 1, 2, ...; `blocks` are chunks and the sizes of
    their blocks, which come before it in this order."""
    cdef bytearray foot = bytearray(array("q", moments).tobytes())
    cdef uint64_t offset = 0
    for chunk, size in blocks:
        foot += array("Q", [offset]).tobytes() + array("I", [chunk, 0]).tobytes()
        offset += size
    foot += array("I", [len(moments), len(blocks), code_size, 0]).tobytes()
    return bytes(foot + array("Q", [number_count]).tobytes())


# --- a layer

cdef struct LayerView:
    const uint8_t* payload
    const uint8_t* moments       # int64, of code 1, 2, ...
    const uint8_t* chunks        # entries: where its block is, and which chunk it is
    uint32_t moment_count
    uint32_t chunk_count
    uint32_t code_size


cdef inline int64_t moment_of(const LayerView* layer, uint32_t code) noexcept nogil:
    return <int64_t>load64(layer.moments + 8 * (code - 1))


cdef inline uint32_t chunk_at(const LayerView* layer, uint32_t i) noexcept nogil:
    return load32(layer.chunks + CHUNK_ENTRY_SIZE * i + 8)


cdef inline uint64_t block_offset(const LayerView* layer, uint32_t i) noexcept nogil:
    return load64(layer.chunks + CHUNK_ENTRY_SIZE * i)


cdef const uint8_t* find_block(const LayerView* layer, uint64_t chunk) noexcept nogil:
    """The block of a chunk; NULL if there is none."""
    cdef uint32_t low = 0, count = layer.chunk_count, half
    if count == 0:
        return NULL
    while count > 1:
        half = count // 2
        low += half if chunk_at(layer, low + half) <= chunk else 0
        count -= half
    return layer.payload + block_offset(layer, low) if chunk_at(layer, low) == chunk else NULL


cdef inline bint has_page(const uint8_t* block, uint32_t page) noexcept nogil:
    return load32(block + 4 * (page >> 5)) >> (page & 31) & 1


cdef inline const uint8_t* offset_of(const uint8_t* block, uint32_t page) noexcept nogil:
    cdef uint32_t before = load32(block + 4 * (page >> 5)) & ((<uint32_t>1 << (page & 31)) - 1)
    cdef uint32_t rank = load16(block + 4 * BLOCK_WORDS + 2 * (page >> 5)) + popcount(before)
    return block + BLOCK_HEADER_SIZE + 4 * rank


cdef inline const uint8_t* page_of(const uint8_t* block, uint32_t page) noexcept nogil:
    return block + load32(offset_of(block, page))


cdef inline uint32_t count_of(const uint8_t* page) noexcept nogil:
    return load16(page)


cdef inline uint8_t form_of(const uint8_t* page) noexcept nogil:
    return page[2]


cdef inline uint32_t places_size(const uint8_t* page) noexcept nogil:
    if form_of(page) == FULL:
        return 0
    return BITS_SIZE if form_of(page) == DENSE else sparse_size(count_of(page))


cdef inline uint32_t page_size(const uint8_t* page, uint32_t code_size) noexcept nogil:
    return padded(PAGE_HEADER_SIZE + places_size(page) + code_size * (1 if page[3] else count_of(page)))


cdef inline const uint8_t* code_place(const uint8_t* page, uint32_t rank, uint32_t code_size) noexcept nogil:
    return page + PAGE_HEADER_SIZE + places_size(page) + (0 if page[3] else rank * code_size)


cdef inline uint16_t read_code(const uint8_t* place, uint32_t code_size) noexcept nogil:
    return place[0] if code_size == 1 else load16(place)


cdef inline uint16_t code_at(const uint8_t* page, uint32_t rank, uint32_t code_size) noexcept nogil:
    return read_code(code_place(page, rank, code_size), code_size)


cdef inline bint dense_has(const uint8_t* page, uint32_t place) noexcept nogil:
    return load32(page + PAGE_HEADER_SIZE + 4 * (place >> 5)) >> (place & 31) & 1


cdef inline uint32_t dense_rank(const uint8_t* page, uint32_t place) noexcept nogil:
    cdef const uint8_t* words = page + PAGE_HEADER_SIZE
    cdef uint32_t word = place >> 5, i, rank = load16(words + 4 * PAGE_WORDS + 2 * (word >> 3))
    for i in range(word & ~7, word):
        rank += popcount(load32(words + 4 * i))
    return rank + popcount(load32(words + 4 * word) & ((<uint32_t>1 << (place & 31)) - 1))


cdef const uint8_t* find_code(const uint8_t* page, uint32_t place, uint32_t code_size) noexcept nogil:
    """Return the address of a place's code; NULL if it has none."""
    cdef uint32_t low = 0, count = count_of(page), half
    if form_of(page) == DENSE:
        return code_place(page, dense_rank(page, place), code_size) if dense_has(page, place) else NULL
    if form_of(page) == FULL:
        return code_place(page, place, code_size)
    while count > 1:
        half = count // 2
        low += half if load16(page + PAGE_HEADER_SIZE + 2 * (low + half)) <= place else 0
        count -= half
    return code_place(page, low, code_size) if load16(page + PAGE_HEADER_SIZE + 2 * low) == place else NULL


cdef class Layer:
    """A layer, ready to be read: constant, and safe to ask from any thread. IndexDamaged if it is not sound."""

    cdef LayerView view
    cdef Buffer buffer
    cdef readonly uint64_t number_count

    def __init__(self, payload):
        cdef const uint8_t* end
        cdef size_t size, foot_size
        cdef bint sound
        self.buffer = Buffer(payload)
        self.view.payload, size = self.buffer.bytes(), self.buffer.size()
        if size < COUNTS_SIZE:
            raise IndexDamaged("a layer of the record is too short")
        end = self.view.payload + size - COUNTS_SIZE
        self.view.moment_count, self.view.chunk_count, self.view.code_size = load32(end), load32(end + 4), load32(end + 8)
        self.number_count = load64(end + 16)
        foot_size = COUNTS_SIZE + 8 * <size_t>self.view.moment_count + CHUNK_ENTRY_SIZE * <size_t>self.view.chunk_count
        if self.view.code_size not in (1, 2) or self.view.moment_count >= <uint32_t>1 << 8 * self.view.code_size:
            raise IndexDamaged("a layer of the record has impossible codes")
        if size < foot_size:
            raise IndexDamaged("a layer of the record is too short")
        self.view.moments = self.view.payload + size - foot_size
        self.view.chunks = self.view.moments + 8 * self.view.moment_count
        with nogil:
            sound = self.is_sound(size - foot_size)
        if not sound:
            raise IndexDamaged("a layer of the record is not sound")

    @property
    def moments(self):
        """The moments of code 1, 2, ..., in seconds since 1970, ascending."""
        cdef uint32_t code
        return [moment_of(&self.view, code) for code in range(1, self.view.moment_count + 1)]

    @property
    def chunks(self):
        """The chunks that have numbers in it, ascending."""
        cdef uint32_t i
        return [chunk_at(&self.view, i) for i in range(self.view.chunk_count)]

    def moment(self, uint64_t number):
        """The moment at which a number was last withdrawn; None if the layer does not have it."""
        cdef uint16_t code = code_in(&self.view, number)
        return moment_of(&self.view, code) if code else None

    cdef bint is_sound(self, size_t size) noexcept nogil:
        """Return True if the moments ascend, and blocks of `size` bytes are as the chunks say."""
        cdef uint32_t i
        cdef uint64_t total = 0, end = 0
        for i in range(2, self.view.moment_count + 1):
            if moment_of(&self.view, i) <= moment_of(&self.view, i - 1):
                return False
        for i in range(self.view.chunk_count):
            if i > 0 and chunk_at(&self.view, i) <= chunk_at(&self.view, i - 1):
                return False
            if block_offset(&self.view, i) != end or not self.block_is_sound(&end, size, &total):
                return False
        return end == size and total == self.number_count

    cdef bint block_is_sound(self, uint64_t* at, size_t size, uint64_t* total) noexcept nogil:
        """Return True if a block lies whole before `size`; `at`, its start, becomes its end."""
        cdef const uint8_t* block = self.view.payload + at[0]
        cdef uint64_t room = size - at[0], offset
        cdef uint32_t i, page_count = 0
        if room < BLOCK_HEADER_SIZE or load32(block + 4 * (BLOCK_WORDS - 1)) >> (PAGES - 32 * (BLOCK_WORDS - 1)):
            return False
        for i in range(<uint32_t>BLOCK_WORDS):
            if load16(block + 4 * BLOCK_WORDS + 2 * i) != page_count:
                return False
            page_count += popcount(load32(block + 4 * i))
        offset = BLOCK_HEADER_SIZE + 4 * page_count
        if room < offset:
            return False
        for i in range(page_count):
            if load32(block + BLOCK_HEADER_SIZE + 4 * i) != offset:
                return False
            if room < offset + PAGE_HEADER_SIZE or not self.page_is_sound(block + offset, room - offset):
                return False
            total[0] += count_of(block + offset)
            offset += page_size(block + offset, self.view.code_size)
        at[0] += offset
        return True

    cdef bint page_is_sound(self, const uint8_t* page, uint64_t room) noexcept nogil:
        cdef uint32_t i, count = count_of(page), rank = 0
        if form_of(page) > DENSE or page[3] > 1 or not 0 < count <= PAGE_NUMBERS:
            return False
        if room < page_size(page, self.view.code_size) or (form_of(page) == FULL and count != PAGE_NUMBERS):
            return False
        if form_of(page) == SPARSE:
            for i in range(count):
                if load16(page + PAGE_HEADER_SIZE + 2 * i) >= PAGE_NUMBERS:
                    return False
                if i > 0 and load16(page + PAGE_HEADER_SIZE + 2 * i) <= load16(page + PAGE_HEADER_SIZE + 2 * i - 2):
                    return False
        elif form_of(page) == DENSE:
            if load32(page + PAGE_HEADER_SIZE + 4 * (PAGE_WORDS - 1)) >> (PAGE_NUMBERS - 32 * (PAGE_WORDS - 1)):
                return False
            for i in range(<uint32_t>PAGE_WORDS):
                if i % 8 == 0 and load16(page + PAGE_HEADER_SIZE + 4 * PAGE_WORDS + i // 4) != rank:
                    return False
                rank += popcount(load32(page + PAGE_HEADER_SIZE + 4 * i))
            if rank != count:
                return False
        for i in range(1 if page[3] else count):
            if not 1 <= code_at(page, i, self.view.code_size) <= self.view.moment_count:
                return False
        return True


cdef uint16_t code_in(const LayerView* layer, uint64_t number) noexcept nogil:
    cdef uint64_t chunk = number // NUMBERS
    cdef uint32_t place = <uint32_t>(number - chunk * NUMBERS), page = place // PAGE_NUMBERS
    cdef const uint8_t* block = find_block(layer, chunk)
    cdef const uint8_t* code
    if block == NULL or not has_page(block, page):
        return 0
    code = find_code(page_of(block, page), place - page * PAGE_NUMBERS, layer.code_size)
    return 0 if code == NULL else read_code(code, layer.code_size)


# --- answers

cdef struct Basis:               # what statuses rest on besides the layers
    const int64_t* of_class      # from when on the record of a class is whole
    const uint8_t* hidden        # by class: nothing may be told of its numbers
    const uint64_t* firsts       # of the plan's ranges, ascending
    const uint64_t* lasts
    const int64_t* of_range      # from when on the record of a range's holder is whole
    Py_ssize_t class_count
    Py_ssize_t range_count


cdef inline int64_t whole_from(const Basis* basis, uint32_t number_class, uint64_t number) noexcept nogil:
    """From when on the record is whole of the operator that serves a number and of the one whose range it is in."""
    cdef Py_ssize_t low = 0, count = basis.range_count, half
    cdef int64_t of_class = basis.of_class[number_class]
    if count == 0:
        return of_class
    while count > 1:
        half = count // 2
        low += half if basis.firsts[low + half] <= number else 0
        count -= half
    if not basis.firsts[low] <= number <= basis.lasts[low]:
        return of_class
    return of_class if of_class > basis.of_range[low] else basis.of_range[low]


cdef struct Slot:                # a number on its way through a layer
    const uint8_t* block
    const uint8_t* page          # where the offset of its page is, then the page, then its code
    uint32_t place               # in its chunk, then in its page


cdef void ask_layer(const LayerView* layer, const uint64_t* numbers, const int64_t* since, bint one_moment,
                    Py_ssize_t count, uint8_t* statuses) noexcept nogil:
    """Make the status of each number YES that the layer has at or after its moment; at most GROUP numbers.

    Step by step for all of them, so that the memory that a step reads is on its way during the step before.
    """
    cdef Slot[GROUP] slots
    cdef Py_ssize_t i
    cdef uint64_t chunk
    cdef uint32_t page
    cdef uint16_t code
    for i in range(count):
        chunk = numbers[i] // NUMBERS
        slots[i].place = <uint32_t>(numbers[i] - chunk * NUMBERS)
        slots[i].block = find_block(layer, chunk) if statuses[i] != YES and statuses[i] != HIDDEN else NULL
        page = slots[i].place // PAGE_NUMBERS
        slots[i].page = NULL
        if slots[i].block != NULL and has_page(slots[i].block, page):
            slots[i].page = offset_of(slots[i].block, page)
            prefetch(slots[i].page)
        slots[i].place -= page * PAGE_NUMBERS
    for i in range(count):
        if slots[i].page != NULL:
            slots[i].page = slots[i].block + load32(slots[i].page)
            prefetch(slots[i].page)
            prefetch(slots[i].page + PAGE_HEADER_SIZE + 4 * (slots[i].place >> 5))
            prefetch(slots[i].page + PAGE_HEADER_SIZE + 4 * PAGE_WORDS + 2 * (slots[i].place >> 8))
    for i in range(count):
        if slots[i].page != NULL:
            slots[i].page = find_code(slots[i].page, slots[i].place, layer.code_size)
            prefetch(slots[i].page)
    for i in range(count):
        if slots[i].page != NULL:
            code = read_code(slots[i].page, layer.code_size)
            if moment_of(layer, code) >= since[0 if one_moment else i]:
                statuses[i] = YES


cdef class Record:
    """The record of withdrawals: constant, and safe to ask from any thread."""

    cdef list layers
    cdef Buffer ranges, of_range
    cdef Py_ssize_t range_count
    cdef readonly int64_t since

    def __init__(self, *, layers, ranges, of_range, int64_t since):
        """Take `layers`, and the index's table of ranges with the moment for each from which on the record of its
        holder is whole, 64-bit; the whole record goes back to `since`, in seconds; 0: there is none."""
        self.layers, self.ranges, self.of_range, self.since = list(layers), Buffer(ranges), Buffer(of_range), since
        self.range_count = self.of_range.size() // 8
        if self.ranges.size() < 16 * <size_t>self.range_count:
            raise IndexDamaged("the range table does not have the size that the manifest says")

    def check(self, bytes request not None, Table table not None, const int64_t[::1] of_class,
              const uint8_t[::1] hidden, *, Py_ssize_t numbers_per_call_max):
        """Return a status a number for a serialised CheckRecycledRequest, in its order, an octet each.

        `of_class` and `hidden` say of each class of the table from when on its record is whole, and whether nothing may
        be told of it. Raises MalformedMessage, TooManyNumbers or BadMoments, in this order.
        """
        cdef Py_ssize_t count = 0, moment_count = 0
        cdef Cursor cursor
        cdef Basis basis
        cursor.at = <const uint8_t*>PyBytes_AS_STRING(request)
        cursor.end = cursor.at + PyBytes_GET_SIZE(request)
        if not gather(cursor, &count, &moment_count, NULL, NULL):
            raise MalformedMessage("the request is not a well-formed CheckRecycledRequest")
        if count > numbers_per_call_max:
            raise TooManyNumbers(count, numbers_per_call_max)
        if moment_count != count and moment_count != 1:
            raise BadMoments(moment_count, count)
        if of_class.shape[0] != table.class_count or hidden.shape[0] != table.class_count:
            raise ValueError("the moments are not of this table's classes")
        if count == 0:
            return b""
        cdef array numbers = clone(array("Q"), count, zero=False)
        cdef array since = clone(array("q"), moment_count, zero=False)
        cdef bytes statuses = PyBytes_FromStringAndSize(NULL, count)
        gather(cursor, NULL, NULL, numbers.data.as_ulonglongs, since.data.as_longlongs)
        basis.of_class, basis.hidden = &of_class[0], &hidden[0]
        basis.firsts = <const uint64_t*>self.ranges.bytes()
        basis.lasts, basis.of_range = basis.firsts + self.range_count, <const int64_t*>self.of_range.bytes()
        basis.range_count = self.range_count
        if count > NUMBERS_UNDER_GIL_MAX:
            self.answer(table, &basis, numbers, since, <uint8_t*>PyBytes_AS_STRING(statuses), False)
        else:
            self.answer(table, &basis, numbers, since, <uint8_t*>PyBytes_AS_STRING(statuses), True)
        return statuses

    cdef int answer(self, Table table, const Basis* basis, array numbers, array since, uint8_t* statuses,
                    bint keep_gil) except -1:
        cdef const uint64_t* asked = <const uint64_t*>numbers.data.as_ulonglongs
        cdef const int64_t* moments = <const int64_t*>since.data.as_longlongs
        cdef Py_ssize_t count = len(numbers), i, layer_count = len(self.layers)
        cdef bint one_moment = len(since) == 1
        cdef LayerView[256] views
        for i in range(layer_count):
            views[i] = (<Layer>self.layers[i]).view
        if keep_gil:
            answer_groups(&table.view, basis, views, layer_count, asked, moments, one_moment, count, statuses)
        else:
            with nogil:
                answer_groups(&table.view, basis, views, layer_count, asked, moments, one_moment, count, statuses)
        return 0


cdef void answer_groups(const View* view, const Basis* basis, const LayerView* layers, Py_ssize_t layer_count,
                        const uint64_t* numbers, const int64_t* since, bint one_moment, Py_ssize_t count,
                        uint8_t* statuses) noexcept nogil:
    cdef Py_ssize_t first = 0, size, i
    cdef uint32_t number_class
    cdef int64_t moment
    while first < count:
        size = count - first if count - first < GROUP else GROUP
        for i in range(first, first + size):
            number_class = class_number_of(view, numbers[i])
            moment = since[0] if one_moment else since[i]
            if basis.hidden[number_class]:
                statuses[i] = HIDDEN
            elif whole_from(basis, number_class, numbers[i]) <= moment:
                statuses[i] = NO
            else:
                statuses[i] = NOT_KNOWN
        for i in range(layer_count):
            ask_layer(&layers[i], numbers + first, since + (0 if one_moment else first), one_moment, size,
                      statuses + first)
        for i in range(first, first + size):
            if statuses[i] == HIDDEN:
                statuses[i] = NOT_KNOWN
        first += GROUP


cdef bint gather(Cursor cursor, Py_ssize_t* count, Py_ssize_t* moment_count, unsigned long long* numbers,
                 long long* moments) noexcept nogil:
    """Count the numbers and moments of a request, or copy them; False if it is malformed."""
    cdef Field field
    cdef Step step = next_field(&cursor, &field)
    while step == STEP_FIELD:
        if field.number in (1, 2) and (field.wire_type == WIRE_LENGTH or field.wire_type == WIRE_FIXED64):
            if field.size % 8:
                return False
            if count != NULL:
                if field.number == 1:
                    count[0] += field.size // 8
                else:
                    moment_count[0] += field.size // 8
            elif field.number == 1:
                memcpy(numbers, field.data, field.size)
                numbers += field.size // 8
            else:
                memcpy(moments, field.data, field.size)
                moments += field.size // 8
        step = next_field(&cursor, &field)
    return step == STEP_END


NEVER = INT64_MAX
"""From when on a record is whole that says nothing yet."""
