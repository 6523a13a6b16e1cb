# Calls that Python answers, as the loop sees them: a Note takes each request away, and another brings the answer.

cdef bint takes_many(const Stream* stream) noexcept nogil:
    """Return True if the method's caller may send more than one request."""
    return stream.connection.loop.kinds[<int>stream.method] in (REQUESTS, EACH)


cdef bint is_listened_to(const Ask* ask) noexcept nogil:
    """Return True if Python gets more notes of the call than that of its first request."""
    return ask.loop.kinds[ask.method] in (ANSWERS, REQUESTS)


cdef Line* line_of(const Stream* stream) noexcept nogil:
    """Return the line in which the stream's calls wait for Python."""
    return &stream.connection.lines[stream.connection.loop.lanes[<int>stream.method]]


cdef bint has_ask(Stream* stream) noexcept nogil:
    """Make the stream's Ask and put a new call into its line; False, and end the call, if that is full."""
    cdef Loop* loop = stream.connection.loop
    cdef bint begins = stream.ask == NULL or loop.kinds[<int>stream.method] == EACH
    if begins and not may_wait(line_of(stream), loop.now):
        refuse_crowded(stream)
        return False
    if stream.ask == NULL and (make_ask(stream) == NULL or not has_farewell(stream.ask)):
        give_status(stream, RESOURCE_EXHAUSTED, b"out of memory")
        return False
    if begins:
        join_line(stream.ask, loop.now)
    return True


cdef bint has_farewell(Ask* ask) noexcept nogil:
    """Make the note of the caller's going, where Python listens, in advance; False if there is no memory."""
    if is_listened_to(ask):
        ask.farewell = make_note(ask, GONE)
    return ask.farewell != NULL or not is_listened_to(ask)


cdef Note* note_of(Stream* stream, NoteKind kind) noexcept nogil:
    """Return a note of the stream's call for Python; NULL, and end the call, if its line or the memory is full."""
    cdef Note* note = NULL
    if has_ask(stream):
        note = make_note(stream.ask, kind)
        if note == NULL:
            give_status(stream, RESOURCE_EXHAUSTED, b"out of memory")
    return note


cdef void ask_python(Stream* stream) noexcept nogil:
    """Hand the message over to Python as it is."""
    cdef Loop* loop = stream.connection.loop
    cdef Note* note = note_of(stream, MESSAGE)
    if note == NULL:
        return
    lend(stream, note)
    stream.lent += note.size + 1
    stream.since = loop.now
    drop_body(stream)
    notify_python(loop, note)


cdef void lend(Stream* stream, Note* note) noexcept nogil:
    """Move the body into the note, without a copy."""
    cdef Loop* loop = stream.connection.loop
    cdef Bytes* bytes = &stream.body
    note.data, note.size, note.lent = bytes.data, left(bytes), bytes.capacity
    note.party = stream.counted.party
    if note.party != NULL:
        add(&note.party.lent_size, bytes.capacity)
    add(&loop.lent_size, bytes.capacity)
    loop.held_size -= bytes.capacity
    memset(bytes, 0, sizeof(Bytes))


cdef void end_requests(Stream* stream) noexcept nogil:
    """Tell Python that the caller has sent everything; a call without a request begins with this."""
    cdef Note* note = note_of(stream, END)
    if note != NULL:
        notify_python(stream.connection.loop, note)


cdef void let_go(Stream* stream) noexcept nogil:
    """Give up Python's answers; Python is told where it may be waiting for the caller."""
    cdef Ask* ask = stream.ask
    if ask == NULL:
        return
    stream.ask, ask.stream = NULL, NULL
    store(&ask.gone, 1)
    if ask.farewell != NULL:
        notify_python(ask.loop, ask.farewell)
    release(ask)


cdef void notify_of_room(Stream* stream, size_t given) noexcept nogil:
    """Count `given` bytes of answers that the peer has taken, and tell a Python that waits for room."""
    cdef Ask* ask = stream.ask
    cdef Note* note
    if ask == NULL or given == 0 or not is_listened_to(ask):
        return
    if add(&ask.unsent, -<int64_t>given) < ANSWERS_SIZE_MAX // 2 and exchange(&ask.wants_room, 0):
        note = make_note(ask, ROOM)
        if note != NULL:
            notify_python(ask.loop, note)


cdef void take_replies(Loop* loop) noexcept nogil:
    """Take Python's notes."""
    cdef Note* note = NULL
    cdef Note* following
    exchange(&loop.woken, 0)    # before they are taken: a later push wakes the loop again
    if load_note(&loop.replies) != NULL:
        note = take_all(&loop.replies)
    while note != NULL:
        following = note.next
        if note.ask.stream != NULL:
            take_reply(note.ask.stream, note)
        free_note(note)
        note = following


cdef void serve_dirty(Loop* loop) noexcept nogil:
    """Serve the connections for which there are answers beside the turn's events."""
    cdef Connection* connection
    while loop.dirty != NULL:
        connection = loop.dirty
        loop.dirty, connection.dirty = connection.dirty_next, False
        work(connection)
        if not write_some(connection):
            close_connection(connection)


cdef void take_reply(Stream* stream, Note* note) noexcept nogil:
    """Take one note; its connection is served once all notes are taken."""
    make_dirty(stream.connection)
    if note.kind != TAKEN:
        hold_no_more(note.ask)
    if note.kind == TAKEN:
        stream.lent -= note.size + 1
        stream.since = stream.connection.loop.now
    elif note.kind == MESSAGE:
        take_answer(stream, note)
    else:
        append(stream.connection.loop, &stream.details, note.data + strlen(<char*>note.data) + 1,
               note.size - strlen(<char*>note.data) - 2)
        give_status(stream, note.code, <char*>note.data)


cdef void take_answer(Stream* stream, const Note* note) noexcept nogil:
    if not is_listened_to(stream.ask):
        stream.lent = 0
    give_answer(stream, note.data, note.size)
    if stream.ended:
        return
    if note.last:
        give_status(stream, OK, b"")
    else:
        start_sending(stream)


cdef void make_dirty(Connection* connection) noexcept nogil:
    if not connection.dirty:
        connection.dirty, connection.dirty_next = True, connection.loop.dirty
        connection.loop.dirty = connection


cdef void refuse_with(Stream* stream, const Refusal* refusal) noexcept nogil:
    """End the call with a status made in advance, without Python."""
    append(stream.connection.loop, &stream.details, refusal.details, strlen(refusal.details))
    give_status(stream, refusal.code, refusal.message)


cdef void refuse_crowded(Stream* stream) noexcept nogil:
    """Refuse a call that may not wait: further ones of its connection are let come together."""
    stream.connection.crowded = True
    refuse_with(stream, &stream.connection.loop.crowded)
