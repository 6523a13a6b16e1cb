# Large requests of CheckNumbers: how long they wait, whose turn is next, and which are refused. The loop answers each
# in some 100 microseconds, so that a few hundred that come together keep all other calls waiting.
#
# The large requests of one party are a line of the loop. One is announced by its length prefix, and then judged, before
# its body is taken, by the rule of lines.pxi: so many pages may be announced as are answered within WAIT_TARGET at the
# line's pace. One that is whole is answered at once if nothing waits and the turn is young. Else it waits, and at the
# end of each turn the lines are served in turn, for TURN_TIME_US. So every connection is read from every few
# milliseconds, and a refusal does not wait.
#
# A refusal has to be cheap, and what costs is the body: where requests are refused, new streams get a window of
# TIGHT_WINDOW_SIZE, and the rest of it once their request is admitted. That costs a client a round trip for each large
# request, until nothing of its connection has been refused for TIGHT_FOR.

cdef enum:
    PAGE_SIZE = 4_096

cdef class LargeLines:
    """The line of one party in one loop."""

    cdef LargeLine line

    def __cinit__(self):
        self.line.pace.allowed = LINE_UNBOUNDED


cdef bint is_large(const Stream* stream) noexcept nogil:
    """Return True for a request that may wait; how large a compressed one is, is not known."""
    return stream.method == CHECK_NUMBERS and (stream.wanted > LARGE_SIZE or stream.prefix[0] != 0)


cdef void announce(Stream* stream) noexcept nogil:
    """Put an announced request into its line, or refuse it."""
    cdef Connection* connection = stream.connection
    cdef LargeLine* line = connection.large
    if line.queued == 0:
        forget_pace(&line.pace, connection.loop.now)
    if line.announced >= may_be(&line.pace):
        tighten(connection)
        refuse_crowded(stream)
        return
    stream.line, stream.pages = line, stream.wanted // PAGE_SIZE + 1
    line.announced += stream.pages


cdef bint begins_at_once(Stream* stream) noexcept nogil:
    """Begin a whole request if nothing waits and the turn is young; False, and let it wait, if not."""
    cdef Loop* loop = stream.connection.loop
    cdef int64_t now = numcheck_now()
    if loop.large == NULL and now - loop.now < TURN_TIME:
        leave_large_line(stream)
        return True
    wait(stream)
    stream.came = now
    add_to_line(stream)
    return False


cdef void add_to_line(Stream* stream) noexcept nogil:
    cdef LargeLine* line = stream.line
    stream.before, stream.queue_previous, stream.queue_next = line.queued, line.last, NULL
    line.queued += stream.pages
    if line.last != NULL:
        line.last.queue_next = stream
    else:
        line.first = stream
        add_line(stream.connection.loop, line)
    line.last = stream


cdef void add_line(Loop* loop, LargeLine* line) noexcept nogil:
    """Put a line behind those in which requests wait."""
    line.next = NULL
    if loop.large == NULL:
        loop.large = line
    else:
        loop.large_last.next = line
    loop.large_last = line


cdef void remove_line(Loop* loop, LargeLine* line) noexcept nogil:
    cdef LargeLine* previous = NULL
    cdef LargeLine* at = loop.large
    while at != line:
        previous, at = at, at.next
    if previous == NULL:
        loop.large = line.next
    else:
        previous.next = line.next
    if loop.large_last == line:
        loop.large_last = previous


cdef void leave_large_line(Stream* stream) noexcept nogil:
    """Take a request out of its line, if it is in one."""
    if stream.line == NULL:
        return
    stream.line.announced -= stream.pages
    if stream.came:
        unqueue(stream)
    stream.line = NULL


cdef void unqueue(Stream* stream) noexcept nogil:
    cdef LargeLine* line = stream.line
    line.queued -= stream.pages
    if stream.queue_previous == NULL:
        line.first = stream.queue_next
    else:
        stream.queue_previous.queue_next = stream.queue_next
    if stream.queue_next == NULL:
        line.last = stream.queue_previous
    else:
        stream.queue_next.queue_previous = stream.queue_previous
    stream.came = 0
    if line.first == NULL:
        remove_line(stream.connection.loop, line)


cdef void serve_large(Loop* loop) noexcept nogil:
    """Answer requests that wait, the oldest of each line in turn, for a bounded time."""
    cdef LargeLine* line
    cdef int64_t now, until
    if loop.large == NULL:
        return
    now = numcheck_now()
    until = now + TURN_TIME
    while loop.large != NULL and now < until:
        line = loop.large
        loop.large = line.next
        if loop.large == NULL:
            loop.large_last = NULL
        add_line(loop, line)
        begin_large(line.first, now)
        now = numcheck_now()


cdef void begin_large(Stream* stream, int64_t now) noexcept nogil:
    """Answer a request that has waited, and learn from it; its connection is written to later in this turn."""
    cdef int64_t waited = now - stream.came
    learn_pace(&stream.line.pace, now, waited, stream.before)
    leave_large_line(stream)
    stream.connection.work_left = TURN_WORK_MAX    # time bounds it
    make_dirty(stream.connection)
    go_on(stream)


cdef void tighten(Connection* connection) noexcept nogil:
    """Give new streams a small window, from when the peer knows of it, or for longer."""
    if connection.tight_until == 0:
        set_stream_window(connection, TIGHT_WINDOW_SIZE)
    connection.tight_until = connection.loop.now + TIGHT_FOR


cdef void loosen(Connection* connection) noexcept nogil:
    """Give new streams their usual window again, once nothing was refused for a while."""
    if connection.tight_until and connection.loop.now > connection.tight_until:
        connection.tight_until = 0
        set_stream_window(connection, STREAM_WINDOW_SIZE)


cdef void set_stream_window(Connection* connection, uint32_t size) noexcept nogil:
    cdef nghttp2_settings_entry setting
    setting.settings_id, setting.value = NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, size
    must(connection, nghttp2_submit_settings(connection.session, NGHTTP2_FLAG_NONE, &setting, 1))


cdef void widen(Stream* stream) noexcept nogil:
    """Give the stream its usual window, if it began with a small one."""
    if stream.connection.tight_until and stream.wanted > TIGHT_WINDOW_SIZE:
        must(stream.connection, nghttp2_session_set_local_window_size(
            stream.connection.session, NGHTTP2_FLAG_NONE, stream.id, STREAM_WINDOW_SIZE))
