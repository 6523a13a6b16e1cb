# Bounds how many calls may wait for Python. The loop decides as each call comes: a refusal costs no Python, and is
# immediate.
#
# The calls of one lane share threads, and lanes do not delay each other. The waiting calls of one party in one lane are
# a line. Python begins the calls of a lane's lines in turn, so a long line delays its own calls and no others.
#
# Each call that begins shows the pace of its line: how many calls it found before it, and how long it waited. At that
# pace so many may wait that the last begins within WAIT_TARGET, or LINE_MIN of them if that is more. The best pace of
# the last one or two PACE_WINDOWs counts, so that one slow moment, such as a disk's, refuses nobody. At any pace, known
# or not, a party may have twice as many calls in a lane, waiting and running, as the lane has room for more: one party
# fills at most two thirds of the lane and two parties four fifths, so that there is room for the next.

cdef bint may_wait(Line* line, int64_t now) noexcept nogil:
    """Return True if one more call may wait in the line."""
    cdef uint64_t length = load(&line.length), held = load(&line.lane.held)
    if length == 0:
        forget_pace(&line.pace, now)
    return (held < line.lane.held_max and load(&line.held) < 2 * (line.lane.held_max - held)
            and length < may_be(&line.pace))


cdef uint64_t may_be(Pace* pace) noexcept nogil:
    """Return how long a line of this pace may be."""
    return max(load(&pace.allowed), <uint64_t>LINE_MIN)


cdef void forget_pace(Pace* pace, int64_t now) noexcept nogil:
    """Forget an old pace, as nothing waits: at first a line is unbounded."""
    if now - <int64_t>load(&pace.learned_at) > PACE_LIFETIME:
        store(&pace.allowed, LINE_UNBOUNDED)


cdef void learn_pace(Pace* pace, int64_t now, int64_t waited, uint64_t before) noexcept nogil:
    """Learn the pace from a call that begins: how long it waited behind how many. One thread at a time."""
    cdef uint64_t allowed = (before + 1) * <uint64_t>WAIT_TARGET // <uint64_t>max(waited, <int64_t>1)
    if before < PACE_LENGTH_MIN:
        return    # a short line tells little, and an empty one nothing
    if now - pace.window_at > PACE_WINDOW:
        pace.last_best, pace.best, pace.window_at = pace.best, 0, now
    pace.best = max(pace.best, allowed)
    store(&pace.allowed, max(pace.best, pace.last_best))
    store(&pace.learned_at, now)


cdef void hold(Line* line, int64_t count) noexcept nogil:
    add(&line.held, count)
    add(&line.lane.held, count)


cdef uint64_t lengthen(Line* line) noexcept nogil:
    """Count one more call, waiting, and return how many wait before it."""
    hold(line, 1)
    return add(&line.length, 1) - 1


cdef void shorten(Line* line, int64_t now, int64_t waited, uint64_t before) noexcept nogil:
    """Begin a call that waited so long behind so many. One thread at a time."""
    add(&line.length, -1)
    learn_pace(&line.pace, now, waited, before)


cdef void join_line(Ask* ask, int64_t now) noexcept nogil:
    """Put the call at the end of its line."""
    ask.came, ask.before = now, lengthen(ask.line)
    store(&ask.held, 1)
    store(&ask.waiting, 1)


cdef void begin_ask(Ask* ask, int64_t now) noexcept nogil:
    """Take the call out of its line, as Python begins it. One thread at a time."""
    if exchange(&ask.waiting, 0):
        count_wait(ask, max(now - ask.came, <int64_t>0))
        shorten(ask.line, now, now - ask.came, ask.before)


cdef void hold_no_more(Ask* ask) noexcept nogil:
    """Count the call no more: Python has given its first answer, or need not give one soon."""
    if exchange(&ask.held, 0):
        hold(ask.line, -1)


cdef void leave_line(Ask* ask) noexcept nogil:
    """Take the call out of its line: nobody will begin or answer it."""
    if exchange(&ask.waiting, 0):
        add(&ask.line.length, -1)
    hold_no_more(ask)
