# Python's side of the calls that it answers: what it takes from the loops, and what it gives them. With the GIL held.

@no_gc_clear    # `__dealloc__` needs its lines
cdef class CallQueue:
    """What all loops hand over to Python: calls, in the order in which each loop handed them over."""

    cdef Pipe pipe
    cdef dict lines    # Lines by party: as many as an installation has

    def __cinit__(self):
        self.pipe.fd, self.lines = -1, {}

    def __init__(self, *, calls_max):
        """Hold up to `calls_max` calls of each lane that were not answered yet; loops refuse what is more."""
        cdef int lane
        for lane in range(LANE_COUNT):
            self.pipe.lanes[lane].held_max = calls_max
        self.pipe.fd = eventfd(0, EFD_CLOEXEC)
        if self.pipe.fd < 0:
            raise OSError("no descriptor for the calls' queue")

    cdef Line* lines_of(self, party) except NULL:
        """The lines of a party, the same for good."""
        cdef Lines lines = self.lines.get(party)
        if lines is None:
            lines = self.lines[party] = Lines(self)
            Py_INCREF(lines)    # calls point to it, also where the collector has cleared the dictionary
        return lines.lines

    def __dealloc__(self):
        if self.pipe.fd >= 0:
            close(self.pipe.fd)
        drop_notes(take_all(&self.pipe.notes))
        for lines in self.lines.values():
            Py_DECREF(lines)

    @property
    def call_count(self):
        """How many calls a loop or Python still has anything of."""
        return load(&self.pipe.asks)

    def take(self):
        """Wait for calls, and return all there are; None once the queue is closed.

        What comes for calls that were taken before is given to them. One thread at a time."""
        cdef Note* note
        with nogil:
            note = await_notes(&self.pipe)
        return self.handed_out(note)

    def take_ready(self):
        """Return the calls that are there already, as `take` does; None once the queue is closed."""
        return self.handed_out(take_all(&self.pipe.notes))

    cdef list handed_out(self, Note* note):
        cdef list calls = []
        if load(&self.pipe.closed):
            drop_notes(note)
            return None
        hand_out(note, calls)
        return calls

    def close(self):
        """Wake all threads in `take`, for good. Later notes are nobody's: loops may be gone before they are read."""
        store(&self.pipe.closed, 1)
        store(&self.pipe.sleeping, 1)
        wake_python(&self.pipe)



cdef class Lines:
    """The lines of one party, one a lane. Methods are for one thread at a time."""

    cdef Line lines[LANE_COUNT]

    def __init__(self, CallQueue queue not None):
        """Wait in the lanes of a queue, which has to outlive the lines."""
        cdef int lane
        for lane in range(LANE_COUNT):
            self.lines[lane].lane, self.lines[lane].allowed = &queue.pipe.lanes[lane], LINE_UNBOUNDED

    def allows(self, int lane, int64_t now):
        """Return whether one more call may wait in the lane's line. In nanoseconds, as `now` is everywhere."""
        return may_wait(&self.lines[lane], now)

    def join(self, int lane):
        """Have one more call wait in it, and return how many are before it."""
        return lengthen(&self.lines[lane])

    def begin(self, int lane, int64_t now, int64_t waited, uint64_t before):
        """Begin a call that waited so long behind so many, and be done with it."""
        shorten(&self.lines[lane], now, waited, before)
        hold(&self.lines[lane], -1)


cdef void drop_notes(Note* note) noexcept nogil:
    """Free them, where their loops may be gone."""
    cdef Note* following
    while note != NULL:
        following, note.lent = note.next, 0
        free_note(note)
        note = following


cdef int hand_out(Note* note, list calls) except -1:
    """Give each note to its call; who begins is added to `calls`."""
    cdef Note* following
    while note != NULL:
        following = note.next
        if note.ask.call != NULL:
            (<Call>note.ask.call).hear(note)
        elif begins(note):
            calls.append(make_call(note))
        free_note(note)
        note = following
    return 0


cdef bint begins(const Note* note) noexcept:
    """Whether the note is the first of a call: not one that comes behind Python's last word."""
    return (note.kind in (MESSAGE, END) and not load(&note.ask.gone)
            and (not note.ask.begun_once or note.ask.loop.kinds[note.ask.method] == EACH))


cdef Call make_call(Note* note):
    cdef Call call = Call.__new__(Call)
    call.ask, note.ask.call, note.ask.begun_once = note.ask, <void*>call, True
    add(&note.ask.pointers, 1)
    call.loop = <EdgeLoop>note.ask.loop.owner
    if call.loop.loop.kinds[note.ask.method] == REQUESTS:
        call.requests = SimpleQueue()
        call.hear(note)
    else:
        call.request = message_of(note)
    return call


cdef bytes message_of(const Note* note):
    return PyBytes_FromStringAndSize(<char*>note.data, note.size)


@no_gc_clear    # `__dealloc__` needs its loop
cdef class Call:
    """A call that a loop handed over. Its methods may be called from any thread; who drops it unanswered refuses it."""

    cdef Ask* ask
    cdef EdgeLoop loop
    cdef bint ended
    cdef readonly bytes request
    """The one request; None where there may be any number."""
    cdef readonly object requests
    """A SimpleQueue of what comes: requests, None at their end, or GONE; None where there is one request."""
    cdef public object wake
    """Called, by the thread that takes from the queue, when there is room for answers again or nobody waits for any."""

    def __dealloc__(self):
        if self.ask == NULL:
            return    # nobody but `make_call` makes one that is anything
        if not self.ended and not load(&self.ask.gone):
            self.end(INTERNAL, b"an error on the server's side")
            self.loop.wake()
        self.leave()    # what is still to come, such as the farewell, finds nobody
        release(self.ask)

    cdef int hear(self, const Note* note) except -1:
        """Take what a loop says of the call."""
        if self.requests is not None and note.kind != ROOM:
            self.requests.put(message_of(note) if note.kind == MESSAGE else None if note.kind == END else ...)
        if self.wake is not None and (self.requests is None or note.kind in (ROOM, GONE)):
            self.wake()
        return 0

    cdef int reply(self, NoteKind kind, int code, bytes data, bint last=False) except -1:
        """Push a note to the call's loop."""
        cdef Note* note
        cdef size_t size = PyBytes_GET_SIZE(data)
        cdef uint8_t* copied = <uint8_t*>malloc(size + 1)
        note = NULL if copied == NULL else make_note(self.ask, kind)
        if note == NULL:
            free(copied)
            raise MemoryError
        memcpy(copied, PyBytes_AS_STRING(data), size)
        note.code, note.data, note.size, note.last = code, copied, size, last
        push(&self.loop.loop.replies, note)
        return 0

    @property
    def path(self):
        return self.loop.paths[self.ask.method]

    @property
    def caller(self):
        """What admission gave as the caller."""
        return <object>self.ask.caller

    @property
    def trace_parent(self):
        """The call's `traceparent`, if it is as long as one; empty otherwise."""
        return (<bytes><char*>self.ask.trace).decode("ascii", "replace")

    def is_active(self):
        """Return False once nobody waits for an answer."""
        return not load(&self.ask.gone)

    def time_remaining(self):
        """Return for how many seconds the caller still waits; None: without an end."""
        return None if self.ask.deadline == 0 else max(self.ask.deadline - numcheck_now(), 0) / 1e9

    def taken(self, bytes request):
        """Let the caller send as much again as one of `requests`."""
        cdef Note* note = make_note(self.ask, TAKEN)
        if note == NULL:
            raise MemoryError
        note.size = PyBytes_GET_SIZE(request)
        push(&self.loop.loop.replies, note)
        self.loop.wake()

    @property
    def line(self):
        """The line of the call, as a number: lines of a lane are begun in turn."""
        return <uintptr_t>self.ask.line

    def begin(self):
        """Say that the call waits no more: what begins it runs now."""
        begin_ask(self.ask, numcheck_now())
        if self.loop.loop.kinds[self.ask.method] == ANSWERS:
            hold_no_more(self.ask)    # it may long have nothing to say

    def answer(self, bytes response not None, *, bint last):
        """Answer, and end the call if it is the last answer. Leaves when the loop is woken, or looks by itself."""
        add(&self.ask.unsent, PyBytes_GET_SIZE(response) + MESSAGE_PREFIX_SIZE)
        if last or self.loop.loop.kinds[self.ask.method] == EACH:
            self.leave()
        self.reply(MESSAGE, 0, response, last)

    def has_room(self):
        """Return True if another answer may be given; False, and `wake` is called when it may."""
        if load(&self.ask.unsent) < ANSWERS_SIZE_MAX:
            return True
        exchange(&self.ask.wants_room, 1)
        return load(&self.ask.unsent) < ANSWERS_SIZE_MAX

    def end(self, int code=0, bytes message=b"", bytes details=b""):
        """End the call with a status; what was answered before it is sent first."""
        self.leave()
        self.reply(END, code, b"%b\0%b\0" % (message, details))

    cdef void leave(self) noexcept:
        """Hear no more: before the last word, as the next request of a stream is another Call's."""
        if not self.ended:
            self.ended, self.ask.call = True, NULL

    def send(self):
        """Have the loop send what was given to it so far."""
        self.loop.wake()
