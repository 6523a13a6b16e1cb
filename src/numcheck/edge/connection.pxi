# A Connection's birth and end. `close_connection` is never called inside of nghttp2.

cdef Connection* make_connection(Loop* loop, int fd) noexcept nogil:
    """Take over a new socket; NULL, and it is closed, if there is no room."""
    cdef Connection* connection = NULL
    if loop.connection_count < loop.connections_max and loop.handshaking_count < HANDSHAKING_MAX:
        connection = <Connection*>calloc(1, sizeof(Connection))
    if connection == NULL:
        close(fd)
        return NULL
    connection.fd, connection.loop, connection.interest = fd, loop, EPOLLIN
    connection.born = connection.heard = connection.moved = loop.now
    connection.control_credit = CREDIT_MAX
    connection.age_max = varied(loop)
    connection.next = loop.connections
    if connection.next != NULL:
        connection.next.previous = connection
    loop.connections = connection
    count(&loop.connection_count, 1)
    count(&loop.metrics.accepted, 1)
    if numcheck_watch(loop.epoll_fd, EPOLL_CTL_ADD, fd, EPOLLIN, connection) or not start(connection):
        close_connection(connection)
        return NULL
    return connection


cdef int64_t varied(Loop* loop) noexcept nogil:
    """`age_max`, a tenth more or less: what came at one time, after a restart say, does not leave at one time."""
    loop.random ^= loop.random << 13    # Marsaglia's xorshift64
    loop.random ^= loop.random >> 7
    loop.random ^= loop.random << 17
    return loop.age_max // 10 * 9 + <int64_t>(loop.random % <uint64_t>(loop.age_max // 5 + 1))


cdef bint start(Connection* connection) noexcept nogil:
    if connection.loop.tls == NULL:
        return start_session(connection)
    connection.view = NOT_ADMITTED
    return start_tls(connection)


cdef bint start_session(Connection* connection) noexcept nogil:
    cdef Loop* loop = connection.loop
    cdef nghttp2_settings_entry settings[3]
    settings[0].settings_id, settings[0].value = NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, loop.streams_max
    settings[1].settings_id, settings[1].value = NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW_SIZE
    settings[2].settings_id = NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE
    settings[2].value = <uint32_t>loop.header_list_size_max
    return (nghttp2_session_server_new2(&connection.session, loop.callbacks, connection, loop.options) == 0
            and nghttp2_submit_settings(connection.session, NGHTTP2_FLAG_NONE, settings, 3) == 0
            and nghttp2_session_set_local_window_size(
                connection.session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW_SIZE) == 0)


cdef void unwatch_and_close(Loop* loop, int fd) noexcept nogil:
    """Close a descriptor that no event may come of any more.

    To close it is not enough: while a child of this process has it too, between its fork and its exec, the socket
    stays open, and epoll would go on telling of a connection whose memory is free.
    """
    numcheck_watch(loop.epoll_fd, EPOLL_CTL_DEL, fd, 0, NULL)
    close(fd)


cdef void close_connection(Connection* connection) noexcept nogil:
    cdef Loop* loop = connection.loop
    while connection.streams != NULL:
        drop_stream(connection.streams)
    nghttp2_session_del(connection.session)
    connection.session = NULL
    end_tls(connection)
    unwatch_and_close(loop, connection.fd)
    discard(loop, &connection.unsent)
    discard(loop, &connection.authorization)
    if connection.previous == NULL:
        loop.connections = connection.next
    else:
        connection.previous.next = connection.next
    if connection.next != NULL:
        connection.next.previous = connection.previous
    count(&loop.connection_count, -1)
    free(connection)
