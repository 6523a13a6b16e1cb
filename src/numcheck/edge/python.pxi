# Asking Python, which is rare: with the GIL held, and nothing of a Stream is kept beyond the call.

cdef void adopt(Loop* loop) noexcept with gil:
    """Answer from the newest table from now on."""
    loop.adopted = load(&loop.published)
    (<EdgeLoop>loop.owner).adopt()


cdef void adopt_credentials(Loop* loop) noexcept with gil:
    """Show the newest certificate to whoever connects from now on."""
    cdef EdgeLoop owner = <EdgeLoop>loop.owner
    loop.credentials_adopted = load(&loop.credentials_published)
    owner.credentials = owner.next_credentials
    loop.tls = owner.credentials.context


cdef bint is_admitted(Stream* stream) noexcept nogil:
    """Whether the caller may call the stream's method, asked anew after `admitted_for`; if not, the call has ended.

    A plaintext listener is for everybody on this machine. Over TLS the connection's `view` is this caller's now."""
    cdef Connection* connection = stream.connection
    cdef int64_t at = connection.admitted_at[<int>stream.method]
    if connection.tls == NULL:
        return True
    if (at == 0 or connection.loop.now - at > connection.loop.admitted_for
            or not equals_bytes(&stream.authorization, &connection.authorization)):
        ask_admission(connection.loop.owner, stream)
    return not stream.ended


cdef bint equals_bytes(const Bytes* one, const Bytes* other) noexcept nogil:
    return one.size == other.size and (one.size == 0 or memcmp(one.data, other.data, one.size) == 0)


cdef void ask_admission(void* owner, Stream* stream) noexcept with gil:
    """What is found counts for the calls of the connection that show the same authorization."""
    cdef Connection* connection = stream.connection
    cdef bytes authorization
    if not equals_bytes(&stream.authorization, &connection.authorization):
        memset(connection.admitted_at, 0, sizeof(connection.admitted_at))
        forget(&connection.authorization)
        if not append(&connection.authorization, stream.authorization.data, stream.authorization.size):
            give_status(stream, RESOURCE_EXHAUSTED, b"out of memory")
            return
    connection.admitted_at[<int>stream.method] = 0
    try:
        authorization = b"" if stream.authorization.size == 0 else PyBytes_FromStringAndSize(
            <char*>stream.authorization.data, stream.authorization.size)
        agreements, refusal = (<EdgeLoop>owner).admit(uris_of(connection.tls), authorization, stream.method)
        if refusal is None:
            connection.view = (<EdgeLoop>owner).place_of(agreements)
            connection.admitted_at[<int>stream.method] = connection.loop.now
        else:
            refuse(stream, refusal)
    except BaseException:
        give_status(stream, INTERNAL, b"an error on the server's side")


cdef void ask_python(void* owner, Stream* stream) noexcept with gil:
    """Let the servicer answer the message, or refuse it with the details that the API listener gives."""
    cdef bytes body
    # Read before Python is asked: what is published meanwhile is asked for again by the next sweep.
    cdef uint64_t asked_at = load(&stream.connection.loop.published)
    try:
        body = PyBytes_FromStringAndSize(<char*>stream.body.data, stream.body.size)
        answer = (<EdgeLoop>owner).answer(stream.method, body, (<EdgeLoop>owner).agreements_at(stream.connection.view))
        if answer[1] == OK:
            give_answer(stream, answer[0], asked_at)
        else:
            refuse(stream, answer)
    except BaseException:
        give_status(stream, INTERNAL, b"an error on the server's side")


cdef int refuse(Stream* stream, answer) except -1:
    """End the call with the status that Python gave."""
    cdef bytes message, details
    _, code, message, details = answer
    append(&stream.details, PyBytes_AS_STRING(details), PyBytes_GET_SIZE(details))
    give_status(stream, code, PyBytes_AS_STRING(message))
    return 0


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
