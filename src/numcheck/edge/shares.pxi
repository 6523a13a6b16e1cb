# Shares the memory of a loop: the calls of a party may hold as much of it as is left free. So one party alone leaves a
# half, two leave a third, and whoever sends half requests or takes no answers is refused long before others are.
#
# The bytes that a stream or a connection holds are counted as it asks for more, and as it ends.

cdef void count_as(Counted* counted, LargeLine* party, size_t size) noexcept nogil:
    """Count `size` bytes, instead of those before, as those of the party that they were counted for first."""
    if counted.party == NULL:
        counted.party = party
    if counted.party != NULL:
        counted.party.held_size += size - counted.size
        counted.size = size


cdef void count_no_more(Counted* counted) noexcept nogil:
    if counted.party != NULL:
        counted.party.held_size -= counted.size
    memset(counted, 0, sizeof(Counted))


cdef bint has_share(Loop* loop, LargeLine* party, size_t room) noexcept nogil:
    """Return True if there is so much room, and no less than the party then holds; NULL: nobody's."""
    if not has_room(loop, room):
        return False
    return party == NULL or (
        party.held_size + load(&party.lent_size) + room <= HELD_SIZE_MAX - loop.held_size - load(&loop.lent_size))


cdef bint may_hold(Stream* stream, size_t room) noexcept nogil:
    """Return True if the stream's party may hold `room` more bytes."""
    cdef size_t size = stream.body.capacity + stream.unread.capacity + stream.out.capacity
    count_as(&stream.counted, stream.connection.large, size)
    return has_share(stream.connection.loop, stream.counted.party, room)


cdef bint may_gather(Connection* connection) noexcept nogil:
    """Return True if the connection may keep more than a frame or two unsent."""
    count_as(&connection.counted, connection.large, connection.unsent.capacity)
    return has_share(connection.loop, connection.counted.party, SCRATCH_SIZE)
