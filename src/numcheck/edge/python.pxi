# Rare work, for which the loop waits: it takes the GIL, and keeps nothing of a Stream beyond the call.

cdef bint find_view(Connection* connection) noexcept nogil:
    """Make the newest index current, in the view of the connection's caller; False if there is none."""
    cdef Loop* loop = connection.loop
    if load(&loop.published) != loop.adopted:
        adopt(loop)
    if loop.views[connection.view] == NULL:
        make_view(loop, connection.view)
    return loop.views[connection.view] != NULL


cdef void adopt(Loop* loop) noexcept with gil:
    """Forget the older index and all views of it."""
    loop.adopted = load(&loop.published)
    (<EdgeLoop>loop.owner).adopt()


cdef void make_view(Loop* loop, int view) noexcept with gil:
    """Make one view of the index. If that fails there is none, and Python answers the call, with the error."""
    try:
        (<EdgeLoop>loop.owner).make_view(view)
    except BaseException:
        loop.views[view] = NULL


cdef void adopt_credentials(Loop* loop) noexcept with gil:
    """Use the newest certificate for connections from now on."""
    cdef EdgeLoop owner = <EdgeLoop>loop.owner
    loop.credentials_adopted = load(&loop.credentials_published)
    owner.credentials = owner.next_credentials
    loop.tls = owner.credentials.context


cdef bint is_admitted(Stream* stream) noexcept nogil:
    """Return True if the caller may call the stream's method, as asked within `admitted_for`; else end the call.

    In plaintext the user at the other end stays the same, so that the first answer holds for as long as the call shows
    the same token, or none. Over TLS the connection's `view` becomes this caller's."""
    cdef Connection* connection = stream.connection
    cdef int64_t at = connection.admitted_at[<int>stream.method]
    cdef bint is_same = equals_bytes(&stream.authorization, &connection.authorization)
    if connection.tls == NULL and at != 0 and is_same:
        return True
    if at == 0 or connection.loop.now - at > connection.loop.admitted_for or not is_same:
        ask_admission(connection.loop.owner, stream)
    return not stream.ended


cdef bint equals_bytes(const Bytes* one, const Bytes* other) noexcept nogil:
    return one.size == other.size and (one.size == 0 or memcmp(one.data, other.data, one.size) == 0)


cdef void ask_admission(void* owner, Stream* stream) noexcept with gil:
    """Ask Python who calls; the answer holds for the connection's calls with the same authorization."""
    cdef Connection* connection = stream.connection
    cdef bytes authorization
    if not equals_bytes(&stream.authorization, &connection.authorization):
        memset(connection.admitted_at, 0, sizeof(connection.admitted_at))
        forget(connection.loop, &connection.authorization)
        if not append(connection.loop, &connection.authorization, stream.authorization.data, stream.authorization.size):
            give_status(stream, RESOURCE_EXHAUSTED, b"out of memory")
            return
    connection.admitted_at[<int>stream.method] = 0
    try:
        authorization = b"" if stream.authorization.size == 0 else PyBytes_FromStringAndSize(
            <char*>stream.authorization.data, stream.authorization.size)
        agreements, role, name, caller, party, allowance, refusal = (<EdgeLoop>owner).admit(
            certificate_of(connection.tls), connection.fd, authorization, stream.method)
        if refusal is None:
            connection.view = (<EdgeLoop>owner).view_of(agreements)
            connection.role = (<EdgeLoop>owner).role_of(role)
            connection.asker = (<EdgeLoop>owner).asker_of(name)
            connection.caller = (<EdgeLoop>owner).kept_caller(caller)
            connection.lines = (<EdgeLoop>owner).queue.lines_of(party)
            connection.large = (<EdgeLoop>owner).large_line_of(party)
            connection.ledger = (<EdgeLoop>owner).ledger_of(allowance)
            connection.admitted_at[<int>stream.method] = connection.loop.now
            forget_stranger(connection)
        else:
            refuse(stream, refusal)
    except BaseException:
        give_status(stream, INTERNAL, b"an error on the server's side")


cdef int refuse(Stream* stream, answer) except -1:
    """End the call with the status that Python gave."""
    cdef bytes message, details
    code, message, details = answer
    append(stream.connection.loop, &stream.details, PyBytes_AS_STRING(details), PyBytes_GET_SIZE(details))
    give_status(stream, code, PyBytes_AS_STRING(message))
    return 0
