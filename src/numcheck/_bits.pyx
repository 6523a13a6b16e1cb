"""Bitsets of one chunk, and the pages that the kernel reads, laid out from them.

A chunk is 10,000,000 consecutive numbers whose first is a multiple of that: a Russian DEF code. Its bitset has the
chunk's n-th number at bit n % 8, from the least significant, of byte n // 8: `BITSET_SIZE` bytes. Every function here
checks its arguments' bounds and then works with no GIL.
"""

from cpython.array cimport array, clone
from libc.stdint cimport uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from numcheck._fast cimport (
    CLASSES_MAX, EXTENTS_MAX, MIXED, MIXED_PAGE_SIZE, PAGE_NUMBERS, PAGE_UNIT, PAGE_WORDS, PLAIN, PLAIN_PAGE_SIZE, RUNS,
    Entry, code_width, mixed_page_size,
)

cdef extern from *:
    """
    #define numcheck_popcountll(word) __builtin_popcountll(word)
    #define numcheck_ctzll(word) __builtin_ctzll(word)
    """
    int popcount64 "numcheck_popcountll"(uint64_t word) noexcept nogil
    int trailing_zeros "numcheck_ctzll"(uint64_t word) noexcept nogil

cdef enum:
    NUMBERS = 10_000_000
    SIZE = NUMBERS // 8
    PAGES = NUMBERS // PAGE_NUMBERS
    PAGE_BYTES = PAGE_NUMBERS // 8
    # Roaring's portable format.
    ROARING_WITHOUT_RUNS = 12_346
    ROARING_WITH_RUNS = 12_347
    ROARING_ARRAY_MAX = 4_096
    ROARING_OFFSETS_FROM = 4     # containers, where there are runs
    CONTAINERS_MAX = (NUMBERS + 65_535) // 65_536

CHUNK_NUMBERS = NUMBERS
BITSET_SIZE = SIZE
CHUNK_PAGES = PAGES

cdef array UINT16S = array("H")
cdef array UINT32S = array("I")
cdef array EVERY_PAGE = array("I", range(PAGES))


cdef const uint8_t[::1] checked(bitset):
    cdef const uint8_t[::1] view = bitset
    if view.shape[0] != SIZE:
        raise ValueError(f"a chunk's bitset has {SIZE:,} bytes, not {view.shape[0]:,}")
    return view


cdef uint8_t[::1] checked_writable(bitset):
    checked(bitset)
    return bitset


def set_members(bitset, const uint32_t[::1] members):
    """Set the bit of each member, a number's place in its chunk."""
    cdef uint8_t[::1] view = checked_writable(bitset)
    cdef uint8_t* bits = &view[0]
    cdef Py_ssize_t i, out_of_reach = 0
    with nogil:
        for i in range(members.shape[0]):
            if members[i] >= NUMBERS:
                out_of_reach += 1
            else:
                bits[members[i] >> 3] |= 1 << (members[i] & 7)
    if out_of_reach:
        raise ValueError(f"{out_of_reach} members are outside of the chunk")


cdef inline uint8_t bits_from(uint32_t place) noexcept nogil:
    return <uint8_t>(0xFF << (place & 7))


cdef inline uint8_t bits_to(uint32_t place) noexcept nogil:
    return <uint8_t>(0xFF >> (7 - (place & 7)))


def set_bitmap(bitset, const uint8_t[::1] serialized):
    """Set the bit of each member of a Roaring bitmap, given in the portable format (RoaringFormatSpec): a container is
    65,536 places, as words of bits, as an ascending array or as runs.

    ValueError if it is not in that format, or has a member outside of the chunk.
    """
    cdef uint8_t[::1] view = checked_writable(bitset)
    cdef bint sound
    with nogil:
        sound = set_containers(&view[0], &serialized[0], serialized.shape[0]) if serialized.shape[0] else False
    if not sound:
        raise ValueError("that is no serialised bitmap of places in a chunk")


cdef inline uint32_t read16(const uint8_t* place) noexcept nogil:
    return place[0] | <uint32_t>place[1] << 8


cdef inline uint32_t read32(const uint8_t* place) noexcept nogil:
    return read16(place) | read16(place + 2) << 16


cdef bint set_containers(uint8_t* bits, const uint8_t* data, size_t size) noexcept nogil:
    """Set the places of all containers; return False if one is not sound."""
    cdef size_t count, i, at, used
    cdef uint32_t cookie, cardinality
    cdef const uint8_t* run_flags = NULL
    cdef bint runs
    if size < 8:
        return False
    cookie = read32(data)
    if cookie & 0xFFFF == ROARING_WITH_RUNS:
        count = (cookie >> 16) + 1
        run_flags = data + 4
        at = 4 + (count + 7) // 8
    elif cookie == ROARING_WITHOUT_RUNS:
        count = read32(data + 4)
        at = 8
    else:
        return False
    if count > CONTAINERS_MAX or at + 4 * count > size:
        return False
    cdef const uint8_t* heads = data + at    # of each: which 65,536 places, and how many of them less one
    at += 4 * count
    if run_flags == NULL or count >= ROARING_OFFSETS_FROM:
        at += 4 * count    # where each begins: they follow one another
    if at > size:
        return False
    for i in range(count):
        runs = run_flags != NULL and run_flags[i // 8] >> (i & 7) & 1
        cardinality = read16(heads + 4 * i + 2) + 1
        used = set_container(bits, read16(heads + 4 * i) << 16, cardinality, runs, data + at, size - at)
        if used == 0:
            return False
        at += used
    return at == size


cdef size_t set_container(uint8_t* bits, uint32_t base, uint32_t cardinality, bint runs, const uint8_t* data,
                          size_t size) noexcept nogil:
    """Set a container's places; how many bytes it has, 0 if it is not sound."""
    cdef uint32_t room = 65_536, i, first, last
    cdef size_t used
    if base >= NUMBERS:
        return 0
    if base + room > NUMBERS:
        room = NUMBERS - base
    bits += base >> 3
    if runs:
        if size < 2 or size < 2 + 4 * <size_t>read16(data):
            return 0
        used = 2 + 4 * <size_t>read16(data)
        for i in range(read16(data)):
            first = read16(data + 2 + 4 * i)
            last = first + read16(data + 4 + 4 * i)
            if last >= room:
                return 0
            fill(bits, first, last)
    elif cardinality > ROARING_ARRAY_MAX:
        used = 8_192
        if size < used:
            return 0
        for i in range(room >> 3):
            bits[i] |= data[i]
        for i in range(room >> 3, 8_192):
            if data[i]:
                return 0
    else:
        used = 2 * <size_t>cardinality
        if size < used:
            return 0
        for i in range(cardinality):
            first = read16(data + 2 * i)
            if first >= room:
                return 0
            bits[first >> 3] |= 1 << (first & 7)
    return used


cdef inline void fill(uint8_t* bits, uint32_t first, uint32_t last) noexcept nogil:
    cdef uint32_t first_byte = first >> 3, last_byte = last >> 3
    if first_byte == last_byte:
        bits[first_byte] |= bits_from(first) & bits_to(last)
        return
    bits[first_byte] |= bits_from(first)
    memset(bits + first_byte + 1, 0xFF, last_byte - first_byte - 1)
    bits[last_byte] |= bits_to(last)


def members_of(bitset):
    """The places whose bits are set, ascending, as an array of unsigned 32-bit integers."""
    cdef const uint8_t[::1] view = checked(bitset)
    cdef const uint8_t* bits = &view[0]
    cdef Py_ssize_t count = 0, i
    cdef uint64_t word
    for i in range(0, SIZE, 8):
        memcpy(&word, bits + i, 8)
        count += popcount64(word)
    cdef array members = clone(UINT32S, count, zero=False)
    cdef uint32_t* out = members.data.as_uints
    with nogil:
        for i in range(0, SIZE, 8):
            memcpy(&word, bits + i, 8)
            while word:
                out[0] = <uint32_t>(8 * i + trailing_zeros(word))
                out += 1
                word &= word - 1
    return members


def copy_range(target, source, uint32_t first, uint32_t last):
    """Add to `target` the bits that `source` has between two places, both inclusive."""
    cdef uint8_t[::1] target_view = checked_writable(target)
    cdef const uint8_t[::1] source_view = checked(source)
    if not first <= last < NUMBERS:
        raise ValueError("the range is not inside of the chunk")
    cdef uint8_t* to = &target_view[0]
    cdef const uint8_t* origin = &source_view[0]
    cdef uint32_t byte, first_byte = first >> 3, last_byte = last >> 3
    with nogil:
        if first_byte == last_byte:
            to[first_byte] |= origin[first_byte] & bits_from(first) & bits_to(last)
        else:
            to[first_byte] |= origin[first_byte] & bits_from(first)
            for byte in range(first_byte + 1, last_byte):
                to[byte] |= origin[byte]
            to[last_byte] |= origin[last_byte] & bits_to(last)


def set_at_random(bitset, uint32_t first, uint32_t last, uint64_t seed, double share):
    """Set each bit between two places, both inclusive, with a probability of `share`; return how many were drawn.

    The same seed draws the same places.
    """
    cdef uint8_t[::1] view = checked_writable(bitset)
    cdef size_t drawn = 0
    if not first <= last < NUMBERS or not 0.0 <= share <= 1.0:
        raise ValueError("the range is not inside of the chunk, or the share is not one")
    cdef uint8_t* bits = &view[0]
    cdef uint64_t threshold = <uint64_t>(share * 4_294_967_296.0), place, random
    with nogil:
        for place in range(first, <uint64_t>last + 1):
            # splitmix64 (Steele, Lea and Flood, 2014) of the place: any part can be made without what is before it.
            random = seed + (place + 1) * <uint64_t>0x9E3779B97F4A7C15
            random = (random ^ (random >> 30)) * <uint64_t>0xBF58476D1CE4E5B9
            random = (random ^ (random >> 27)) * <uint64_t>0x94D049BB133111EB
            if (random ^ (random >> 31)) >> 32 < threshold:
                bits[place >> 3] |= 1 << (place & 7)
                drawn += 1
    return drawn


cdef class ChunkSplitter:
    """Splits numbers, in any order, by the chunks that it was made for.

    An open-addressing table with at least twice as many slots as chunks, so that every probe ends at an empty one.
    """

    cdef list chunks
    cdef array slot_chunks    # uint64: the chunk plus one, or 0
    cdef array slot_places    # uint64: which of `chunks` it is
    cdef uint64_t mask

    def __init__(self, chunks):
        cdef uint64_t slot
        cdef size_t size = 4
        self.chunks = sorted(set(chunks))
        while size < 2 * <size_t>len(self.chunks):
            size *= 2
        self.mask = size - 1
        self.slot_chunks, self.slot_places = array("Q", bytes(8 * size)), array("Q", bytes(8 * size))
        for place, chunk in enumerate(self.chunks):
            slot = <uint64_t>chunk & self.mask
            while self.slot_chunks.data.as_ulonglongs[slot]:
                slot = (slot + 1) & self.mask
            self.slot_chunks.data.as_ulonglongs[slot] = chunk + 1
            self.slot_places.data.as_ulonglongs[slot] = place

    def split(self, const uint64_t[::1] numbers):
        """Return the numbers' places in each chunk, as arrays of unsigned 32-bit integers by chunk, and the rest.

        The rest are the numbers of no such chunk, as they are; both keep the order in which the numbers came.
        """
        cdef Py_ssize_t count = numbers.shape[0], chunk_count = len(self.chunks), i
        cdef array homes = clone(UINT32S, count, zero=False)
        cdef array places = clone(UINT32S, count, zero=False)
        cdef array starts = array("Q", bytes(8 * (chunk_count + 2)))
        cdef array rest
        if count == 0:
            return {}, array("Q")
        with nogil:
            find_homes(numbers, homes.data.as_uints, starts.data.as_ulonglongs, chunk_count,
                       self.slot_chunks.data.as_ulonglongs, self.slot_places.data.as_ulonglongs, self.mask)
        bounds = starts.tolist()
        rest = array("Q", bytes(8 * (bounds[chunk_count + 1] - bounds[chunk_count])))
        with nogil:
            scatter(numbers, homes.data.as_uints, starts.data.as_ulonglongs, chunk_count,
                    places.data.as_uints, rest.data.as_ulonglongs)
        split = {
            self.chunks[i]: places[bounds[i]:bounds[i + 1]]
            for i in range(chunk_count) if bounds[i] < bounds[i + 1]
        }
        return split, rest


cdef void find_homes(const uint64_t[::1] numbers, unsigned int* homes, unsigned long long* starts,
                     Py_ssize_t chunk_count, const unsigned long long* slot_chunks,
                     const unsigned long long* slot_places, uint64_t mask) noexcept nogil:
    """Find which chunk each number is of, `chunk_count` if of none, and where each chunk's numbers start in order."""
    cdef Py_ssize_t i
    cdef uint64_t chunk, slot
    for i in range(numbers.shape[0]):
        chunk = numbers[i] // NUMBERS
        slot = chunk & mask
        while slot_chunks[slot] and slot_chunks[slot] != chunk + 1:
            slot = (slot + 1) & mask
        homes[i] = <unsigned int>(slot_places[slot] if slot_chunks[slot] else <uint64_t>chunk_count)
        starts[homes[i] + 1] += 1
    for i in range(chunk_count + 1):
        starts[i + 1] += starts[i]


cdef void scatter(const uint64_t[::1] numbers, const unsigned int* homes, unsigned long long* next_places,
                  Py_ssize_t chunk_count, unsigned int* places, unsigned long long* rest) noexcept nogil:
    cdef Py_ssize_t i
    cdef unsigned long long rest_start = next_places[chunk_count]
    for i in range(numbers.shape[0]):
        if homes[i] == <unsigned int>chunk_count:
            rest[next_places[chunk_count] - rest_start] = numbers[i]
        else:
            places[next_places[homes[i]]] = <unsigned int>(numbers[i] % NUMBERS)
        next_places[homes[i]] += 1


# --- pages ------------------------------------------------------------------------------------------------------

cdef struct Run:              # consecutive numbers of one class, inside of one page
    uint16_t first
    uint16_t length
    uint16_t number_class

cdef struct Ported:           # numbers of a chunk that are ported to one operator
    const uint32_t* places
    Py_ssize_t count
    Py_ssize_t next           # the first that is not before the page being written
    uint16_t number_class


cdef struct Palette:          # the classes of a page
    uint16_t commonest        # the entry's
    uint16_t count            # of the others, in the order in which the page's numbers first have them
    uint16_t exception_count  # numbers that have them
    uint16_t[PAGE_NUMBERS] classes


cdef struct PageWriter:
    uint8_t* out              # the next page's first byte
    uint32_t offset           # the same place, counted in PAGE_UNIT from the extent's start
    uint8_t extent
    uint32_t* by_class        # room for a number a class: all zero between two uses


cdef inline void advance(PageWriter* writer, size_t size) noexcept nogil:
    cdef size_t units = (size + PAGE_UNIT - 1) // PAGE_UNIT
    writer.out += units * PAGE_UNIT
    writer.offset += <uint32_t>units


cdef size_t active_count(const uint8_t* bits) noexcept nogil:
    cdef uint64_t word
    cdef uint16_t tail
    cdef int i
    cdef size_t count = 0
    for i in range(0, PAGE_BYTES - 2, 8):
        memcpy(&word, bits + i, 8)
        count += popcount64(word)
    memcpy(&tail, bits + PAGE_BYTES - 2, 2)
    return count + popcount64(tail)


cdef void write_plain(PageWriter* writer, Entry* entry, const uint8_t* bits) noexcept nogil:
    cdef size_t active = active_count(bits)
    entry.kind = PLAIN
    if active == 0 or active == PAGE_NUMBERS:    # the kernel's own constant pages
        entry.extent = 0
        entry.offset = 0 if active == 0 else PLAIN_PAGE_SIZE // PAGE_UNIT
        return
    memcpy(writer.out, bits, PAGE_BYTES)
    advance(writer, PLAIN_PAGE_SIZE)


cdef inline size_t runs_size(uint16_t run_count) noexcept nogil:
    return 2 + 4 * <size_t>run_count


cdef void write_runs(PageWriter* writer, Entry* entry, const Run* runs, uint16_t run_count) noexcept nogil:
    cdef uint16_t i
    entry.kind = RUNS
    memcpy(writer.out, &run_count, 2)
    for i in range(run_count):
        memcpy(writer.out + 2 + 4 * i, &runs[i].first, 2)
        memcpy(writer.out + 4 + 4 * i, &runs[i].number_class, 2)
    advance(writer, runs_size(run_count))


cdef void find_palette(PageWriter* writer, Palette* palette, const Run* runs, uint16_t run_count) noexcept nogil:
    """Find which class most of the numbers have, the first of several, and which the others have, in their order."""
    cdef uint32_t* counts = writer.by_class
    cdef uint16_t i, found = 0
    for i in range(run_count):
        if counts[runs[i].number_class] == 0:
            palette.classes[found] = runs[i].number_class
            found += 1
        counts[runs[i].number_class] += runs[i].length
    palette.commonest = palette.classes[0]
    for i in range(1, found):
        if counts[palette.classes[i]] > counts[palette.commonest]:
            palette.commonest = palette.classes[i]
    palette.exception_count = <uint16_t>(PAGE_NUMBERS - counts[palette.commonest])
    palette.count = 0
    for i in range(found):
        counts[palette.classes[i]] = 0
        if palette.classes[i] != palette.commonest:
            palette.classes[palette.count] = palette.classes[i]
            palette.count += 1


cdef inline void write_code(uint8_t* codes, uint32_t bit, uint32_t code) noexcept nogil:
    cdef uint16_t word
    memcpy(&word, codes + 2 * (bit >> 4), 2)
    word |= <uint16_t>(code << (bit & 15))
    memcpy(codes + 2 * (bit >> 4), &word, 2)


cdef void write_exceptions(PageWriter* writer, const Palette* palette, uint16_t width,
                           const Run* runs, uint16_t run_count) noexcept nogil:
    cdef uint8_t* page = writer.out
    cdef uint8_t* codes = page + MIXED_PAGE_SIZE + 2 * palette.count
    cdef uint32_t* codes_by_class = writer.by_class
    cdef uint32_t place, bit = 0
    cdef uint16_t i
    memcpy(page + MIXED_PAGE_SIZE - 4, &palette.count, 2)
    memcpy(page + MIXED_PAGE_SIZE - 2, &width, 2)
    memcpy(page + MIXED_PAGE_SIZE, palette.classes, 2 * palette.count)
    for i in range(palette.count):
        codes_by_class[palette.classes[i]] = i
    for i in range(run_count):
        if runs[i].number_class == palette.commonest:
            continue
        for place in range(runs[i].first, <uint32_t>runs[i].first + runs[i].length):
            page[8 * (place >> 5) + 4 + (place >> 3 & 3)] |= 1 << (place & 7)
            write_code(codes, bit, codes_by_class[runs[i].number_class])
            bit += width
    for i in range(palette.count):
        codes_by_class[palette.classes[i]] = 0


cdef void write_mixed(PageWriter* writer, Entry* entry, const uint8_t* bits, const Palette* palette,
                      const Run* runs, uint16_t run_count) noexcept nogil:
    cdef uint32_t word = 0
    cdef int i
    cdef uint16_t rank = 0, width = <uint16_t>code_width(palette.count)
    entry.kind = MIXED
    write_exceptions(writer, palette, width, runs, run_count)
    for i in range(PAGE_WORDS):
        # The last word has only 16 of its numbers in this page.
        memcpy(writer.out + 8 * i, bits + 4 * i, 4 if i < PAGE_WORDS - 1 else 2)
        if i % 8 == 0:
            memcpy(writer.out + 8 * PAGE_WORDS + i // 4, &rank, 2)
        memcpy(&word, writer.out + 8 * i + 4, 4)
        rank += popcount64(word)
    advance(writer, mixed_page_size(palette.count, width, rank))


cdef void write_page(PageWriter* writer, Entry* entry, const uint8_t* bits,
                     const Run* runs, uint16_t run_count) noexcept nogil:
    cdef Palette palette
    entry.extent = writer.extent
    entry.offset = writer.offset
    find_palette(writer, &palette, runs, run_count)
    entry.number_class = palette.commonest
    if palette.count == 0:
        write_plain(writer, entry, bits)
    elif active_count(bits) == 0 and runs_size(run_count) <= mixed_page_size(
            palette.count, code_width(palette.count), palette.exception_count):
        write_runs(writer, entry, runs, run_count)
    else:
        write_mixed(writer, entry, bits, &palette, runs, run_count)


cdef class LaidOut:
    """Pages as a published index has them: to keep those that stay what they are."""

    cdef const uint8_t[::1] entries_view
    cdef list extent_views
    cdef const uint8_t* extents[EXTENTS_MAX]
    cdef size_t extent_sizes[EXTENTS_MAX]
    cdef Py_ssize_t entry_count

    def __init__(self, entries, extents):
        """Take the pages' entries, and every extent of the index from the first on; they are kept as long as this."""
        cdef const uint8_t[::1] view
        cdef Py_ssize_t i
        if len(entries) % sizeof(Entry) or len(extents) >= EXTENTS_MAX:
            raise ValueError("the entries are not whole, or there are too many extents")
        self.entries_view, self.extent_views = entries, []
        self.entry_count = len(entries) // sizeof(Entry)
        for i in range(EXTENTS_MAX):
            self.extents[i], self.extent_sizes[i] = NULL, 0
        for i, extent in enumerate(extents, 1):
            view = extent
            self.extent_views.append(view)
            self.extents[i], self.extent_sizes[i] = &view[0] if view.shape[0] else NULL, view.shape[0]

    def active_counts(self):
        """Return how many numbers of each page are active, as an array of 16-bit integers."""
        cdef array counts = clone(UINT16S, self.entry_count, zero=True)
        cdef uint16_t* out = counts.data.as_ushorts
        cdef Py_ssize_t i
        cdef bint sound = True
        with nogil:
            for i in range(self.entry_count):
                sound &= self.count_active(&(<const Entry*>&self.entries_view[0])[i], &out[i])
        if not sound:
            raise ValueError("a page is outside of its extent")
        return counts

    cdef bint count_active(self, const Entry* entry, uint16_t* count) noexcept nogil:
        """Count a page's active numbers; return False if it is outside of its extent."""
        cdef const uint8_t* page
        cdef size_t start = <size_t>entry.offset * PAGE_UNIT
        cdef size_t size = 8 * PAGE_WORDS if entry.kind == MIXED else PLAIN_PAGE_SIZE
        cdef uint32_t word
        cdef int i
        if entry.kind == RUNS:
            return True
        if entry.extent == 0:    # the kernel's own constant pages: none active, then all
            count[0] = PAGE_NUMBERS if entry.offset else 0
            return True
        if start + size > self.extent_sizes[entry.extent]:
            return False
        page = self.extents[entry.extent] + start
        if entry.kind == PLAIN:
            count[0] = <uint16_t>active_count(page)
            return True
        for i in range(PAGE_WORDS):
            memcpy(&word, page + 8 * i, 4)
            count[0] += popcount64(word)
        return True

    cdef void keep_if_same(self, Py_ssize_t i, PageWriter* writer, Entry* entry) noexcept nogil:
        """Take back the page that was written last if it is here already."""
        cdef const Entry* old = &(<const Entry*>&self.entries_view[0])[i]
        cdef size_t start = <size_t>old.offset * PAGE_UNIT, size = (writer.offset - entry.offset) * PAGE_UNIT
        cdef uint8_t* written = writer.out - size
        if entry.extent != writer.extent or entry.kind != old.kind or entry.number_class != old.number_class:
            return
        if self.extents[old.extent] == NULL or start + size > self.extent_sizes[old.extent]:
            return
        if memcmp(written, self.extents[old.extent] + start, size) == 0:
            memset(written, 0, size)    # a page is written on zeros
            writer.out, writer.offset = written, entry.offset
            entry[0] = old[0]


cdef class PageLayout:
    """Lays pages out in one extent, one after the other."""

    cdef uint32_t offset
    cdef uint8_t extent
    cdef array by_class

    def __init__(self, uint8_t extent, uint32_t offset=0):
        """Begin `offset` units of eight bytes after the extent's start."""
        self.extent, self.offset = extent, offset
        self.by_class = array("I", bytes(4 * CLASSES_MAX))

    def lay_out(self, bitset, const uint32_t[::1] run_firsts, const uint16_t[::1] run_classes,
                ported=(), pages=None, laid_out=None):
        """Return the entries for the directory of a chunk's pages, and the bytes to append to the extent.

        The runs cover the chunk: the first starts at 0, each ends where the next starts, the last at the chunk's end.
        `ported` are pairs of a class and the places, ascending, that have it whatever the runs say; no place is in two.
        `pages` are the pages to lay out, ascending (array of unsigned 32-bit integers); None: all of them. A page that
        is what `laid_out` has of it keeps its entry and takes no bytes.
        """
        cdef const uint8_t[::1] bits = checked(bitset)
        check_runs(run_firsts, run_classes)
        cdef const uint32_t[::1] wanted = EVERY_PAGE if pages is None else pages
        check_pages(wanted)
        cdef list places = [one for _, one in ported]
        cdef array overlays = array("B", bytes(sizeof(Ported) * (len(places) + 1)))
        cdef Ported* overlay = <Ported*>overlays.data.as_uchars
        cdef Py_ssize_t ported_count = fill_overlays(overlay, ported)
        entries = bytearray(wanted.shape[0] * sizeof(Entry) or 1)
        cdef uint8_t[::1] entries_view = entries
        written = bytearray(pages_size_max(run_firsts, wanted.shape[0], ported_count) or 1)
        cdef uint8_t[::1] written_view = written
        cdef Py_ssize_t overlay_count = len(places)
        cdef LaidOut before = laid_out
        cdef PageWriter writer
        if before is not None and before.entry_count != wanted.shape[0]:
            raise ValueError("what is laid out has other pages")
        writer.out, writer.offset, writer.extent = &written_view[0], self.offset, self.extent
        writer.by_class = self.by_class.data.as_uints
        with nogil:
            lay_out_pages(&writer, <Entry*>&entries_view[0], &bits[0], run_firsts, run_classes,
                          overlay, overlay_count, wanted, before)
        size = writer.out - &written_view[0]
        self.offset = writer.offset
        return bytes(entries[:wanted.shape[0] * sizeof(Entry)]), bytes(memoryview(written)[:size])

    def gather(self, directory, const uint8_t[::1] source, uint8_t extent):
        """Move the pages of another extent, whose bytes `source` has, here: change their entries in the directory, a
        bytearray, and return the bytes to append."""
        cdef uint8_t[::1] directory_view = directory
        cdef Py_ssize_t entry_count = directory_view.shape[0] // sizeof(Entry), i
        cdef Entry* entries = <Entry*>&directory_view[0] if entry_count else NULL
        moved = bytearray(source.shape[0] or 1)
        cdef uint8_t[::1] moved_view = moved
        cdef PageWriter writer
        cdef size_t start, size
        writer.out, writer.offset = &moved_view[0], self.offset
        for i in range(entry_count):
            if entries[i].extent != extent:
                continue
            start = <size_t>entries[i].offset * PAGE_UNIT
            if start + PLAIN_PAGE_SIZE > <size_t>source.shape[0]:
                raise ValueError("a page is outside of its extent")
            size = page_size(&entries[i], &source[start], <size_t>source.shape[0] - start)
            if start + size > <size_t>source.shape[0] or writer.out + size > &moved_view[0] + moved_view.shape[0]:
                raise ValueError("a page is outside of its extent, or in it twice")
            memcpy(writer.out, &source[start], size)
            entries[i].extent, entries[i].offset = self.extent, writer.offset
            advance(&writer, size)
        self.offset = writer.offset
        return bytes(memoryview(moved)[:writer.out - &moved_view[0]])


cdef size_t page_size(const Entry* entry, const uint8_t* page, size_t room) noexcept nogil:
    """The bytes of a page, or more than there is room for if it is cut; at least a plain page's are there."""
    cdef uint16_t count, class_count, width
    cdef uint32_t word
    cdef size_t exceptions
    cdef int i
    if entry.kind == PLAIN:
        return PLAIN_PAGE_SIZE
    if entry.kind == RUNS:
        memcpy(&count, page, 2)
        return runs_size(count)
    if room < MIXED_PAGE_SIZE:
        return MIXED_PAGE_SIZE
    # The exceptions before the last eight words, by rank, and those in them.
    memcpy(&count, page + 8 * PAGE_WORDS + 2 * ((PAGE_WORDS - 1) // 8), 2)
    exceptions = count
    for i in range((PAGE_WORDS - 1) // 8 * 8, PAGE_WORDS):
        memcpy(&word, page + 8 * i + 4, 4)
        exceptions += popcount64(word)
    memcpy(&class_count, page + MIXED_PAGE_SIZE - 4, 2)
    memcpy(&width, page + MIXED_PAGE_SIZE - 2, 2)
    return mixed_page_size(class_count, width, exceptions)


cdef int check_runs(const uint32_t[::1] firsts, const uint16_t[::1] classes) except -1:
    cdef Py_ssize_t i
    if firsts.shape[0] == 0 or firsts.shape[0] != classes.shape[0] or firsts[0] != 0:
        raise ValueError("the runs do not start where the chunk does")
    for i in range(1, firsts.shape[0]):
        if not firsts[i - 1] < firsts[i] < NUMBERS:
            raise ValueError("the runs are not in order")
    return 0


cdef int check_pages(const uint32_t[::1] pages) except -1:
    cdef Py_ssize_t i
    for i in range(pages.shape[0]):
        if pages[i] >= PAGES or (i and pages[i] <= pages[i - 1]):
            raise ValueError("the pages are not in order, or not the chunk's")
    return 0


cdef Py_ssize_t fill_overlays(Ported* overlay, ported) except -1:
    """Point at the ported places, which the caller keeps alive; return how many there are."""
    cdef const uint32_t[::1] places
    cdef Py_ssize_t count = 0, i = 0
    for number_class, one in ported:
        places = one
        if places.shape[0] and places[places.shape[0] - 1] >= NUMBERS:
            raise ValueError("a ported number is outside of the chunk")
        overlay[i].places = &places[0] if places.shape[0] else NULL
        overlay[i].count, overlay[i].next, overlay[i].number_class = places.shape[0], 0, number_class
        count += places.shape[0]
        i += 1
    return count


cdef size_t pages_size_max(const uint32_t[::1] firsts, size_t page_count, size_t ported_count):
    """Room for every page. A mixed page is the largest, with at most a class and a code, two bytes each, an exception:
    all of a page of several runs may be exceptions, of another no more than are ported."""
    cdef size_t shared = min(<size_t>firsts.shape[0], page_count)
    cdef size_t page_size = mixed_page_size(0, 0, 0) + PAGE_UNIT
    return page_count * page_size + 4 * (shared * PAGE_NUMBERS + ported_count)


cdef int lay_out_pages(PageWriter* writer, Entry* entries, const uint8_t* bits,
                       const uint32_t[::1] firsts, const uint16_t[::1] classes,
                       Ported* overlay, Py_ssize_t overlay_count, const uint32_t[::1] pages,
                       LaidOut before) except -1 nogil:
    cdef Run[PAGE_NUMBERS] runs
    cdef uint32_t page_first, page_end, first, end
    cdef uint16_t run_count
    cdef Py_ssize_t run = 0, i
    for i in range(pages.shape[0]):
        page_first, page_end, run_count = pages[i] * PAGE_NUMBERS, (pages[i] + 1) * PAGE_NUMBERS, 0
        first = page_first
        while first < page_end:
            if run + 1 < firsts.shape[0] and firsts[run + 1] <= first:
                run += 1
                continue
            end = page_end
            if run + 1 < firsts.shape[0] and firsts[run + 1] < page_end:
                end = firsts[run + 1]
            runs[run_count].first = <uint16_t>(first - page_first)
            runs[run_count].length = <uint16_t>(end - first)
            runs[run_count].number_class = classes[run]
            run_count += 1
            first = end
        run_count = overlay_page(runs, run_count, overlay, overlay_count, page_first)
        write_page(writer, &entries[i], bits + pages[i] * PAGE_BYTES, runs, run_count)
        if before is not None:
            before.keep_if_same(i, writer, &entries[i])
    return 0


cdef uint16_t overlay_page(Run* runs, uint16_t run_count, Ported* overlay, Py_ssize_t overlay_count,
                           uint32_t page_first) noexcept nogil:
    """Give the page's ported numbers their classes; return how many runs there are then."""
    cdef uint16_t[PAGE_NUMBERS] classes
    cdef Py_ssize_t i
    cdef uint32_t place
    cdef bint any_ported = False
    for i in range(overlay_count):
        while overlay[i].next < overlay[i].count and overlay[i].places[overlay[i].next] < page_first:
            overlay[i].next += 1
        if overlay[i].next < overlay[i].count and overlay[i].places[overlay[i].next] < page_first + PAGE_NUMBERS:
            any_ported = True
    if not any_ported:
        return run_count
    for i in range(run_count):
        for place in range(runs[i].first, <uint32_t>runs[i].first + runs[i].length):
            classes[place] = runs[i].number_class
    for i in range(overlay_count):
        while overlay[i].next < overlay[i].count and overlay[i].places[overlay[i].next] < page_first + PAGE_NUMBERS:
            classes[overlay[i].places[overlay[i].next] - page_first] = overlay[i].number_class
            overlay[i].next += 1
    run_count = 0
    for place in range(<uint32_t>PAGE_NUMBERS):
        if place and classes[place] == classes[place - 1]:
            runs[run_count - 1].length += 1
        else:
            runs[run_count].first, runs[run_count].length = <uint16_t>place, 1
            runs[run_count].number_class = classes[place]
            run_count += 1
    return run_count
