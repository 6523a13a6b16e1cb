# Shares the loop: a turn does bounded work for a connection, and a stream holds a bounded size of answers. The stream
# that has waited longest is next. A connection that waits only for its next turn asks epoll for EPOLLOUT, which comes
# at once, as its answers leave; one whose peer takes no answers waits for the peer.

cdef bint may_work(const Stream* stream) noexcept nogil:
    return stream.connection.work_left > 0 and is_ready(stream)


cdef bint is_ready(const Stream* stream) noexcept nogil:
    return stream.came == 0 and left(&stream.out) < ANSWERS_SIZE_MAX and may_lend(stream)


cdef bint may_lend(const Stream* stream) noexcept nogil:
    """Return True if Python has taken enough of the requests; in a stream of single calls, if it has answered."""
    if stream.connection.loop.kinds[<int>stream.method] == EACH:
        return stream.lent == 0
    return stream.lent < LENT_SIZE_MAX


cdef void wait(Stream* stream) noexcept nogil:
    stream.connection.waited += 1
    stream.connection.waiting_count += not stream.waiting
    stream.waiting = stream.connection.waited


cdef void wait_no_more(Stream* stream) noexcept nogil:
    stream.connection.waiting_count -= stream.waiting != 0
    stream.waiting = 0


cdef Stream* next_waiting(const Connection* connection) noexcept nogil:
    """Return the stream that has waited longest of those that can go on; NULL if there is none."""
    cdef Stream* stream = connection.streams
    cdef Stream* found = NULL
    if connection.waiting_count == 0:
        return NULL
    while stream != NULL:
        if stream.waiting and is_ready(stream) and (found == NULL or stream.waiting < found.waiting):
            found = stream
        stream = stream.next
    return found


cdef void work(Connection* connection) noexcept nogil:
    """Begin a turn: waiting streams go on before anything new is read."""
    cdef Stream* stream
    connection.work_left = TURN_WORK_MAX
    while connection.work_left > 0:
        stream = next_waiting(connection)
        if stream == NULL:
            return
        go_on(stream)


cdef void go_on(Stream* stream) noexcept nogil:
    """Answer the complete message, and cut the unread bytes behind it."""
    cdef Loop* loop = stream.connection.loop
    cdef Bytes unread
    cdef size_t taken
    wait_no_more(stream)
    if stream.complete:
        answer_message(stream)
    if not stream.ended and not stream.waiting and left(&stream.unread):
        # Moved out of the stream, as a status empties it.
        unread = stream.unread
        memset(&stream.unread, 0, sizeof(Bytes))
        taken = take_bytes(stream, first(&unread), left(&unread))
        unread.start += taken
        if stream.ended or left(&unread) == 0:
            discard(loop, &unread)
        stream.unread = unread
        give_window(stream, taken)
    if stream.half_closed:
        end_request(stream)
