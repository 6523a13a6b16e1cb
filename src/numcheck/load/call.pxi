# A call, from its beginning to how it ended. A Link owns as many Calls as it may have in flight.

cdef bint begin_call(Link* link, int64_t due) noexcept nogil:
    """Begin a call with the next body; False if this connection takes no more of them."""
    cdef Load* load = link.load
    cdef Call* call = link.free_calls
    cdef nghttp2_data_provider provider
    call.body = &load.bodies[load.next_body]
    call.sent, call.due, call.status, call.http_status_is_ok = 0, due, NO_STATUS, False
    provider.source.ptr, provider.read_callback = call, read_body
    if nghttp2_submit_request(link.session, NULL, load.headers, load.header_count, &provider, call) < 0:
        link.leaving = True    # its stream ids have run out
        return False
    load.next_body += 1
    if load.next_body == load.body_count and not load.once:
        load.next_body = 0
    link.free_calls, call.next = call.next, NULL
    call.is_open = True
    link.open_count += 1
    load.open_count += 1
    load.counts.begun += 1
    soil(link)
    return True


cdef void end_call(Call* call, Ending ending) noexcept nogil:
    """Count how a call ended, and let its Link use it again."""
    cdef Link* link = call.link
    cdef Load* load = link.load
    cdef Counts* counts = &load.counts
    if ending == CLOSED and call.status != NO_STATUS and call.http_status_is_ok:
        counts.statuses[call.status] += 1
        counts.in_time += call.status == 0 and load.now <= load.end
        record(&counts.answered[0] if call.status == 0 else &counts.refused[0], load.now - call.due)
    else:
        counts.endings[<int>ending] += 1
    call.is_open, call.next, link.free_calls = False, link.free_calls, call
    link.open_count -= 1
    load.open_count -= 1


cdef ssize_t read_body(nghttp2_session* session, int32_t stream_id, uint8_t* room, size_t size, uint32_t* flags,
                       nghttp2_data_source* source, void* data) noexcept nogil:
    cdef Call* call = <Call*>source.ptr
    cdef size_t taken = min(size, call.body.size - call.sent)
    memcpy(room, call.body.data + call.sent, taken)
    call.sent += taken
    if call.sent == call.body.size:
        flags[0] |= NGHTTP2_DATA_FLAG_EOF
    return taken


cdef int on_header(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name, size_t name_size,
                   const uint8_t* value, size_t size, uint8_t flags, void* data) noexcept nogil:
    cdef Call* call = <Call*>nghttp2_session_get_stream_user_data(session, frame.hd.stream_id)
    if call == NULL:
        return 0
    if name_size == 7 and memcmp(name, b":status", 7) == 0:
        call.http_status_is_ok = size == 3 and memcmp(value, b"200", 3) == 0
    elif name_size == 11 and memcmp(name, b"grpc-status", 11) == 0:
        call.status = status_of(value, size)
    return 0


cdef int status_of(const uint8_t* digits, size_t size) noexcept nogil:
    """Return a status from its decimal digits; one that gRPC does not have counts as UNKNOWN, as with its clients."""
    cdef int status = 0
    cdef size_t at
    if size == 0 or size > 2:
        return UNKNOWN_STATUS
    for at in range(size):
        if not c"0" <= digits[at] <= c"9":
            return UNKNOWN_STATUS
        status = 10 * status + digits[at] - c"0"
    return status if status < STATUS_COUNT else UNKNOWN_STATUS


cdef int on_stream_close(nghttp2_session* session, int32_t stream_id, uint32_t error, void* data) noexcept nogil:
    cdef Call* call = <Call*>nghttp2_session_get_stream_user_data(session, stream_id)
    # A server that has answered early may reset what is left of the request: that is an answer.
    if call != NULL and call.is_open:
        end_call(call, CLOSED if error == NGHTTP2_NO_ERROR or call.status != NO_STATUS else RESET)
    return 0


cdef int on_frame_recv(nghttp2_session* session, const nghttp2_frame* frame, void* data) noexcept nogil:
    cdef Link* link = <Link*>data
    if frame.hd.type == NGHTTP2_GOAWAY:
        link.load.counts.goaways += not link.leaving
        link.leaving = True
    return 0
