# nghttp2's callbacks: each finds its Stream and passes on what came. None of them may free a connection.

cdef int on_begin_headers(nghttp2_session* session, const nghttp2_frame* frame, void* data) noexcept nogil:
    cdef Stream* stream
    if frame.headers.cat != NGHTTP2_HCAT_REQUEST:
        return 0
    stream = make_stream(<Connection*>data, frame.hd.stream_id)
    if stream == NULL:
        return NGHTTP2_ERR_CALLBACK_FAILURE
    nghttp2_session_set_stream_user_data(session, stream.id, stream)
    return 0


cdef int on_header(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                   const uint8_t* value, size_t size, uint8_t flags, void* data) noexcept nogil:
    cdef Stream* stream = <Stream*>nghttp2_session_get_stream_user_data(session, frame.hd.stream_id)
    if stream == NULL:
        return 0
    stream.header_list_size += name_size + size + 32    # RFC 9113 section 6.5.2 counts so
    if stream.header_list_size > 8 * stream.connection.loop.header_list_size_max:
        return NGHTTP2_ERR_CALLBACK_FAILURE
    if frame.headers.cat == NGHTTP2_HCAT_REQUEST:
        read_header(stream, name, name_size, value, size)
    return 0


cdef void cut_off(Connection* connection, const char* reason) noexcept nogil:
    """End the connection of a harmful peer, with the reason in a GOAWAY: nghttp2's own has no text."""
    if connection.session == NULL:
        connection.broken = True
        return
    nghttp2_submit_goaway(
        connection.session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(connection.session),
        NGHTTP2_ENHANCE_YOUR_CALM, <const uint8_t*>reason, strlen(reason))
    nghttp2_session_terminate_session(connection.session, NGHTTP2_ENHANCE_YOUR_CALM)


cdef void spend_credit(Connection* connection) noexcept nogil:
    """Count a frame that brings nothing; end the connection after too many."""
    connection.control_credit -= FRAME_COST
    if connection.control_credit < 0:
        cut_off(connection, b"too many frames that bring nothing")


cdef void spend_reset(Connection* connection, const Stream* stream) noexcept nogil:
    """Count a reset by the peer, unless the call was answered: its answer has earned more than the reset costs.

    Harmless clients reset calls at any rate: at their deadline, and by habit after a status without a message. Only
    resets of unanswered work count, beyond what the same connection lets be answered."""
    if stream == NULL or stream.answered:
        spend_credit(connection)
        return
    refill_credit(connection)
    connection.reset_credit -= RESET_COST
    if connection.reset_credit < 0:
        cut_off(connection, b"too many calls were reset before they were answered")


cdef void take_back_window(Connection* connection, bint of_stream, int64_t size) noexcept nogil:
    """Take window that the peer gives back: free up to the bytes that it was sent, beyond that it costs credit."""
    if size <= connection.unreturned[of_stream]:
        connection.unreturned[of_stream] -= size
    else:
        spend_credit(connection)


cdef void count_sent(Connection* connection, int64_t size) noexcept nogil:
    """Count DATA sent: the peer may give its window back, for the connection and for the stream."""
    cdef int i
    for i in range(2):
        connection.unreturned[i] = min(connection.unreturned[i] + size, <int64_t>UNRETURNED_MAX)


cdef void earn_credit(Connection* connection) noexcept nogil:
    """Earn the peer a free PING and SETTINGS by a call or by DATA: clients measure the path that way."""
    connection.control_credit = min(CREDIT_MAX, connection.control_credit + 2 * FRAME_COST)


cdef void earn_reset(Connection* connection) noexcept nogil:
    """Earn credit by a call answered to its end: for a late reset of it, and for one of another call."""
    earn_credit(connection)
    connection.reset_credit = min(RESET_CREDIT_MAX, connection.reset_credit + RESET_COST)


cdef void refill_credit(Connection* connection) noexcept nogil:
    cdef int64_t passed = connection.loop.now - connection.refilled
    connection.refilled = connection.loop.now
    connection.control_credit = min(CREDIT_MAX, connection.control_credit + passed)
    connection.reset_credit = min(RESET_CREDIT_MAX, connection.reset_credit + passed)


cdef int on_frame_recv(nghttp2_session* session, const nghttp2_frame* frame, void* data) noexcept nogil:
    cdef bint last = frame.hd.flags & NGHTTP2_FLAG_END_STREAM
    cdef Stream* stream
    stream = <Stream*>nghttp2_session_get_stream_user_data(session, frame.hd.stream_id)
    if frame.hd.type == NGHTTP2_RST_STREAM:
        spend_reset(<Connection*>data, stream)
        return 0
    if frame.hd.type == NGHTTP2_WINDOW_UPDATE:
        take_back_window(<Connection*>data, frame.hd.stream_id != 0, frame.window_update.window_size_increment)
        return 0
    if frame.hd.type != NGHTTP2_DATA and frame.hd.type != NGHTTP2_HEADERS:
        spend_credit(<Connection*>data)
        return 0
    if frame.hd.type == NGHTTP2_DATA and frame.hd.length <= frame.data.padlen and not last:
        spend_credit(<Connection*>data)
    if stream == NULL:
        return 0
    if last:
        stream.half_closed = True
    if frame.hd.type == NGHTTP2_HEADERS and frame.headers.cat == NGHTTP2_HCAT_REQUEST:
        earn_credit(<Connection*>data)
        begin_call(stream)
    if last:
        end_request(stream)
    return 0


cdef int on_invalid_frame(nghttp2_session* session, const nghttp2_frame* frame, int error, void* data) noexcept nogil:
    spend_credit(<Connection*>data)
    return 0


cdef int on_data_chunk(nghttp2_session* session, uint8_t flags, int32_t id, const uint8_t* chunk, size_t size,
                       void* data) noexcept nogil:
    cdef Stream* stream = <Stream*>nghttp2_session_get_stream_user_data(session, id)
    nghttp2_session_consume_connection(session, size)
    if stream != NULL and not stream.ended:
        take_data(stream, chunk, size)
    return 0


cdef int on_frame_send(nghttp2_session* session, const nghttp2_frame* frame, void* data) noexcept nogil:
    """Reset a call that ended before its request, and count frames that the peer made us send."""
    cdef Stream* stream = <Stream*>nghttp2_session_get_stream_user_data(session, frame.hd.stream_id)
    if frame.hd.type == NGHTTP2_DATA:
        earn_credit(<Connection*>data)
        count_sent(<Connection*>data, frame.hd.length)
        if stream != NULL:
            stream.answered = True
    elif frame.hd.type == NGHTTP2_RST_STREAM and frame.rst_stream.error_code != NGHTTP2_NO_ERROR:
        spend_credit(<Connection*>data)
    elif frame.hd.type == NGHTTP2_HEADERS and frame.hd.flags & NGHTTP2_FLAG_END_STREAM:
        earn_reset(<Connection*>data)
        if stream != NULL:
            stream.answered = True
        if stream != NULL and not stream.half_closed:
            nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame.hd.stream_id, NGHTTP2_NO_ERROR)
    return 0


cdef int on_stream_close(nghttp2_session* session, int32_t id, uint32_t error, void* data) noexcept nogil:
    cdef Stream* stream = <Stream*>nghttp2_session_get_stream_user_data(session, id)
    if stream != NULL:
        nghttp2_session_set_stream_user_data(session, id, NULL)
        drop_stream(stream)
    return 0
