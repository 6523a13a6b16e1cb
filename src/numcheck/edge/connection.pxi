# Makes and closes a Connection. `close_connection` is never called from within nghttp2.

cdef Connection* make_connection(Loop* loop, int fd, const uint8_t* address) noexcept nogil:
    """Take over a new socket, maybe in the place of another; NULL, and close it, if there is no room."""
    cdef Connection* connection = NULL
    make_way(loop, address)
    if loop.connection_count < loop.connections_max:
        connection = <Connection*>calloc(1, sizeof(Connection))
    if connection == NULL:
        close(fd)
        return NULL
    connection.fd, connection.loop, connection.interest = fd, loop, EPOLLIN
    connection.born = connection.heard = connection.moved = connection.refilled = loop.now
    connection.control_credit, connection.reset_credit = CREDIT_MAX, RESET_CREDIT_MAX
    connection.age_max, connection.view = varied(loop), NOT_ADMITTED
    memcpy(connection.address, address, ADDRESS_SIZE)
    connection.next = loop.connections
    if connection.next != NULL:
        connection.next.previous = connection
    loop.connections = connection
    add_stranger(connection)
    count(&loop.connection_count, 1)
    count(&loop.metrics.accepted, 1)
    if numcheck_watch(loop.epoll_fd, EPOLL_CTL_ADD, fd, EPOLLIN, connection) or not start(connection):
        close_connection(connection)
        return NULL
    return connection


cdef int64_t varied(Loop* loop) noexcept nogil:
    """Return `age_max`, a tenth more or less, so that connections made together do not end together."""
    loop.random ^= loop.random << 13    # Marsaglia's xorshift64
    loop.random ^= loop.random >> 7
    loop.random ^= loop.random << 17
    return loop.age_max // 10 * 9 + <int64_t>(loop.random % <uint64_t>(loop.age_max // 5 + 1))


cdef bint start(Connection* connection) noexcept nogil:
    return start_session(connection) if connection.loop.tls == NULL else start_tls(connection)


cdef void add_stranger(Connection* connection) noexcept nogil:
    cdef Loop* loop = connection.loop
    connection.stranger, connection.stranger_next = True, loop.strangers
    if loop.strangers != NULL:
        loop.strangers.stranger_previous = connection
    loop.strangers = connection


cdef void forget_stranger(Connection* connection) noexcept nogil:
    """Take it off the list of strangers: a call of it was admitted, or it ends."""
    if not connection.stranger:
        return
    connection.stranger = False
    if connection.stranger_previous == NULL:
        connection.loop.strangers = connection.stranger_next
    else:
        connection.stranger_previous.stranger_next = connection.stranger_next
    if connection.stranger_next != NULL:
        connection.stranger_next.stranger_previous = connection.stranger_previous


cdef void make_way(Loop* loop, const uint8_t* address) noexcept nogil:
    """At the limit of strangers, end the oldest of the address, or else the oldest of all.

    An honest client calls at once; one that fills the listener with connections thus ends its own."""
    cdef Connection* stranger = loop.strangers
    cdef Connection* oldest = NULL
    cdef Connection* oldest_of_address = NULL
    cdef size_t count = 0, count_of_address = 0
    while stranger != NULL:
        oldest, count = stranger, count + 1
        if memcmp(stranger.address, address, ADDRESS_SIZE) == 0:
            oldest_of_address, count_of_address = stranger, count_of_address + 1
        stranger = stranger.stranger_next
    if count_of_address >= STRANGERS_PER_ADDRESS_MAX:
        close_connection(oldest_of_address)
    elif count and (count >= STRANGERS_MAX or loop.connection_count >= loop.connections_max):
        close_connection(oldest)


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
    """Close a descriptor, after which epoll reports no event of it.

    To close it is not enough: while a child of this process shares it, between its fork and its exec, the socket stays
    open, and epoll would report events of a connection whose memory is free.
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
    forget_stranger(connection)
    rest_no_more(connection)
    unwatch_and_close(loop, connection.fd)
    discard(loop, &connection.unsent)
    count_no_more(&connection.counted)
    discard(loop, &connection.authorization)
    if connection.previous == NULL:
        loop.connections = connection.next
    else:
        connection.previous.next = connection.next
    if connection.next != NULL:
        connection.next.previous = connection.previous
    count(&loop.connection_count, -1)
    free(connection)
