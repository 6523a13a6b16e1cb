# Answers CheckNumber without Python: reads a number as people write it, and writes what the index and plan say of it.

cdef enum:
    RANGE_SIZE = 24                  # a range's four columns, docs/format.md
    VARINT_FIELD_SIZE_MAX = 11       # a tag, and ten octets of 64 bits; the head of a text is no longer
    FIXED64_FIELD_SIZE = 9
    # What write_facts writes but the texts: status, ported and index_version, and the number.
    FIXED_FIELDS_SIZE_MAX = 3 * VARINT_FIELD_SIZE_MAX + FIXED64_FIELD_SIZE
    TEXT_FIELDS = 3                  # both operators and the region

cdef uint64_t word64(const uint8_t* words, size_t i) noexcept nogil:
    cdef uint64_t word
    memcpy(&word, words + 8 * i, 8)
    return word


cdef uint32_t word32(const uint8_t* words, size_t i) noexcept nogil:
    cdef uint32_t word
    memcpy(&word, words + 4 * i, 4)
    return word


cdef class Facts:
    """The parts of a CheckNumberResponse beside the status, of one version of the index, ready to be copied."""

    cdef FactsView view
    cdef Buffer ranges
    cdef list texts    # keeps what `view` points to
    cdef bytes operator_ids

    def __init__(self, ranges, regions, operators):
        """Take the range table's four columns, the regions that it names, and each operator as the API has it,
        serialised, by id."""
        cdef size_t i
        ids = sorted(operators)
        self.texts = [region.encode() for region in regions] + [operators[one] for one in ids]
        self.operator_ids, self.ranges = b"".join(one.to_bytes(4, "little") for one in ids), Buffer(ranges)
        self.view.operator_ids = <const uint8_t*>PyBytes_AS_STRING(self.operator_ids)
        self.view.operator_count, self.view.range_count = len(ids), self.ranges.size() // RANGE_SIZE
        self.set_columns()
        self.view.texts = <Text*>calloc(len(self.texts) + 1, sizeof(Text))
        if self.view.texts == NULL:
            raise MemoryError
        for i in range(<size_t>len(self.texts)):
            self.set_text(&self.view.texts[i], self.texts[i])
        self.view.operators = self.view.texts + len(regions)
        for i in range(self.view.range_count):
            if word32(self.view.regions, i) >= <size_t>len(regions):
                raise ValueError("the range table speaks of regions that there are not")

    def __dealloc__(self):
        free(self.view.texts)

    cdef int set_columns(self) except -1:
        cdef FactsView* view = &self.view
        view.firsts = self.ranges.bytes()
        view.lasts = view.firsts + 8 * view.range_count
        view.holders = view.lasts + 8 * view.range_count
        view.regions = view.holders + 4 * view.range_count
        return 0

    cdef int set_text(self, Text* text, bytes value) except -1:
        text.data, text.size = <const uint8_t*>PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)
        self.view.text_size_max = max(self.view.text_size_max, text.size)
        return 0


cdef bint read_request(const Loop* loop, const Bytes* body, uint64_t* number) noexcept nogil:
    """Read a CheckNumberRequest of up to 127 bytes; False if Python has to read or refuse it."""
    if body.size < 2 or body.data[0] != 0x0A or body.data[1] > 0x7F or body.data[1] != body.size - 2:
        return False
    return read_number(loop.home, body.data + 2, body.size - 2, number) == READ


cdef size_t count_up_to(const uint8_t* words, size_t count, uint64_t value) noexcept nogil:
    """Return how many of the sorted words are at most `value`."""
    cdef size_t low = 0, middle
    while low < count:
        middle = (low + count) // 2
        if word64(words, middle) <= value:
            low = middle + 1
        else:
            count = middle
    return low


cdef const Text* find_operator(const FactsView* facts, uint32_t operator_id) noexcept nogil:
    """Return the operator's message; NULL if there is no operator of that id."""
    cdef size_t low = 0, high = facts.operator_count, middle
    while low < high:
        middle = (low + high) // 2
        if word32(facts.operator_ids, middle) < operator_id:
            low = middle + 1
        else:
            high = middle
    if low == facts.operator_count or word32(facts.operator_ids, low) != operator_id:
        return NULL
    return &facts.operators[low]


cdef bint answer_number(Stream* stream) noexcept nogil:
    """Answer a CheckNumberRequest; False, and do nothing, if Python has to."""
    cdef Loop* loop = stream.connection.loop
    cdef const FactsView* facts = loop.facts
    cdef const View* view = loop.views[stream.connection.view]
    cdef uint64_t number
    if facts == NULL or not read_request(loop, &stream.body, &number):
        return False
    if stream.connection.ledger != NULL and not take_number(stream.connection.ledger, number):
        return False
    if make_answer_room(stream, FIXED_FIELDS_SIZE_MAX + TEXT_FIELDS * (VARINT_FIELD_SIZE_MAX + facts.text_size_max)):
        end_answer(stream, write_facts(view, facts, number, answer_start(stream)))
        count_numbers(stream, 1)
    return True


cdef uint8_t* write_facts(const View* view, const FactsView* facts, uint64_t number, uint8_t* at) noexcept nogil:
    """Write a CheckNumberResponse as the official runtime does, field by field; return its end."""
    cdef uint32_t operator_id = 0
    cdef const Text* serving
    cdef const Text* holder
    cdef const Text* region = NULL
    cdef size_t i = count_up_to(facts.firsts, facts.range_count, number)
    at = write_varint_field(at, 1, check_number(view, number, &operator_id))
    if number:
        at[0] = 2 << 3 | 1
        memcpy(at + 1, &number, 8)
        at += FIXED64_FIELD_SIZE
    serving = find_operator(facts, operator_id)
    operator_id = 0
    if i and word64(facts.lasts, i - 1) >= number:
        operator_id, region = word32(facts.holders, i - 1), &facts.texts[word32(facts.regions, i - 1)]
    holder = find_operator(facts, operator_id)
    at = write_text(at, 3, serving)
    at = write_text(at, 4, holder)
    at = write_varint_field(at, 5, serving != holder)
    if region != NULL and region.size:
        at = write_text(at, 6, region)
    return write_varint_field(at, 7, view.index_version)


cdef uint8_t* write_text(uint8_t* at, uint8_t number, const Text* text) noexcept nogil:
    if text == NULL:
        return at
    at[0] = number << 3 | 2
    at = write_varint(at + 1, text.size)
    memcpy(at, text.data, text.size)
    return at + text.size
