# The loop: it begins the calls that are due, sends, waits and receives, until the time is over and the last call ended.

cdef void run_loop(Load* load) noexcept nogil:
    load.now = load_clock(CLOCK_MONOTONIC)
    load.start = load.now
    load.end = load.start + load.length
    while True:
        if may_begin(load):
            open_links(load)
            begin_calls(load)
        elif load.open_count == 0 or load.now >= load.end + load.patience:
            break
        send_dirty(load)
        await_events(load)
        load.now = load_clock(CLOCK_MONOTONIC)
    load.ended = load.now
    count_due(load)
    give_up(load)


cdef bint may_begin(Load* load) noexcept nogil:
    """Return True if calls are still to begin: of an open loop all that were due, as long as the patience lasts."""
    if load.next_body == load.body_count:
        return False
    if load.interval > 0:
        return due_at(load, load.counts.begun) < load.end and load.now < load.end + load.patience
    return load.now < load.end


cdef int connect_all(Load* load, int64_t patience) noexcept nogil:
    """Connect, and wait until the server has said something on every connection; return on how many it has in time."""
    cdef int64_t until
    load.now = load_clock(CLOCK_MONOTONIC)
    until, load.interval = load.now + patience, 0
    while ready_count(load) < load.link_count and load.now < until:
        open_links(load)
        send_dirty(load)
        await_events(load)
    return ready_count(load)


cdef int ready_count(const Load* load) noexcept nogil:
    cdef int i, count = 0
    for i in range(load.link_count):
        count += load.links[i].fd >= 0 and load.links[i].heard
    return count


cdef void open_links(Load* load) noexcept nogil:
    cdef int i
    if load.away_count == 0:
        return
    for i in range(load.link_count):
        if load.links[i].fd < 0 and load.links[i].again_at <= load.now:
            open_link(&load.links[i])


cdef void begin_calls(Load* load) noexcept nogil:
    if load.interval > 0:
        begin_due(load)
    else:
        keep_busy(load)


cdef bint has_room(const Link* link) noexcept nogil:
    """Return True if a call can begin: the server has said something, so that it is there and its limits are known."""
    return link.fd >= 0 and link.heard and not link.leaving and link.open_count < link.load.calls_per_link


cdef void keep_busy(Load* load) noexcept nogil:
    """The closed loop: fill every connection up. The next call is due when there is room for it."""
    cdef int i
    for i in range(load.link_count):
        while has_room(&load.links[i]) and load.next_body < load.body_count and begin_call(&load.links[i], load.now):
            pass


cdef void begin_due(Load* load) noexcept nogil:
    """The open loop: begin the calls that are due, over the connections in turn; without room they stay due."""
    cdef int without_room = 0
    cdef int64_t due = due_at(load, load.counts.begun)
    while due <= load.now and due < load.end and load.next_body < load.body_count and without_room < load.link_count:
        load.turn = (load.turn + 1) % load.link_count
        if has_room(&load.links[load.turn]) and begin_call(&load.links[load.turn], due):
            record(load.counts.begun_late, load.now - due)
            without_room = 0
            due = due_at(load, load.counts.begun)
        else:
            without_room += 1


cdef int64_t due_at(const Load* load, uint64_t place) noexcept nogil:
    return load.start + <int64_t>(load.interval * <double>place)


cdef void send_dirty(Load* load) noexcept nogil:
    cdef Link* link = load.dirty
    while link != NULL:
        load.dirty = link.next_dirty
        link.is_dirty = False
        if link.fd >= 0 and (not send_all(link) or is_over(link)):
            end_link(link, LOST)
        link = load.dirty


cdef bint is_over(const Link* link) noexcept nogil:
    """Return True if a connection has ended in order: by a GOAWAY and its last call, or as what came was no HTTP/2."""
    if link.leaving and link.open_count == 0:
        return True
    return not nghttp2_session_want_read(link.session) and not nghttp2_session_want_write(link.session)


cdef void await_events(Load* load) noexcept nogil:
    cdef epoll_event events[EVENTS_MAX]
    cdef uint64_t fired
    cdef int i, count = epoll_wait(load.epoll, events, EVENTS_MAX, wait_ms(load))
    load.now = load_clock(CLOCK_MONOTONIC)
    for i in range(count):
        if events[i].data.ptr == NULL:
            read(load.timer, &fired, sizeof(fired))
        else:
            take_event(<Link*>events[i].data.ptr, events[i].events)


cdef void take_event(Link* link, uint32_t events) noexcept nogil:
    if link.fd >= 0 and events & (EPOLLIN | EPOLLERR | EPOLLHUP) and not receive(link):
        end_link(link, LOST)
    elif events & EPOLLOUT:
        soil(link)


cdef int wait_ms(Load* load) noexcept nogil:
    """Return for how long to wait at most; the timer tells of the next call that is due."""
    cdef int64_t due
    if load.interval > 0 and may_begin(load):
        due = due_at(load, load.counts.begun)
        if due > load.now:
            load_set_timer(load.timer, due)
    return TURN_MS


cdef void count_due(Load* load) noexcept nogil:
    """Count the calls that were due and not begun, for want of room or of a connection."""
    cdef uint64_t due = 0
    if load.interval > 0:
        due = <uint64_t>(<double>load.length / load.interval)
        if load.once:
            due = min(due, <uint64_t>load.body_count)
    load.counts.never_begun = due - load.counts.begun if due > load.counts.begun else 0


cdef void give_up(Load* load) noexcept nogil:
    """Count the calls that have had no answer, and close their connections: a late one would be another run's."""
    cdef int i
    for i in range(load.link_count):
        if load.links[i].open_count or load.links[i].leaving:
            end_link(&load.links[i], UNANSWERED)
            load.links[i].again_at = 0
