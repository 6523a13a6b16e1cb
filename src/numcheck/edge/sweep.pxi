# Looks at every connection every SWEEP_MS: deadlines, stale peers, connections to be aged out, draining.

cdef bint is_stale(Connection* connection) noexcept nogil:
    cdef Loop* loop = connection.loop
    cdef int64_t age = loop.now - connection.born
    if connection.handshaking:
        return age > (HURRIED_HANDSHAKE if loop.drain_until or loop.handshaking_count > HANDSHAKING_CROWD else HANDSHAKE)
    if connection.stranger and age > loop.strangers_for:
        return True
    if loop.drain_until and connection.session == NULL:
        return True
    if connection.pinged and loop.now - connection.heard > 2 * loop.keepalive:
        return True
    if left(&connection.unsent) and loop.now - connection.moved > loop.stalled_after:
        return True
    if connection.goaway == 2 and age > connection.age_max + loop.drain_timeout:
        return True
    return loop.drain_until and loop.now > loop.drain_until


cdef void say_why(Connection* connection, const char* reason) noexcept nogil:
    """Send a GOAWAY with a reason, if the peer takes it at once: the connection is about to be closed."""
    if connection.session != NULL and connection.spoken:
        nghttp2_submit_goaway(
            connection.session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(connection.session),
            NGHTTP2_NO_ERROR, <const uint8_t*>reason, strlen(reason))
        write_some(connection)


cdef void sweep_stream(Stream* stream) noexcept nogil:
    cdef Loop* loop = stream.connection.loop
    if is_stuck(stream) and not stream.reset:
        stream.reset = True
        must(stream.connection, nghttp2_submit_rst_stream(
            stream.connection.session, NGHTTP2_FLAG_NONE, stream.id, NGHTTP2_CANCEL))
    if stream.ended:
        return
    if stream.deadline and loop.now >= stream.deadline:
        give_status(stream, DEADLINE_EXCEEDED, b"Deadline Exceeded")
    elif is_awaited(stream) and loop.now - stream.since > loop.stalled_after:
        give_status(stream, CANCELLED, b"the request did not come")
    elif stream.ask != NULL and load(&stream.ask.waiting) and loop.now - stream.ask.came > loop.waiting_max:
        refuse_with(stream, &loop.crowded)
    elif stream.ask != NULL and is_listened_to(stream.ask):
        is_admitted(stream)    # a caller who may call no more is refused here


cdef bint is_awaited(const Stream* stream) noexcept nogil:
    """Return True if the call is stuck until its caller sends more; a stream of single calls never is."""
    return (not stream.half_closed and stream.lent == 0
            and stream.connection.loop.kinds[<int>stream.method] != EACH)


cdef void ask_to_leave(Connection* connection) noexcept nogil:
    """Send GOAWAY in two steps, a notice and one sweep later the last stream, so that a call on its way is not lost."""
    if connection.goaway == 0:
        connection.goaway = 1
        nghttp2_submit_shutdown_notice(connection.session)
    elif connection.goaway == 1:
        connection.goaway = 2
        nghttp2_submit_goaway(connection.session, NGHTTP2_FLAG_NONE,
                              nghttp2_session_get_last_proc_stream_id(connection.session), NGHTTP2_NO_ERROR, NULL, 0)


cdef void see_whether_it_lives(Connection* connection) noexcept nogil:
    """Ping a peer that has long been silent: the connections of one that is stopped, or gone, seem open."""
    cdef bint silent = connection.loop.now - connection.heard > connection.loop.keepalive
    if silent and not connection.pinged and connection.session != NULL:
        nghttp2_submit_ping(connection.session, NGHTTP2_FLAG_NONE, NULL)
    connection.pinged = silent


cdef void sweep_connection(Connection* connection) noexcept nogil:
    cdef Loop* loop = connection.loop
    cdef Stream* stream = connection.streams
    refill_credit(connection)
    see_whether_it_lives(connection)
    if is_stale(connection):
        if connection.stranger:
            say_why(connection, b"no call of this connection was let in")
        close_connection(connection)
        return
    while stream != NULL:
        sweep_stream(stream)
        stream = stream.next
    loosen(connection)
    if connection.session != NULL and (loop.drain_until or loop.now - connection.born > connection.age_max):
        ask_to_leave(connection)
    if not write_some(connection):
        close_connection(connection)


cdef bint is_sweep_due(const Loop* loop, int ready) noexcept nogil:
    """Return True if it is time for a sweep. A turn of as many events as it takes leaves connections unread: those come
    first, so that a call that has arrived is not left out by a GOAWAY; but not again and again."""
    return loop.now >= loop.next_sweep + (SWEEP_EVERY if ready == EVENTS_MAX else 0)


cdef void sweep(Loop* loop) noexcept nogil:
    cdef Connection* connection = loop.connections
    cdef Connection* following
    loop.next_sweep = numcheck_now() + SWEEP_EVERY    # from now: a turn may have taken long
    while connection != NULL:
        following = connection.next
        sweep_connection(connection)
        connection = following
    if loop.listen_fd >= 0:
        # The listener is not watched after a turn in which there was no descriptor left.
        numcheck_watch(loop.epoll_fd, EPOLL_CTL_MOD, loop.listen_fd, EPOLLIN, &loop.listen_fd)
