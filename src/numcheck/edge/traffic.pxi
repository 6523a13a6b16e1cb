# Moves bytes in and out of a connection: one bounded read and one bounded write a turn.

cdef bint read_some(Connection* connection) noexcept nogil:
    """Read once, up to a bound; False if the connection is at its end."""
    cdef Loop* loop = connection.loop
    cdef ssize_t size = recv(connection.fd, loop.incoming, READ_SIZE, 0)
    if size < 0:
        return errno == EAGAIN or errno == EINTR
    connection.heard = loop.now
    if size == 0:
        # A peer may end its side of the socket and wait for its answers.
        connection.deaf = True
        return not connection.handshaking
    connection.spoken, connection.crowded = True, False
    count(&loop.metrics.received, size)
    if not (take_frames(connection, loop.incoming, size) if connection.tls == NULL
            else take_records(connection, size)):
        return False
    if connection.crowded and size < READ_SIZE:
        rest(connection)
    return True


cdef bint take_frames(Connection* connection, const uint8_t* data, size_t size) noexcept nogil:
    """Take the bytes read; False if the connection is at its end, as after an answer in HTTP/1.1."""
    cdef ssize_t taken
    if connection.session == NULL:
        connection.http1 = True    # the client did not offer h2
        return False
    taken = nghttp2_session_mem_recv(connection.session, data, size)
    connection.http1 = taken == NGHTTP2_ERR_BAD_CLIENT_MAGIC and c"A" <= data[0] <= c"Z"    # a method
    return taken == <ssize_t>size


cdef bint send_unsent(Connection* connection) noexcept nogil:
    cdef ssize_t sent
    if left(&connection.unsent) == 0:
        return True
    sent = send(connection.fd, first(&connection.unsent), left(&connection.unsent), MSG_NOSIGNAL)
    if sent < 0:
        return errno == EAGAIN or errno == EINTR
    connection.unsent.start += sent
    connection.moved_size += sent
    count(&connection.loop.metrics.sent, sent)
    if connection.moved_size >= MOVED_SIZE_MIN:
        connection.moved, connection.moved_size = connection.loop.now, 0
    if left(&connection.unsent) == 0:
        discard(connection.loop, &connection.unsent)
    return True


cdef ssize_t gather(Connection* connection) noexcept nogil:
    """Collect frames in the loop's buffer while another is sure to fit; return their size, or -1."""
    cdef uint8_t* room = connection.loop.outgoing
    if connection.http1:
        memcpy(room, HTTP1_ANSWER, strlen(HTTP1_ANSWER))
        return strlen(HTTP1_ANSWER)
    # While much memory is in use already, one frame, so that peers that take nothing add little.
    cdef ssize_t size_max = SCRATCH_SIZE - FRAME_ROOM if may_gather(connection) else 0
    cdef const uint8_t* chunk
    cdef ssize_t size = connection.session != NULL and may_speak(connection), gathered = 0
    while size > 0 and gathered <= size_max:
        size = nghttp2_session_mem_send(connection.session, &chunk)
        if size < 0 or size > SCRATCH_SIZE - gathered:
            return -1
        if size > 0:
            memcpy(room + gathered, chunk, size)
            gathered += size
    return gathered


cdef bint may_speak(const Connection* connection) noexcept nogil:
    """Return True if frames may be sent: a peer that may speak HTTP/1.1 gets none before its answer or GOAWAY."""
    return connection.spoken or connection.loop.drain_until != 0


cdef bint write_some(Connection* connection) noexcept nogil:
    """Write once, up to a bound; False if the connection failed or has ended."""
    cdef Loop* loop = connection.loop
    cdef ssize_t size
    if not send_unsent(connection):
        return False
    if left(&connection.unsent) == 0:
        size = gather(connection)
        if size < 0 or connection.tls != NULL and not seal(connection, size):
            return False
        if connection.tls == NULL:
            if not send_some(connection, loop.outgoing, size):
                return False
        else:
            size, loop.outgoing_records.size = loop.outgoing_records.size, 0
            if not send_some(connection, loop.outgoing_records.data, size):
                return False
    return set_interest(connection)


cdef bint send_some(Connection* connection, const uint8_t* data, size_t size) noexcept nogil:
    """Send what the peer takes now, and keep the rest."""
    cdef ssize_t sent
    if size == 0:
        return True
    sent = send(connection.fd, data, size, MSG_NOSIGNAL)
    if sent < 0 and errno != EAGAIN and errno != EINTR:
        return False
    if sent < 0:
        sent = 0
    count(&connection.loop.metrics.sent, sent)
    connection.moved, connection.moved_size = connection.loop.now, 0
    return append(connection.loop, &connection.unsent, data + sent, size - sent)


cdef bint set_interest(Connection* connection) noexcept nogil:
    """Watch for what the connection needs next; False if that is nothing."""
    cdef uint32_t interest = connection_interest(connection)
    if interest == 0:
        return False
    if connection.rests_until:
        interest &= ~<uint32_t>EPOLLIN
    if interest == connection.interest:
        return True
    connection.interest = interest
    return numcheck_watch(connection.loop.epoll_fd, EPOLL_CTL_MOD, connection.fd, interest, connection) == 0


cdef uint32_t connection_interest(const Connection* connection) noexcept nogil:
    """Return the events that the connection needs: while the peer takes no answers, nothing more is read from it."""
    cdef uint32_t interest = 0
    if connection.broken:
        return 0
    if left(&connection.unsent):
        return EPOLLOUT
    if connection.session == NULL or not may_speak(connection):
        return 0 if connection.deaf else EPOLLIN
    if nghttp2_session_want_write(connection.session) or next_waiting(connection) != NULL:
        interest = EPOLLOUT
    if not connection.deaf and nghttp2_session_want_read(connection.session):
        interest |= EPOLLIN
    return interest


cdef void serve_connection(Connection* connection, uint32_t events) noexcept nogil:
    """Serve a connection of which epoll reports events."""
    if connection.handshaking:
        if connection.loop.handshake_steps == 0:
            return    # it is served in the next turn too
        connection.loop.handshake_steps -= 1
    if connection.interest & EPOLLIN and events & ~<uint32_t>EPOLLOUT:
        serve(connection, True)
    elif events & ~<uint32_t>(EPOLLIN | EPOLLOUT):
        end_served(connection)
    else:
        serve(connection, False)


cdef void serve(Connection* connection, bint reads) noexcept nogil:
    """Let streams that wait go on, read once if `reads`, and write once; close the connection at its end."""
    work(connection)
    if reads and not read_some(connection):
        end_served(connection)
    elif not write_some(connection):
        close_connection(connection)


cdef void end_served(Connection* connection) noexcept nogil:
    """Close a connection that has failed, with what nghttp2 still says, a GOAWAY's reason, or TLS, an alert."""
    write_some(connection)
    close_connection(connection)
