# Reads what gRPC puts into a request's headers, and judges it.

cdef bint equals(const uint8_t* value, size_t size, const char* text) noexcept nogil:
    return size == strlen(text) and memcmp(value, text, size) == 0


cdef Method route(const Loop* loop, const uint8_t* path, size_t size) noexcept nogil:
    cdef int method
    for method in range(1, loop.method_count):
        if size == loop.path_sizes[method] and memcmp(path, loop.paths[method], size) == 0:
            return <Method>method
    return UNKNOWN


cdef bint is_grpc(const uint8_t* value, size_t size) noexcept nogil:
    """Return True for application/grpc, with or without +proto and parameters."""
    if size < 16 or memcmp(value, b"application/grpc", 16) != 0:
        return False
    if size >= 22 and memcmp(value + 16, b"+proto", 6) == 0:
        value, size = value + 6, size - 6
    return size == 16 or value[16] == c";"


cdef int64_t read_timeout(const uint8_t* value, size_t size) noexcept nogil:
    """Read a grpc-timeout (one to eight digits and a unit) into nanoseconds; -1 if it is none."""
    cdef int64_t amount = 0
    cdef size_t i
    if not 2 <= size <= 9:
        return -1
    for i in range(size - 1):
        if not c"0" <= value[i] <= c"9":
            return -1
        amount = 10 * amount + (value[i] - c"0")
    if value[size - 1] == c"H":
        # 99,999,999 hours do not fit; a day is as good.
        return (amount if amount < 24 else 24) * 3_600 * SECOND
    if value[size - 1] == c"M":
        return amount * 60 * SECOND
    if value[size - 1] == c"S":
        return amount * SECOND
    if value[size - 1] == c"m":
        return amount * 1_000_000
    if value[size - 1] == c"u":
        return amount * 1_000
    return amount if value[size - 1] == c"n" else -1


cdef void read_trace(Stream* stream, const uint8_t* value, size_t size) noexcept nogil:
    """Keep a traceparent, or the start of one of a later version; of several none counts."""
    cdef bint is_one = size == TRACE_SIZE or (size > TRACE_SIZE and value[TRACE_SIZE] == c"-"
                                                 and memcmp(value, b"00", 2) != 0)
    if stream.has_trace or not is_one:
        memset(stream.trace, 0, TRACE_SIZE)
    else:
        memcpy(stream.trace, value, TRACE_SIZE)
    stream.has_trace = True


cdef bint is_sampled(const Stream* stream) noexcept nogil:
    """Return True if the caller has sampled its trace: by the last bit of the last digit."""
    cdef uint8_t digit = stream.trace[TRACE_SIZE - 1]
    return (digit & 1) ^ (digit >= c"a")


cdef void read_header(Stream* stream, const uint8_t* name, size_t name_size,
                      const uint8_t* value, size_t size) noexcept nogil:
    cdef int64_t timeout
    if equals(name, name_size, b":path"):
        stream.method = route(stream.connection.loop, value, size)
    elif equals(name, name_size, b":method"):
        stream.is_post, stream.is_head = equals(value, size, b"POST"), equals(value, size, b"HEAD")
    elif equals(name, name_size, b"content-type"):
        stream.is_grpc = is_grpc(value, size)
    elif equals(name, name_size, b"te"):
        stream.takes_trailers = equals(value, size, b"trailers")
    elif equals(name, name_size, b"grpc-encoding"):
        stream.encoding = (IDENTITY if equals(value, size, b"identity") else
                           GZIP if equals(value, size, b"gzip") else OTHER_ENCODING)
    elif equals(name, name_size, b"grpc-timeout"):
        timeout = read_timeout(value, size)
        stream.bad_timeout = timeout < 0
        stream.deadline = stream.begun + timeout
    elif equals(name, name_size, b"traceparent"):
        read_trace(stream, value, size)
    elif equals(name, name_size, b"authorization"):
        # A NUL separates values. A value too long for any token is cut, and then matches no token.
        append(stream.connection.loop, &stream.authorization, b"\0", 1)
        append(stream.connection.loop, &stream.authorization, value, min(size, <size_t>AUTHORIZATION_SIZE_MAX))


cdef void begin_call(Stream* stream) noexcept nogil:
    """Judge the complete headers."""
    if stream.header_list_size > stream.connection.loop.header_list_size_max:
        refuse_with(stream, &stream.connection.loop.large_metadata)
    elif not stream.is_post:
        refuse_http(stream, b"405", b"gRPC calls are POST requests\n")
    elif not stream.is_grpc:
        refuse_http(stream, b"415", b"gRPC calls have content-type: application/grpc\n")
    elif not stream.takes_trailers:
        refuse_http(stream, b"400", b"gRPC calls have te: trailers, as their status comes in trailers\n")
    elif stream.bad_timeout:
        give_status(stream, INTERNAL, b"grpc-timeout cannot be read")
    elif stream.method == UNKNOWN:
        if is_admitted(stream):
            refuse_with(stream, &stream.connection.loop.unknown)
    elif stream.encoding == OTHER_ENCODING:
        give_status(stream, UNIMPLEMENTED, b"grpc-encoding is none that this node reads")
    else:
        is_admitted(stream)
