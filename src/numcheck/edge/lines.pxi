# How many calls may wait for Python, decided by the loop as each comes: a refusal costs no Python, and comes at once.
#
# Calls of one lane share threads, and no lane makes another wait. The waiting calls of one party in one lane are a
# line; Python begins the calls of a lane's lines in turn, so a long line makes its own calls wait and no others.
#
# A call that is begun tells the pace of its line: it found so many before it, and waited so long. At that pace so many
# may wait that the last of them is begun within WAIT_TARGET, or LINE_MIN where that is more. The best pace of the last
# PACE_WINDOW or two counts, so that one slow moment, such as a disk's, has nobody refused. At any pace, and while nothing
# is known of it, a party has twice as many calls in a lane, waiting and running, as there are places free: one party
# fills two thirds of them at most, two of them four fifths, and so there is a place for the next.

cdef bint may_wait(Line* line, int64_t now) noexcept nogil:
    """Return True if one more call may wait in the line."""
    cdef uint64_t length = load(&line.length), held = load(&line.lane.held)
    if length == 0 and now - <int64_t>load(&line.learned_at) > PACE_LIFETIME:
        store(&line.allowed, LINE_UNBOUNDED)
    return (held < line.lane.held_max and load(&line.held) < 2 * (line.lane.held_max - held)
            and length < max(load(&line.allowed), <uint64_t>LINE_MIN))


cdef void learn_pace(Line* line, int64_t now, int64_t waited, uint64_t before) noexcept nogil:
    """Learn from a call that is begun: how long it waited, and how many it found before it. One thread at a time."""
    cdef uint64_t allowed = (before + 1) * <uint64_t>WAIT_TARGET // <uint64_t>max(waited, <int64_t>1)
    if before < PACE_LENGTH_MIN:
        return    # a short line tells little: who finds nobody, nothing
    if now - line.window_at > PACE_WINDOW:
        line.last_best, line.best, line.window_at = line.best, 0, now
    line.best = max(line.best, allowed)
    store(&line.allowed, max(line.best, line.last_best))
    store(&line.learned_at, now)


cdef void hold(Line* line, int64_t count) noexcept nogil:
    add(&line.held, count)
    add(&line.lane.held, count)


cdef uint64_t lengthen(Line* line) noexcept nogil:
    """One more call waits and is held; return how many are before it."""
    hold(line, 1)
    return add(&line.length, 1) - 1


cdef void shorten(Line* line, int64_t now, int64_t waited, uint64_t before) noexcept nogil:
    """One that waited so long behind so many is begun. One thread at a time."""
    add(&line.length, -1)
    learn_pace(line, now, waited, before)


cdef void join_line(Ask* ask, int64_t now) noexcept nogil:
    """The call waits from now on."""
    ask.came, ask.before = now, lengthen(ask.line)
    store(&ask.held, 1)
    store(&ask.waiting, 1)


cdef void begin_ask(Ask* ask, int64_t now) noexcept nogil:
    """Python begins the call. One thread at a time."""
    if exchange(&ask.waiting, 0):
        shorten(ask.line, now, now - ask.came, ask.before)


cdef void hold_no_more(Ask* ask) noexcept nogil:
    """Python has given the first of its answers, or need not give one soon."""
    if exchange(&ask.held, 0):
        hold(ask.line, -1)


cdef void leave_line(Ask* ask) noexcept nogil:
    """Nobody will begin the call, or answer it."""
    if exchange(&ask.waiting, 0):
        add(&ask.line.length, -1)
    hold_no_more(ask)
