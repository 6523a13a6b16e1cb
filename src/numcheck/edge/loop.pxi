# The loop's turns: accept connections, serve those that are ready, sweep, drain.

cdef bint accept_some(Loop* loop) noexcept nogil:
    """Accept some connections; True if more may be waiting."""
    cdef int fd, i
    cdef uint8_t address[ADDRESS_SIZE]
    for i in range(ACCEPTS_MAX):
        memset(address, 0, ADDRESS_SIZE)
        fd = numcheck_accept(loop.listen_fd, address)
        if fd < 0:
            if errno != EAGAIN and errno != EINTR:
                numcheck_watch(loop.epoll_fd, EPOLL_CTL_MOD, loop.listen_fd, 0, &loop.listen_fd)
            return False
        make_connection(loop, fd, address)
    return True


cdef void begin_drain(Loop* loop) noexcept nogil:
    cdef int rounds = 0
    loop.drain_until = loop.now + loop.drain_timeout
    # Connections made before are answered; a client that goes on connecting does not delay the end.
    while rounds * ACCEPTS_MAX < BACKLOG and accept_some(loop):
        rounds += 1
    unwatch_and_close(loop, loop.listen_fd)
    loop.listen_fd = -1
    sweep(loop)


cdef void turn(Loop* loop, epoll_event* events) noexcept nogil:
    cdef uint64_t count
    cdef bint accepting = False
    cdef int i, ready = epoll_wait(loop.epoll_fd, events, EVENTS_MAX, turn_wait_ms(loop))
    loop.now = numcheck_now()
    loop.handshake_steps = HANDSHAKE_STEPS_MAX
    for i in range(ready):
        if events[i].data.ptr == &loop.wake_fd:
            read(loop.wake_fd, &count, 8)
        elif events[i].data.ptr == &loop.listen_fd:
            accepting = loop.listen_fd >= 0
        else:
            serve_connection(<Connection*>events[i].data.ptr, events[i].events)
    serve_rested(loop)
    take_replies(loop)
    serve_large(loop)
    serve_dirty(loop)    # behind the events: it may end connections
    if accepting:
        accept_some(loop)    # last: it may end connections, of which there are no events any more
    if is_sweep_due(loop, ready):
        sweep(loop)
    if load(&loop.stopping) and not loop.drain_until:
        begin_drain(loop)
    if loop.handed_over:
        loop.handed_over = False
        wake_python(loop.pipe)


cdef void run_loop(Loop* loop) noexcept nogil:
    cdef epoll_event events[EVENTS_MAX]
    cdef Stream* stream
    loop.now = numcheck_now()
    while not loop.drain_until or loop.connections != NULL:
        turn(loop, events)
    while loop.spare != NULL:
        stream = loop.spare
        loop.spare = stream.next
        free_stream(loop, stream)
