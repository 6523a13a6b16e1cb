# Asking Python, which is rare: with the GIL held, and nothing of a Stream is kept beyond the call.

cdef void adopt(Loop* loop) noexcept with gil:
    """Answer from the newest table from now on."""
    cdef EdgeLoop owner = <EdgeLoop>loop.owner
    loop.adopted = load(&loop.published)
    owner.table = owner.next_table
    loop.view = NULL if owner.table is None else &owner.table.view


cdef void ask_python(void* owner, Stream* stream) noexcept with gil:
    """Let the servicer answer the message, or refuse it with the details that the API listener gives."""
    cdef bytes body, message, details
    cdef int code
    # Read before Python is asked: what is published meanwhile is asked for again by the next sweep.
    cdef uint64_t asked_at = load(&stream.connection.loop.published)
    try:
        body = PyBytes_FromStringAndSize(<char*>stream.body.data, stream.body.size)
        answer, code, message, details = (<EdgeLoop>owner).answer(stream.method, body)
    except BaseException:
        give_status(stream, INTERNAL, b"an error on the server's side")
        return
    if code == OK:
        give_answer(stream, answer, asked_at)
        return
    append(&stream.details, PyBytes_AS_STRING(details), PyBytes_GET_SIZE(details))
    give_status(stream, code, PyBytes_AS_STRING(message))


cdef void give_answer(Stream* stream, bytes answer, uint64_t asked_at) noexcept:
    cdef uint8_t prefix[MESSAGE_PREFIX_SIZE]
    if stream.method == HEALTH_WATCH:
        stream.watched_at = asked_at
        # A HealthCheckResponse is one small varint field, or nothing.
        status = answer[1] if len(answer) == 2 else 0
        if stream.watching and status == stream.watched:
            return
        stream.watching, stream.watched = True, status
    write_prefix(prefix, len(answer))
    if not append(&stream.out, prefix, MESSAGE_PREFIX_SIZE) or not append(
            &stream.out, PyBytes_AS_STRING(answer), PyBytes_GET_SIZE(answer)):
        give_status(stream, RESOURCE_EXHAUSTED, b"out of memory")
