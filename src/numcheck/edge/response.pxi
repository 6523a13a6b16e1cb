# Sends what leaves by a stream: headers, answers, the status. nghttp2 asks for bytes when the peer takes them.

cdef void give_status(Stream* stream, int code, const char* message) noexcept nogil:
    """End the call with a status, which is sent behind the answers; of several the first stands."""
    if stream.ended:
        return
    stream.ended, stream.code = True, code
    append(stream.connection.loop, &stream.message, message, strlen(message))
    drop_request(stream)
    let_go(stream)
    count_call(stream, code)
    start_sending(stream)


cdef nghttp2_nv header(const char* name, const void* value, size_t size) noexcept nogil:
    cdef nghttp2_nv pair
    pair.name, pair.namelen = <uint8_t*>name, strlen(name)
    pair.value, pair.valuelen = <uint8_t*>value, size
    pair.flags = NGHTTP2_NV_FLAG_NO_COPY_NAME
    return pair


cdef size_t status_headers(Stream* stream, char* digits, nghttp2_nv* headers) noexcept nogil:
    """Fill in the trailers, at most three; `digits` (12 bytes) has to live for as long as they are used."""
    cdef size_t count = 1
    headers[0] = header(b"grpc-status", digits, snprintf(digits, 12, b"%d", stream.code))
    if stream.message.size:
        headers[count] = header(b"grpc-message", stream.message.data, stream.message.size)
        count += 1
    if stream.details.size:
        headers[count] = header(b"grpc-status-details-bin", stream.details.data, stream.details.size)
        count += 1
    return count


cdef size_t budget_header(Stream* stream, char* digits, nghttp2_nv* headers) noexcept nogil:
    """How many new numbers the caller may ask about yet, where it nears the end of them; `digits` holds 24 bytes for
    as long as the header is used."""
    cdef int64_t few = -1 if stream.connection.ledger == NULL else few_left(stream.connection.ledger)
    if few < 0:
        return 0
    headers[0] = header(b"numcheck-new-numbers-left", digits, snprintf(digits, 24, b"%lld", <long long>few))
    return 1


cdef void start_sending(Stream* stream) noexcept nogil:
    """Begin the response: its headers and then its bytes, or a status alone."""
    cdef nghttp2_session* session = stream.connection.session
    cdef nghttp2_data_provider source
    cdef nghttp2_nv headers[7]
    cdef char digits[12]
    cdef char budget[24]
    cdef size_t count = 2
    if stream.responded:
        if stream.deferred:
            stream.deferred = False
            must(stream.connection, nghttp2_session_resume_data(session, stream.id))
        return
    stream.responded = True
    headers[0] = header(b":status", b"200", 3)
    headers[1] = header(b"content-type", b"application/grpc", 16)
    count += budget_header(stream, budget, headers + 2)
    if stream.ended and stream.code != OK and left(&stream.out) == 0:
        count += status_headers(stream, digits, headers + count)
        if stream.encoding == OTHER_ENCODING:
            headers[count] = header(b"grpc-accept-encoding", b"identity, gzip", 14)
            count += 1
        must(stream.connection, nghttp2_submit_response(session, stream.id, headers, count, NULL))
        return
    source.source.ptr = stream
    source.read_callback = give_bytes
    must(stream.connection, nghttp2_submit_response(session, stream.id, headers, count, &source))


cdef void must(Connection* connection, int result) noexcept nogil:
    """End the connection if nghttp2 is out of memory: the stream would hang."""
    if result != 0:
        connection.broken = True


cdef ssize_t give_bytes(nghttp2_session* session, int32_t id, uint8_t* room, size_t size, uint32_t* flags,
                        nghttp2_data_source* source, void* data) noexcept nogil:
    """Give nghttp2 the next bytes of a response's body."""
    cdef Stream* stream = <Stream*>source.ptr
    cdef nghttp2_nv headers[3]
    cdef char digits[12]
    cdef size_t given = min(left(&stream.out), size)
    if given:
        memcpy(room, first(&stream.out), given)
        stream.out.start += given
        stream.moved_size += given
        if stream.moved_size >= MOVED_SIZE_MIN:
            begin_moving(stream)
        notify_of_room(stream, given)
    if left(&stream.out):
        return given
    forget(stream.connection.loop, &stream.out)
    give_window(stream, 0)
    if stream.ended:
        flags[0] |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM
        if nghttp2_submit_trailer(session, id, headers, status_headers(stream, digits, headers)) != 0:
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
    elif given == 0:
        stream.deferred = True
        return NGHTTP2_ERR_DEFERRED
    return given


cdef void refuse_http(Stream* stream, const char* status, const char* reason) noexcept nogil:
    """Answer a request that is not gRPC by an HTTP status and the reason as text."""
    cdef nghttp2_data_provider source
    cdef nghttp2_nv headers[2]
    headers[0] = header(b":status", status, 3)
    headers[1] = header(b"content-type", b"text/plain", 10)
    stream.ended = stream.responded = True
    count_call(stream, UNKNOWN_CODE)
    append(stream.connection.loop, &stream.message, reason, strlen(reason))
    source.source.ptr, source.read_callback = stream, give_reason
    must(stream.connection, nghttp2_submit_response(stream.connection.session, stream.id, headers, 2,
                                                    NULL if stream.is_head else &source))


cdef ssize_t give_reason(nghttp2_session* session, int32_t id, uint8_t* room, size_t size, uint32_t* flags,
                         nghttp2_data_source* source, void* data) noexcept nogil:
    """Give nghttp2 the next bytes of what `refuse_http` says."""
    cdef Stream* stream = <Stream*>source.ptr
    cdef size_t given = min(left(&stream.message), size)
    if given:
        memcpy(room, first(&stream.message), given)
        stream.message.start += given
    if left(&stream.message) == 0:
        flags[0] |= NGHTTP2_DATA_FLAG_EOF
    return given
