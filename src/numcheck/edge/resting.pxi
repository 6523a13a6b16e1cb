# Lets the calls of a connection come together while its calls are refused. To read and to write cost four microseconds,
# to refuse a call two: so a connection of which a call was refused rests, and is read again REST_MS later, when several
# calls share one read and one write. Other connections are served meanwhile. One whose read was full does not rest: its
# calls come together as it is.
#
# All rest equally long, so that the list is in the order in which they are read again. epoll need not be told of each
# rest: a connection that is refused again stays unwatched.

cdef void rest(Connection* connection) noexcept nogil:
    """Read from the connection again later."""
    cdef Loop* loop = connection.loop
    connection.rests_until = loop.now + <int64_t>REST_MS * 1_000_000
    connection.resting_next, connection.resting_previous = NULL, loop.resting_last
    if loop.resting_last == NULL:
        loop.resting = connection
    else:
        loop.resting_last.resting_next = connection
    loop.resting_last = connection


cdef void rest_no_more(Connection* connection) noexcept nogil:
    """Take the connection off the list of those that rest, if it is there."""
    cdef Loop* loop = connection.loop
    if connection.rests_until == 0:
        return
    connection.rests_until = 0
    if connection.resting_previous == NULL:
        loop.resting = connection.resting_next
    else:
        connection.resting_previous.resting_next = connection.resting_next
    if connection.resting_next == NULL:
        loop.resting_last = connection.resting_previous
    else:
        connection.resting_next.resting_previous = connection.resting_previous


cdef void serve_rested(Loop* loop) noexcept nogil:
    """Serve the connections that have rested."""
    cdef Connection* connection
    while loop.resting != NULL and loop.resting.rests_until <= loop.now:
        connection = loop.resting
        rest_no_more(connection)
        serve(connection, connection_interest(connection) & EPOLLIN)


cdef int turn_wait_ms(const Loop* loop) noexcept nogil:
    """Return for how long the loop may wait for events."""
    cdef int64_t until
    if loop.large != NULL:
        return 0
    if loop.resting == NULL:
        return SWEEP_MS
    until = loop.resting.rests_until - numcheck_now()
    return min(SWEEP_MS, <int>((until + 999_999) // 1_000_000)) if until > 0 else 0
