# The Python side of the calls that Python answers: takes them from the loops, and gives answers back. With the GIL.

@no_gc_clear    # `__dealloc__` needs its lines
cdef class CallQueue:
    """The queue of calls that all loops hand over to Python; the calls of one loop keep their order."""

    cdef Pipe pipe
    cdef dict lines    # Lines by party: as many as an installation has

    def __cinit__(self):
        self.pipe.fd, self.lines = -1, {}

    def __init__(self, *, calls_max):
        """Hold up to `calls_max` unanswered calls of each lane; loops refuse further ones."""
        cdef int lane
        for lane in range(LANE_COUNT):
            self.pipe.lanes[lane].held_max = calls_max
        self.pipe.fd = eventfd(0, EFD_CLOEXEC)
        if self.pipe.fd < 0:
            raise OSError("no descriptor for the calls' queue")

    cdef Line* lines_of(self, party) except NULL:
        """Return the lines of a party, which stay the same for good."""
        cdef Lines lines = self.lines.get(party)
        if lines is None:
            lines = self.lines[party] = Lines(self)
            Py_INCREF(lines)    # calls point to it, even once the collector has cleared the dictionary
        return lines.lines

    def __dealloc__(self):
        if self.pipe.fd >= 0:
            close(self.pipe.fd)
        drop_notes(take_all(&self.pipe.notes))
        for lines in self.lines.values():
            Py_DECREF(lines)

    @property
    def call_count(self):
        """Number of calls that a loop or Python still refers to."""
        return load(&self.pipe.asks)

    @property
    def waits(self):
        """How long calls have waited until they began, by lane: counts by BOUNDS_S, and the sum of seconds."""
        cdef int lane, bucket
        return {name: ([load(&self.pipe.waits[lane][bucket]) for bucket in range(BUCKET_COUNT + 1)],
                       load(&self.pipe.wait_sums[lane]) / 1e9) for lane, name in enumerate(LANES)}

    def take(self):
        """Wait for new calls, and return all of them; None once the queue is closed.

        Further notes of calls that were taken before go to those calls. One thread at a time."""
        cdef Note* note
        with nogil:
            note = await_notes(&self.pipe)
        return self.handed_out(note)

    def take_ready(self):
        """Return the new calls as `take` does, without waiting; None once the queue is closed."""
        return self.handed_out(take_all(&self.pipe.notes))

    cdef list handed_out(self, Note* note):
        cdef list calls = []
        hand_out(note, calls)
        return None if load(&self.pipe.closed) else calls    # the farewells of calls come last of all

    def close(self):
        """Wake the thread in `take`, for good: it hands out what there is to the calls that were taken before, and
        begins no more. To be called once the loops have ended, and while they are there."""
        store(&self.pipe.closed, 1)
        store(&self.pipe.sleeping, 1)
        wake_python(&self.pipe)



cdef class Lines:
    """The lines of one party, one for each lane. Call its methods from one thread at a time."""

    cdef Line lines[LANE_COUNT]

    def __init__(self, CallQueue queue not None):
        """Make lines in the lanes of a queue, which has to outlive them."""
        cdef int lane
        for lane in range(LANE_COUNT):
            self.lines[lane].lane, self.lines[lane].pace.allowed = &queue.pipe.lanes[lane], LINE_UNBOUNDED

    def allows(self, int lane, int64_t now):
        """Return True if one more call may wait in the lane's line. `now` is in nanoseconds."""
        return may_wait(&self.lines[lane], now)

    def join(self, int lane):
        """Add a waiting call, and return how many wait before it."""
        return lengthen(&self.lines[lane])

    def begin(self, int lane, int64_t now, int64_t waited, uint64_t before):
        """Begin and end a call that waited so long behind so many."""
        shorten(&self.lines[lane], now, waited, before)
        hold(&self.lines[lane], -1)


cdef void drop_notes(Note* note) noexcept nogil:
    """Free notes whose loops may be gone."""
    cdef Note* following
    while note != NULL:
        following, note.lent = note.next, 0
        free_note(note)
        note = following


cdef int hand_out(Note* note, list calls) except -1:
    """Give each note to its call; add each new call to `calls`."""
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
    """Return True if the note begins a call, and does not come after Python has ended it."""
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
    """A call that a loop handed over. Any thread may call its methods; dropped unanswered, it is refused."""

    cdef Ask* ask
    cdef EdgeLoop loop
    cdef bint ended
    cdef readonly bytes request
    """The single request; None if there may be any number of them."""
    cdef readonly object requests
    """A SimpleQueue of requests, with None at their end, or `...` if the caller goes; None if there is one request."""
    cdef public object wake
    """Called when there is room for answers again, or the caller has gone, by the thread that takes from the queue."""

    def __dealloc__(self):
        if self.ask == NULL:
            return    # only `make_call` makes one with an Ask
        if not self.ended and not load(&self.ask.gone):
            self.end(INTERNAL, b"an error on the server's side")
            self.loop.wake()
        self.leave()    # later notes, such as the farewell, find no call
        release(self.ask)

    cdef int hear(self, const Note* note) except -1:
        """Take a loop's note of the call."""
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
        """The caller that the admission gave."""
        return <object>self.ask.caller

    @property
    def trace_parent(self):
        """The call's `traceparent`; empty if it has none of the right length."""
        return (<bytes><char*>self.ask.trace).decode("ascii", "replace")

    @property
    def waited_s(self):
        """How long ago, in seconds, the call was handed over to Python."""
        return (numcheck_now() - self.ask.came) / 1e9

    def is_active(self):
        """Return False once nobody waits for an answer."""
        return not load(&self.ask.gone)

    def time_remaining(self):
        """Return for how many seconds the caller still waits; None: without an end."""
        return None if self.ask.deadline == 0 else max(self.ask.deadline - numcheck_now(), 0) / 1e9

    def taken(self, bytes request):
        """Let the caller send as much again as this one of `requests`."""
        cdef Note* note = make_note(self.ask, TAKEN)
        if note == NULL:
            raise MemoryError
        note.size = PyBytes_GET_SIZE(request)
        push(&self.loop.loop.replies, note)
        self.loop.wake()

    @property
    def line(self):
        """A number that stands for the call's line: the lines of a lane are served in turn."""
        return <uintptr_t>self.ask.line

    def begin(self):
        """Take the call out of its line: it runs now."""
        begin_ask(self.ask, numcheck_now())
        if self.loop.loop.kinds[self.ask.method] == ANSWERS:
            hold_no_more(self.ask)    # it may long have nothing to say

    def answer(self, bytes response not None, *, bint last):
        """Answer, and end the call if it is the last answer. The loop sends it when it is woken, or looks by itself."""
        add(&self.ask.unsent, PyBytes_GET_SIZE(response) + MESSAGE_PREFIX_SIZE)
        if last or self.loop.loop.kinds[self.ask.method] == EACH:
            self.leave()
        self.reply(MESSAGE, 0, response, last)

    def has_room(self):
        """Return True if there is room for another answer; if not, `wake` is called once there is."""
        if load(&self.ask.unsent) < ANSWERS_SIZE_MAX:
            return True
        exchange(&self.ask.wants_room, 1)
        return load(&self.ask.unsent) < ANSWERS_SIZE_MAX

    def end(self, int code=0, bytes message=b"", bytes details=b""):
        """End the call with a status, which is sent behind the answers."""
        self.leave()
        self.reply(END, code, b"%b\0%b\0" % (message, details))

    cdef void leave(self) noexcept:
        """Take no more notes. Called before the last answer, as a stream's next request is another Call."""
        if not self.ended:
            self.ended, self.ask.call = True, NULL

    def send(self):
        """Have the loop send the answers so far."""
        self.loop.wake()
