# Passes Notes between the loops and Python, by stacks without a lock. To push never waits; to take gets all notes, the
# oldest first. A sleeper is woken once for all notes that there are by then.

cdef void push(Note** stack, Note* note) noexcept nogil:
    note.next = load_note(stack)
    while not exchange_note_if(stack, &note.next, note):
        pass


cdef Note* take_all(Note** stack) noexcept nogil:
    """Take the notes of a stack, the oldest first."""
    cdef Note* note = exchange_note(stack, NULL)
    cdef Note* taken = NULL
    cdef Note* older
    while note != NULL:
        older = note.next
        note.next, taken = taken, note
        note = older
    return taken


cdef Note* make_note(Ask* ask, NoteKind kind) noexcept nogil:
    cdef Note* note = <Note*>calloc(1, sizeof(Note))
    if note != NULL:
        note.ask, note.kind = ask, kind
        add(&ask.pointers, 1)
    return note


cdef void free_note(Note* note) noexcept nogil:
    """Free a note that was taken; the loop no longer counts its bytes as lent."""
    if note.lent:
        add(&note.ask.loop.lent_size, -<int64_t>note.lent)
    if note.party != NULL:
        add(&note.party.lent_size, -<int64_t>note.lent)
    release(note.ask)
    free(note.data)
    free(note)


cdef Ask* make_ask(Stream* stream) noexcept nogil:
    """Give the stream an Ask; NULL if there is no memory."""
    cdef Loop* loop = stream.connection.loop
    cdef Ask* ask = <Ask*>calloc(1, sizeof(Ask))
    if ask != NULL:
        ask.pointers, ask.pipe, ask.loop, ask.stream = 1, loop.pipe, loop, stream
        ask.method, ask.begun, ask.deadline = stream.method, stream.begun, stream.deadline
        ask.caller, ask.line = stream.connection.caller, line_of(stream)
        memcpy(ask.trace, stream.trace, TRACE_SIZE)
        stream.ask = ask
        add(&ask.pipe.asks, 1)
    return ask


cdef void release(Ask* ask) noexcept nogil:
    if add(&ask.pointers, -1) == 0:
        leave_line(ask)
        add(&ask.pipe.asks, -1)
        free(ask)


cdef void notify_python(Loop* loop, Note* note) noexcept nogil:
    """Push a note for Python, which is woken at the end of the loop's turn for all of them."""
    push(&loop.pipe.notes, note)
    loop.handed_over = True


cdef void wake_python(Pipe* pipe) noexcept nogil:
    cdef uint64_t one = 1
    if exchange(&pipe.sleeping, 0):
        write(pipe.fd, &one, 8)


cdef Note* await_notes(Pipe* pipe) noexcept nogil:
    """Take all notes, or sleep until there are some; NULL once the pipe is closed."""
    cdef uint64_t count
    cdef Note* notes = take_all(&pipe.notes)
    while notes == NULL and not load(&pipe.closed):
        exchange(&pipe.sleeping, 1)    # from here on a push wakes this thread, so that no note is slept through
        if load_note(&pipe.notes) == NULL and not load(&pipe.closed):
            read(pipe.fd, &count, 8)
        notes = take_all(&pipe.notes)
    return notes
