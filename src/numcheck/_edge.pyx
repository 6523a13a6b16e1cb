"""The native listener: gRPC over libnghttp2 in event loops that need no GIL. Linux alone (epoll).

One thread runs one loop; loops share nothing but the port (SO_REUSEPORT). A turn of a loop takes at most one bounded
read from each connection that has something and writes at most one bounded buffer to it, so that none starves another.

A request's way: `on_begin_headers` makes a Stream, `on_header` reads what gRPC puts there, `begin_call` judges it,
`take_bytes` cuts DATA into messages, `answer_message` answers one, `give_bytes` sends what was answered and then the
status. Whatever is rare (errors with details, CheckNumber, ListOperators, health) is asked of Python with the GIL held;
so is whatever the kernel does not admit, because the API listener's own error is the answer then.

Who owns what, and until when:

* a Loop owns its Connections (a list), spare Streams, two scratch buffers and its file descriptors, until `run` ends;
* a Connection owns its socket, nghttp2 session, open Streams and what it could not send yet (at most SCRATCH_SIZE),
  until `close_connection`, which is only called outside nghttp2's callbacks;
* a Stream owns its Bytes, and lives from `on_begin_headers` to `on_stream_close` or its connection's end;
* EdgeLoop keeps the Table alive whose view its Loop answers from. `adopt` alone replaces it, between two requests.

What bounds memory: streams a connection x (a message + its response), where bytes are only bought for what has come;
the bodies of all connections of a loop by BODIES_SIZE_MAX; a streaming call's answers by its receive window, which is
only given back once they have left; connections a loop by CONNECTIONS_MAX.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memset, strlen

from numcheck._fast cimport ADMITTED, Cursor, Request, Table, View, admit, response_size_max, write_response
from numcheck._nghttp2 cimport *

cdef extern from *:
    """
    #include <stdint.h>
    #include <sys/epoll.h>
    #include <sys/eventfd.h>
    #include <sys/socket.h>
    #include <netinet/in.h>
    #include <netinet/tcp.h>
    #include <time.h>
    #include <unistd.h>

    static int64_t numcheck_now(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    }
    static int numcheck_accept(int listener) {
        int on = 1, fd = accept4(listener, 0, 0, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        return fd;
    }
    static int numcheck_watch(int epoll, int operation, int fd, uint32_t events, void* data) {
        struct epoll_event event = {events, {data}};
        return epoll_ctl(epoll, operation, fd, &event);
    }
    #define numcheck_load(address) __atomic_load_n((address), __ATOMIC_ACQUIRE)
    #define numcheck_store(address, value) __atomic_store_n((address), (value), __ATOMIC_RELEASE)
    """
    ctypedef union epoll_data:
        void* ptr
    struct epoll_event:
        uint32_t events
        epoll_data data
    enum:
        EPOLLIN
        EPOLLOUT
        EPOLL_CTL_ADD
        EPOLL_CTL_MOD
        EPOLL_CTL_DEL
        EPOLL_CLOEXEC
        EFD_CLOEXEC
        EFD_NONBLOCK
        MSG_NOSIGNAL
    int epoll_create1(int flags) nogil
    int epoll_wait(int fd, epoll_event* events, int count, int timeout_ms) nogil
    int eventfd(unsigned int value, int flags) nogil
    int numcheck_watch(int epoll, int operation, int fd, uint32_t events, void* data) nogil
    int numcheck_accept(int listener) nogil
    int64_t numcheck_now() nogil
    ssize_t recv(int fd, void* buffer, size_t size, int flags) nogil
    ssize_t send(int fd, const void* buffer, size_t size, int flags) nogil
    ssize_t read(int fd, void* buffer, size_t size) nogil
    ssize_t write(int fd, const void* buffer, size_t size) nogil
    int close(int fd) nogil
    uint64_t load "numcheck_load"(uint64_t* address) nogil
    void store "numcheck_store"(uint64_t* address, uint64_t value) nogil

cdef extern from "zlib.h" nogil:
    ctypedef struct z_stream:
        uint8_t* next_in
        unsigned int avail_in
        uint8_t* next_out
        unsigned int avail_out
    int inflateInit2(z_stream*, int window_bits)
    int inflate(z_stream*, int flush)
    int inflateEnd(z_stream*)
    enum:
        Z_OK
        Z_STREAM_END
    
cdef enum:
    READ_SIZE = 65_536               # at most so much is read from a connection in a turn
    SCRATCH_SIZE = 131_072           # at most so much is written; a frame of ours takes 16 KiB and a little
    FRAME_ROOM = 32_768
    KEPT_SIZE = 4_096                # Bytes of a spare Stream keep their memory up to this
    SPARE_MAX = 1_024                # a loop
    STREAM_WINDOW_SIZE = 262_144
    CONNECTION_WINDOW_SIZE = 4_194_304
    EVENTS_MAX = 256
    ACCEPTS_MAX = 64                 # new connections a turn
    CONNECTIONS_MAX = 8_192          # a loop
    BODIES_SIZE_MAX = 268_435_456    # a loop
    SWEEP_MS = 100                   # deadlines are looked at so often
    CONTROL_FRAMES_MAX = 1_000       # PING, SETTINGS, RST_STREAM, PRIORITY, empty DATA and refused frames in a burst
    CONTROL_FRAMES_PER_S = 100       # and steadily; grpc-core pings and cancels far less
    MESSAGE_PREFIX_SIZE = 5

cdef int64_t SECOND = 1_000_000_000
cdef int64_t STALLED_AFTER = 60 * SECOND    # a peer that reads no answer, or brings no more of a request
cdef int64_t SILENT_AFTER = 10 * SECOND     # a new connection that brings nothing

cdef enum Code:                      # google.rpc.Code
    OK = 0
    CANCELLED = 1
    DEADLINE_EXCEEDED = 4
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14

cdef enum Method:
    UNKNOWN = 0
    CHECK_NUMBERS = 1
    STREAM_CHECK_NUMBERS = 2
    CHECK_NUMBER = 3
    LIST_OPERATORS = 4
    HEALTH_CHECK = 5
    HEALTH_WATCH = 6
    METHOD_COUNT = 7

cdef const char* PATHS[METHOD_COUNT]
PATHS[:] = [
    b"",
    b"/numcheck.v1.CheckService/CheckNumbers",
    b"/numcheck.v1.CheckService/StreamCheckNumbers",
    b"/numcheck.v1.CheckService/CheckNumber",
    b"/numcheck.v1.CheckService/ListOperators",
    b"/grpc.health.v1.Health/Check",
    b"/grpc.health.v1.Health/Watch",
]
METHODS = tuple(path.decode() for path in PATHS)

cdef enum Encoding:
    IDENTITY = 0
    GZIP = 1
    OTHER_ENCODING = 2

cdef struct Bytes:
    uint8_t* data
    size_t size
    size_t capacity

cdef struct Loop:
    int epoll_fd, listen_fd, wake_fd
    void* owner                      # the EdgeLoop, which outlives `run`
    const View* view                 # NULL until an index is published
    uint64_t adopted                 # the publication that `view` is of
    uint64_t published, stopping     # atomic: written by other threads
    int64_t now, next_sweep, drain_until
    int64_t drain_timeout, age_max
    size_t message_size_max, header_list_size_max, numbers_per_call_max, bodies_size
    uint32_t streams_max
    size_t connection_count
    Connection* connections
    Stream* spare
    size_t spare_count
    nghttp2_session_callbacks* callbacks
    nghttp2_option* options
    uint8_t* incoming                # READ_SIZE
    uint8_t* outgoing                # SCRATCH_SIZE
    uint64_t call_count              # written by this loop alone

cdef struct Connection:
    int fd
    uint32_t interest
    Loop* loop
    nghttp2_session* session
    Connection* next
    Connection* previous
    Stream* streams
    Bytes unsent
    size_t unsent_start
    int64_t born, heard, moved       # when it was made, last read from, last written to
    int64_t control_credit           # in nanoseconds of its refill
    int goaway                       # 0, 1: announced, 2: final

cdef struct Stream:
    int32_t id
    Connection* connection
    Stream* next
    Stream* previous
    int64_t begun, deadline          # deadline 0: none
    # the request
    Method method
    Encoding encoding
    bint is_post, is_grpc, takes_trailers, bad_timeout
    bint half_closed                 # the peer has sent all
    bint ended                       # we have: nothing more is read
    size_t header_list_size
    uint8_t prefix[MESSAGE_PREFIX_SIZE]
    size_t prefix_size, wanted
    Bytes body
    bint complete                    # a unary call's message is in `body`
    # the answer
    Bytes out
    size_t out_start, owed           # owed: received bytes whose window is given back once `out` has left
    bint responded, deferred
    int code
    Bytes message, details           # of the status: percent-encoded, base64
    uint8_t watched                  # the last answer of Watch,
    uint64_t watched_at              # and the publication that it was made at
    bint watching


# --- bytes ------------------------------------------------------------------------------------------------------

cdef bint make_room(Bytes* bytes, size_t room) noexcept nogil:
    """Make room for so much more; False if there is no memory."""
    cdef size_t capacity = bytes.capacity
    cdef void* data
    if capacity - bytes.size >= room:
        return True
    capacity = bytes.size + room if bytes.size + room > 2 * capacity else 2 * capacity
    data = realloc(bytes.data, capacity)
    if data == NULL:
        return False
    bytes.data, bytes.capacity = <uint8_t*>data, capacity
    return True


cdef bint append(Bytes* bytes, const void* data, size_t size) noexcept nogil:
    if size == 0:
        return True
    if not make_room(bytes, size):
        return False
    memcpy(bytes.data + bytes.size, data, size)
    bytes.size += size
    return True


cdef void forget(Bytes* bytes) noexcept nogil:
    """Empty it; a small buffer stays for the next user."""
    if bytes.capacity > KEPT_SIZE:
        discard(bytes)
    bytes.size = 0


cdef void discard(Bytes* bytes) noexcept nogil:
    free(bytes.data)
    memset(bytes, 0, sizeof(Bytes))


# --- streams ----------------------------------------------------------------------------------------------------

cdef Stream* make_stream(Connection* connection, int32_t id) noexcept nogil:
    cdef Loop* loop = connection.loop
    cdef Stream* stream = loop.spare
    cdef Bytes body, out
    if stream == NULL:
        stream = <Stream*>calloc(1, sizeof(Stream))
        if stream == NULL:
            return NULL
    else:
        loop.spare = stream.next
        loop.spare_count -= 1
        body, out = stream.body, stream.out
        memset(stream, 0, sizeof(Stream))
        stream.body, stream.out = body, out
    stream.id, stream.connection, stream.begun = id, connection, loop.now
    stream.next = connection.streams
    if stream.next != NULL:
        stream.next.previous = stream
    connection.streams = stream
    return stream


cdef void drop_stream(Stream* stream) noexcept nogil:
    cdef Loop* loop = stream.connection.loop
    if stream.previous == NULL:
        stream.connection.streams = stream.next
    else:
        stream.previous.next = stream.next
    if stream.next != NULL:
        stream.next.previous = stream.previous
    drop_body(stream)
    forget(&stream.out)
    discard(&stream.message)
    discard(&stream.details)
    if loop.spare_count == SPARE_MAX:
        discard(&stream.body)
        discard(&stream.out)
        free(stream)
        return
    stream.next, loop.spare = loop.spare, stream
    loop.spare_count += 1


cdef void drop_body(Stream* stream) noexcept nogil:
    stream.connection.loop.bodies_size -= stream.body.size
    forget(&stream.body)
    stream.prefix_size = 0


# --- answering --------------------------------------------------------------------------------------------------

cdef void give_status(Stream* stream, int code, const char* message) noexcept nogil:
    """End the call; the first status stands. What was answered before it is sent first."""
    if stream.ended:
        return
    stream.ended, stream.code = True, code
    append(&stream.message, message, strlen(message))
    drop_body(stream)
    start_sending(stream)


cdef nghttp2_nv header(const char* name, const void* value, size_t size) noexcept nogil:
    cdef nghttp2_nv pair
    pair.name, pair.namelen = <uint8_t*>name, strlen(name)
    pair.value, pair.valuelen = <uint8_t*>value, size
    pair.flags = NGHTTP2_NV_FLAG_NO_COPY_NAME
    return pair


cdef size_t status_headers(Stream* stream, char* digits, nghttp2_nv* headers) noexcept nogil:
    """The trailers, at most three; `digits` (12 bytes) holds the code for as long as they are used."""
    cdef size_t count = 1
    headers[0] = header(b"grpc-status", digits, snprintf(digits, 12, b"%d", stream.code))
    if stream.message.size:
        headers[count] = header(b"grpc-message", stream.message.data, stream.message.size)
        count += 1
    if stream.details.size:
        headers[count] = header(b"grpc-status-details-bin", stream.details.data, stream.details.size)
        count += 1
    return count


cdef void start_sending(Stream* stream) noexcept nogil:
    """Send what there is: the response's headers and then its bytes, or a status alone."""
    cdef nghttp2_session* session = stream.connection.session
    cdef nghttp2_data_provider source
    cdef nghttp2_nv headers[6]
    cdef char digits[12]
    cdef size_t count = 2
    if stream.responded:
        if stream.deferred:
            stream.deferred = False
            nghttp2_session_resume_data(session, stream.id)
        return
    stream.responded = True
    headers[0] = header(b":status", b"200", 3)
    headers[1] = header(b"content-type", b"application/grpc", 16)
    if stream.ended and stream.code != OK and stream.out.size == 0:
        count += status_headers(stream, digits, headers + 2)
        if stream.encoding == OTHER_ENCODING:
            headers[count] = header(b"grpc-accept-encoding", b"identity, gzip", 14)
            count += 1
        nghttp2_submit_response(session, stream.id, headers, count, NULL)
        return
    source.source.ptr = stream
    source.read_callback = give_bytes
    nghttp2_submit_response(session, stream.id, headers, count, &source)


cdef ssize_t give_bytes(nghttp2_session* session, int32_t id, uint8_t* room, size_t size, uint32_t* flags,
                        nghttp2_data_source* source, void* data) noexcept nogil:
    """nghttp2 asks for the next bytes of a response's body."""
    cdef Stream* stream = <Stream*>source.ptr
    cdef nghttp2_nv headers[3]
    cdef char digits[12]
    cdef size_t given = stream.out.size - stream.out_start
    if given > size:
        given = size
    if given:
        memcpy(room, stream.out.data + stream.out_start, given)
        stream.out_start += given
    if stream.out_start < stream.out.size:
        return given
    forget(&stream.out)
    stream.out_start = 0
    if stream.owed and not stream.ended:
        nghttp2_session_consume_stream(session, id, stream.owed)
        stream.owed = 0
    if stream.ended:
        flags[0] |= NGHTTP2_DATA_FLAG_EOF | NGHTTP2_DATA_FLAG_NO_END_STREAM
        if nghttp2_submit_trailer(session, id, headers, status_headers(stream, digits, headers)) != 0:
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
    elif given == 0:
        stream.deferred = True
        return NGHTTP2_ERR_DEFERRED
    return given


cdef void refuse_http(Stream* stream, const char* status) noexcept nogil:
    """What is not gRPC gets an HTTP status and nothing else."""
    cdef nghttp2_nv headers[1]
    headers[0] = header(b":status", status, 3)
    stream.ended = stream.responded = True
    nghttp2_submit_response(stream.connection.session, stream.id, headers, 1, NULL)


cdef void answer_message(Stream* stream) noexcept nogil:
    """Answer the message in `body` from one version of the index, and forget it."""
    cdef Loop* loop = stream.connection.loop
    if stream.deadline and loop.now >= stream.deadline:
        give_status(stream, DEADLINE_EXCEEDED, b"Deadline Exceeded")
        return
    if stream.prefix[0] and not inflate_body(stream):
        return
    if load(&loop.published) != loop.adopted:
        adopt(loop)
    loop.call_count += 1
    if stream.method > STREAM_CHECK_NUMBERS or not answer_by_kernel(stream):
        ask_python(loop.owner, stream)
        loop.now = numcheck_now()    # it may have taken its time
    if stream.ended:
        return
    if not stream.watching:
        drop_body(stream)    # a watch is answered again
    start_sending(stream)


cdef bint answer_by_kernel(Stream* stream) noexcept nogil:
    """Answer a CheckNumbersRequest; False, and nothing is done, if it is to be refused."""
    cdef const View* view = stream.connection.loop.view
    cdef Cursor cursor
    cdef Request request
    cdef uint8_t* start
    cdef uint8_t* end
    cdef bint streaming = stream.method == STREAM_CHECK_NUMBERS
    cursor.at, cursor.end = stream.body.data, stream.body.data + stream.body.size
    if view == NULL or admit(view, cursor, stream.connection.loop.numbers_per_call_max, &request) != ADMITTED:
        return False
    if not make_room(&stream.out, MESSAGE_PREFIX_SIZE + response_size_max(view, &request)):
        give_status(stream, RESOURCE_EXHAUSTED, b"out of memory")
        return True
    start = stream.out.data + stream.out.size
    end = write_response(view, cursor, &request, request.request_id if streaming else 0, start + MESSAGE_PREFIX_SIZE)
    write_prefix(start, end - start - MESSAGE_PREFIX_SIZE)
    stream.out.size += end - start
    return True


cdef void write_prefix(uint8_t* at, size_t size) noexcept nogil:
    at[0], at[1], at[2], at[3], at[4] = 0, size >> 24 & 0xFF, size >> 16 & 0xFF, size >> 8 & 0xFF, size & 0xFF


cdef bint inflate_body(Stream* stream) noexcept nogil:
    """Replace a gzip body by what it holds; never more than a message may have is made of it."""
    cdef size_t size_max = stream.connection.loop.message_size_max
    cdef z_stream z
    cdef Bytes plain
    cdef int result = Z_OK
    memset(&z, 0, sizeof(z))
    memset(&plain, 0, sizeof(plain))
    if stream.encoding != GZIP or inflateInit2(&z, 15 + 16) != Z_OK:
        give_status(stream, INTERNAL, b"a message is compressed and grpc-encoding does not say how")
        return False
    z.next_in, z.avail_in = stream.body.data, <unsigned int>stream.body.size
    while result == Z_OK and plain.size <= size_max and make_room(&plain, KEPT_SIZE):
        z.next_out, z.avail_out = plain.data + plain.size, KEPT_SIZE
        result = inflate(&z, 0)
        plain.size += KEPT_SIZE - z.avail_out
    inflateEnd(&z)
    if result == Z_STREAM_END and plain.size <= size_max and z.avail_in == 0:
        stream.connection.loop.bodies_size += plain.size - stream.body.size
        discard(&stream.body)
        stream.body = plain
        return True
    if plain.size > size_max or result == Z_OK:
        give_status(stream, RESOURCE_EXHAUSTED, b"the message is larger than this node takes")
    else:
        give_status(stream, INTERNAL, b"the message cannot be decompressed")
    discard(&plain)
    return False


# --- asking Python, which is rare -------------------------------------------------------------------------------

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


# --- reading requests -------------------------------------------------------------------------------------------

cdef bint equals(const uint8_t* value, size_t size, const char* text) noexcept nogil:
    return size == strlen(text) and memcmp(value, text, size) == 0


cdef Method route(const uint8_t* path, size_t size) noexcept nogil:
    cdef int method
    for method in range(1, METHOD_COUNT):
        if equals(path, size, PATHS[method]):
            return <Method>method
    return UNKNOWN


cdef bint is_grpc(const uint8_t* value, size_t size) noexcept nogil:
    """application/grpc, +proto, and parameters."""
    if size < 16 or memcmp(value, b"application/grpc", 16) != 0:
        return False
    if size >= 22 and memcmp(value + 16, b"+proto", 6) == 0:
        value, size = value + 6, size - 6
    return size == 16 or value[16] == c";"


cdef int64_t read_timeout(const uint8_t* value, size_t size) noexcept nogil:
    """grpc-timeout in nanoseconds: one to eight digits and a unit; -1 if it is no timeout."""
    cdef int64_t amount = 0
    cdef size_t i
    if not 2 <= size <= 9:
        return -1
    for i in range(size - 1):
        if not c"0" <= value[i] <= c"9":
            return -1
        amount = 10 * amount + (value[i] - c"0")
    if value[size - 1] == c"H":
        # 99,999,999 hours do not fit; a day says as much.
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


cdef void read_header(Stream* stream, const uint8_t* name, size_t name_size,
                      const uint8_t* value, size_t size) noexcept nogil:
    cdef int64_t timeout
    if equals(name, name_size, b":path"):
        stream.method = route(value, size)
    elif equals(name, name_size, b":method"):
        stream.is_post = equals(value, size, b"POST")
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


cdef void begin_call(Stream* stream) noexcept nogil:
    """Judge the headers, all of which have come."""
    if stream.header_list_size > stream.connection.loop.header_list_size_max:
        give_status(stream, RESOURCE_EXHAUSTED, b"received metadata size exceeds hard limit")
    elif not stream.is_post:
        refuse_http(stream, b"405")
    elif not stream.is_grpc:
        refuse_http(stream, b"415")
    elif not stream.takes_trailers:
        refuse_http(stream, b"400")
    elif stream.bad_timeout:
        give_status(stream, INTERNAL, b"grpc-timeout cannot be read")
    elif stream.method == UNKNOWN:
        ask_python(stream.connection.loop.owner, stream)
    elif stream.encoding == OTHER_ENCODING:
        give_status(stream, UNIMPLEMENTED, b"grpc-encoding is none that this node reads")


cdef bint take_bytes(Stream* stream, const uint8_t* data, size_t size) noexcept nogil:
    """Cut DATA into messages, and answer those of a stream as they come; False if nothing more is wanted."""
    cdef size_t part
    while size and not stream.ended and not stream.complete:
        if stream.prefix_size < MESSAGE_PREFIX_SIZE:
            part = min(size, MESSAGE_PREFIX_SIZE - stream.prefix_size)
            memcpy(stream.prefix + stream.prefix_size, data, part)
            stream.prefix_size += part
            if stream.prefix_size == MESSAGE_PREFIX_SIZE and not take_prefix(stream):
                return False
        else:
            part = min(size, stream.wanted - stream.body.size)
            # Bought as bytes come: a peer that announces a large message and sends none costs nothing.
            if stream.connection.loop.bodies_size + part > BODIES_SIZE_MAX or not append(&stream.body, data, part):
                give_status(stream, RESOURCE_EXHAUSTED, b"this node holds as many requests as it can")
                return False
            stream.connection.loop.bodies_size += part
        data, size = data + part, size - part
        if stream.prefix_size == MESSAGE_PREFIX_SIZE and stream.body.size == stream.wanted:
            if stream.method == STREAM_CHECK_NUMBERS:
                answer_message(stream)
            else:
                stream.complete = True
    return not stream.ended


cdef bint take_prefix(Stream* stream) noexcept nogil:
    """Judge a message by its prefix, before anything is bought for it."""
    cdef uint8_t* at = stream.prefix
    stream.wanted = <size_t>at[1] << 24 | <size_t>at[2] << 16 | <size_t>at[3] << 8 | at[4]
    if at[0] > 1:
        give_status(stream, INTERNAL, b"a message's first byte says neither plain nor compressed")
    elif stream.wanted > stream.connection.loop.message_size_max:
        give_status(stream, RESOURCE_EXHAUSTED, b"the message is larger than this node takes")
    return not stream.ended


cdef void end_request(Stream* stream) noexcept nogil:
    """The peer has sent all of its side."""
    cdef char message[160]
    stream.half_closed = True
    if stream.ended:
        return
    if stream.complete:
        answer_message(stream)
        if not (stream.method == HEALTH_WATCH and stream.watching):
            give_status(stream, OK, b"")
    elif stream.prefix_size:
        give_status(stream, INTERNAL, b"the request ends within a message")
    elif stream.method == STREAM_CHECK_NUMBERS:
        give_status(stream, OK, b"")
    else:
        snprintf(message, 160, b"\"%s\" requires exactly one request message.", PATHS[<int>stream.method])
        give_status(stream, UNIMPLEMENTED, message)


# --- nghttp2's callbacks ----------------------------------------------------------------------------------------

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


cdef bint spend_credit(Connection* connection) noexcept nogil:
    """Count a frame that brings nothing; False, and the connection ends, if there were too many."""
    connection.control_credit -= SECOND // CONTROL_FRAMES_PER_S
    if connection.control_credit >= 0:
        return True
    nghttp2_session_terminate_session(connection.session, NGHTTP2_ENHANCE_YOUR_CALM)
    return False


cdef int on_frame_recv(nghttp2_session* session, const nghttp2_frame* frame, void* data) noexcept nogil:
    cdef bint last = frame.hd.flags & NGHTTP2_FLAG_END_STREAM
    cdef Stream* stream
    if frame.hd.type != NGHTTP2_DATA and frame.hd.type != NGHTTP2_HEADERS:
        if frame.hd.type != NGHTTP2_WINDOW_UPDATE:
            spend_credit(<Connection*>data)
        return 0
    if frame.hd.length == 0 and not last:
        spend_credit(<Connection*>data)
    stream = <Stream*>nghttp2_session_get_stream_user_data(session, frame.hd.stream_id)
    if stream == NULL:
        return 0
    if last:
        stream.half_closed = True
    if frame.hd.type == NGHTTP2_HEADERS and frame.headers.cat == NGHTTP2_HCAT_REQUEST:
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
    if stream == NULL or not take_bytes(stream, chunk, size):
        return 0
    if stream.out.size:
        stream.owed += size
    else:
        nghttp2_session_consume_stream(session, id, size)
    return 0


cdef int on_frame_send(nghttp2_session* session, const nghttp2_frame* frame, void* data) noexcept nogil:
    """A call that ends before its request does: tell the peer to send no more."""
    cdef Stream* stream
    if frame.hd.type == NGHTTP2_HEADERS and frame.hd.flags & NGHTTP2_FLAG_END_STREAM:
        stream = <Stream*>nghttp2_session_get_stream_user_data(session, frame.hd.stream_id)
        if stream != NULL and not stream.half_closed:
            nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame.hd.stream_id, NGHTTP2_NO_ERROR)
    return 0


cdef int on_stream_close(nghttp2_session* session, int32_t id, uint32_t error, void* data) noexcept nogil:
    cdef Stream* stream = <Stream*>nghttp2_session_get_stream_user_data(session, id)
    if stream != NULL:
        nghttp2_session_set_stream_user_data(session, id, NULL)
        drop_stream(stream)
    return 0


# --- connections ------------------------------------------------------------------------------------------------

cdef Connection* make_connection(Loop* loop, int fd) noexcept nogil:
    """Take over a new socket; NULL, and it is closed, if there is no room."""
    cdef Connection* connection = NULL
    if loop.connection_count < CONNECTIONS_MAX:
        connection = <Connection*>calloc(1, sizeof(Connection))
    if connection == NULL:
        close(fd)
        return NULL
    connection.fd, connection.loop, connection.interest = fd, loop, EPOLLIN
    connection.born = connection.heard = connection.moved = loop.now
    connection.control_credit = CONTROL_FRAMES_MAX * (SECOND // CONTROL_FRAMES_PER_S)
    connection.next = loop.connections
    if connection.next != NULL:
        connection.next.previous = connection
    loop.connections = connection
    loop.connection_count += 1
    if not start_session(connection):
        close_connection(connection)
        return NULL
    return connection


cdef bint start_session(Connection* connection) noexcept nogil:
    cdef Loop* loop = connection.loop
    cdef nghttp2_settings_entry settings[3]
    settings[0].settings_id, settings[0].value = NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, loop.streams_max
    settings[1].settings_id, settings[1].value = NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, STREAM_WINDOW_SIZE
    settings[2].settings_id = NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE
    settings[2].value = <uint32_t>loop.header_list_size_max
    return (nghttp2_session_server_new2(&connection.session, loop.callbacks, connection, loop.options) == 0
            and nghttp2_submit_settings(connection.session, NGHTTP2_FLAG_NONE, settings, 3) == 0
            and nghttp2_session_set_local_window_size(
                connection.session, NGHTTP2_FLAG_NONE, 0, CONNECTION_WINDOW_SIZE) == 0
            and numcheck_watch(loop.epoll_fd, EPOLL_CTL_ADD, connection.fd, EPOLLIN, connection) == 0)


cdef void close_connection(Connection* connection) noexcept nogil:
    cdef Loop* loop = connection.loop
    while connection.streams != NULL:
        drop_stream(connection.streams)
    nghttp2_session_del(connection.session)
    close(connection.fd)
    discard(&connection.unsent)
    if connection.previous == NULL:
        loop.connections = connection.next
    else:
        connection.previous.next = connection.next
    if connection.next != NULL:
        connection.next.previous = connection.previous
    loop.connection_count -= 1
    free(connection)


cdef bint read_some(Connection* connection) noexcept nogil:
    """One bounded read; False if the connection is at its end."""
    cdef Loop* loop = connection.loop
    cdef ssize_t size = recv(connection.fd, loop.incoming, READ_SIZE, 0)
    if size < 0:
        return errno == EAGAIN or errno == EINTR
    connection.heard = loop.now
    return size > 0 and nghttp2_session_mem_recv(connection.session, loop.incoming, size) == size


cdef bint send_unsent(Connection* connection) noexcept nogil:
    cdef size_t left = connection.unsent.size - connection.unsent_start
    cdef ssize_t sent
    if left == 0:
        return True
    sent = send(connection.fd, connection.unsent.data + connection.unsent_start, left, MSG_NOSIGNAL)
    if sent < 0:
        return errno == EAGAIN or errno == EINTR
    connection.moved = connection.loop.now
    connection.unsent_start += sent
    if <size_t>sent == left:
        discard(&connection.unsent)
        connection.unsent_start = 0
    return True


cdef ssize_t gather(Connection* connection) noexcept nogil:
    """Collect frames into the loop's buffer while another is sure to fit; their size, or -1."""
    cdef uint8_t* room = connection.loop.outgoing
    cdef const uint8_t* chunk
    cdef ssize_t size = 1, gathered = 0
    while size > 0 and gathered <= SCRATCH_SIZE - FRAME_ROOM:
        size = nghttp2_session_mem_send(connection.session, &chunk)
        if size < 0 or size > SCRATCH_SIZE - gathered:
            return -1
        if size > 0:
            memcpy(room + gathered, chunk, size)
            gathered += size
    return gathered


cdef bint write_some(Connection* connection) noexcept nogil:
    """One bounded write; False if the connection failed or is done with."""
    cdef ssize_t size, sent
    cdef uint8_t* data = connection.loop.outgoing
    if not send_unsent(connection):
        return False
    if connection.unsent.size == 0:
        size = gather(connection)
        if size < 0:
            return False
        if size > 0:
            sent = send(connection.fd, data, size, MSG_NOSIGNAL)
            if sent < 0 and errno != EAGAIN and errno != EINTR:
                return False
            if sent < 0:
                sent = 0
            else:
                connection.moved = connection.loop.now
            if not append(&connection.unsent, data + sent, size - sent):
                return False
    return set_interest(connection)


cdef bint set_interest(Connection* connection) noexcept nogil:
    """Wait for what the connection needs next: while it does not take its answers, nothing more is read from it."""
    cdef uint32_t interest = 0
    if connection.unsent.size:
        interest = EPOLLOUT
    else:
        if nghttp2_session_want_write(connection.session):
            interest = EPOLLOUT
        if nghttp2_session_want_read(connection.session):
            interest |= EPOLLIN
    if interest == 0:
        return False
    if interest == connection.interest:
        return True
    connection.interest = interest
    return numcheck_watch(connection.loop.epoll_fd, EPOLL_CTL_MOD, connection.fd, interest, connection) == 0


cdef void serve_connection(Connection* connection, uint32_t events) noexcept nogil:
    cdef bint alive = True
    if connection.interest & EPOLLIN and events & ~<uint32_t>EPOLLOUT:
        alive = read_some(connection)
    elif events & ~<uint32_t>(EPOLLIN | EPOLLOUT):
        alive = False
    if not alive:
        # nghttp2 may have a GOAWAY that says why.
        write_some(connection)
    if not alive or not write_some(connection):
        close_connection(connection)


# --- what time brings -------------------------------------------------------------------------------------------

cdef bint is_stale(Connection* connection) noexcept nogil:
    cdef Loop* loop = connection.loop
    if connection.heard == connection.born and loop.now - connection.born > SILENT_AFTER:
        return True
    if connection.unsent.size and loop.now - connection.moved > STALLED_AFTER:
        return True
    if connection.goaway == 2 and loop.now - connection.born > loop.age_max + loop.drain_timeout:
        return True
    return loop.drain_until and loop.now > loop.drain_until


cdef void sweep_stream(Stream* stream, bint draining) noexcept nogil:
    if stream.ended:
        return
    if stream.deadline and stream.connection.loop.now >= stream.deadline:
        give_status(stream, DEADLINE_EXCEEDED, b"Deadline Exceeded")
    elif stream.watching:
        if stream.watched_at != load(&stream.connection.loop.published):
            ask_python(stream.connection.loop.owner, stream)
            start_sending(stream)
        if draining:
            give_status(stream, UNAVAILABLE, b"the node is stopping")
    elif (stream.method != STREAM_CHECK_NUMBERS and not stream.half_closed
          and stream.connection.loop.now - stream.begun > STALLED_AFTER):
        give_status(stream, CANCELLED, b"the request did not come")


cdef void ask_to_leave(Connection* connection) noexcept nogil:
    """GOAWAY in two steps, so that a call on its way is not lost: first a notice, at the next sweep the last stream."""
    if connection.goaway == 0:
        connection.goaway = 1
        nghttp2_submit_shutdown_notice(connection.session)
    elif connection.goaway == 1:
        connection.goaway = 2
        nghttp2_submit_goaway(connection.session, NGHTTP2_FLAG_NONE,
                              nghttp2_session_get_last_proc_stream_id(connection.session), NGHTTP2_NO_ERROR, NULL, 0)


cdef void sweep_connection(Connection* connection) noexcept nogil:
    cdef Loop* loop = connection.loop
    cdef Stream* stream = connection.streams
    cdef int64_t full = CONTROL_FRAMES_MAX * (SECOND // CONTROL_FRAMES_PER_S)
    connection.control_credit = min(full, connection.control_credit + <int64_t>SWEEP_MS * 1_000_000)
    if is_stale(connection):
        close_connection(connection)
        return
    while stream != NULL:
        sweep_stream(stream, loop.drain_until != 0)
        stream = stream.next
    if loop.drain_until or loop.now - connection.born > loop.age_max:
        ask_to_leave(connection)
    if not write_some(connection):
        close_connection(connection)


cdef void sweep(Loop* loop) noexcept nogil:
    cdef Connection* connection = loop.connections
    cdef Connection* following
    loop.next_sweep = loop.now + <int64_t>SWEEP_MS * 1_000_000
    while connection != NULL:
        following = connection.next
        sweep_connection(connection)
        connection = following
    if loop.listen_fd >= 0:
        # It is not watched after a turn in which no descriptor could be had.
        numcheck_watch(loop.epoll_fd, EPOLL_CTL_MOD, loop.listen_fd, EPOLLIN, &loop.listen_fd)


# --- the loop ---------------------------------------------------------------------------------------------------

cdef void accept_some(Loop* loop) noexcept nogil:
    cdef int fd, i
    cdef Connection* connection
    for i in range(ACCEPTS_MAX):
        fd = numcheck_accept(loop.listen_fd)
        if fd < 0:
            if errno != EAGAIN and errno != EINTR:
                numcheck_watch(loop.epoll_fd, EPOLL_CTL_MOD, loop.listen_fd, 0, &loop.listen_fd)
            return
        connection = make_connection(loop, fd)
        if connection != NULL and not write_some(connection):
            close_connection(connection)


cdef void begin_drain(Loop* loop) noexcept nogil:
    loop.drain_until = loop.now + loop.drain_timeout
    accept_some(loop)    # whoever connected already is answered
    close(loop.listen_fd)
    loop.listen_fd = -1
    sweep(loop)


cdef void turn(Loop* loop, epoll_event* events) noexcept nogil:
    cdef uint64_t count
    cdef int i, ready = epoll_wait(loop.epoll_fd, events, EVENTS_MAX, SWEEP_MS)
    loop.now = numcheck_now()
    for i in range(ready):
        if events[i].data.ptr == &loop.wake_fd:
            read(loop.wake_fd, &count, 8)
        elif events[i].data.ptr == &loop.listen_fd:
            if loop.listen_fd >= 0:
                accept_some(loop)
        else:
            serve_connection(<Connection*>events[i].data.ptr, events[i].events)
    if loop.now >= loop.next_sweep:
        sweep(loop)
    if load(&loop.stopping) and not loop.drain_until:
        begin_drain(loop)


cdef void run_loop(Loop* loop) noexcept nogil:
    cdef epoll_event events[EVENTS_MAX]
    cdef Stream* stream
    loop.now = numcheck_now()
    while not loop.drain_until or loop.connections != NULL:
        turn(loop, events)
    while loop.spare != NULL:
        stream = loop.spare
        loop.spare = stream.next
        discard(&stream.body)
        discard(&stream.out)
        free(stream)


cdef class EdgeLoop:
    """One event loop. Whoever makes it calls `run` in a thread of its own, once, and `stop` from another."""

    cdef Loop loop
    cdef Table table, next_table
    cdef object answer

    def __cinit__(self):
        self.loop.epoll_fd = self.loop.listen_fd = self.loop.wake_fd = -1

    def __init__(self, answer, *, int listen_fd, size_t message_size_max, size_t metadata_size_max,
                 size_t numbers_per_call_max, uint32_t streams_per_connection_max, connection_age_max_s,
                 drain_timeout_s):
        """Take over a listening socket that does not block. `answer` gets a method (its place in METHODS) and a
        request, and gives the response, the status code, its percent-encoded message and base64 details."""
        cdef Loop* loop = &self.loop
        loop.listen_fd, loop.owner, self.answer = listen_fd, <void*>self, answer
        loop.message_size_max, loop.header_list_size_max = message_size_max, metadata_size_max
        loop.numbers_per_call_max, loop.streams_max = numbers_per_call_max, streams_per_connection_max
        loop.age_max, loop.drain_timeout = int(connection_age_max_s * SECOND), int(drain_timeout_s * SECOND)
        loop.epoll_fd, loop.wake_fd = epoll_create1(EPOLL_CLOEXEC), eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        loop.incoming, loop.outgoing = <uint8_t*>malloc(READ_SIZE), <uint8_t*>malloc(SCRATCH_SIZE)
        if loop.epoll_fd < 0 or loop.wake_fd < 0 or loop.incoming == NULL or loop.outgoing == NULL:
            raise OSError("no descriptors or no memory for an event loop")
        if (numcheck_watch(loop.epoll_fd, EPOLL_CTL_ADD, loop.wake_fd, EPOLLIN, &loop.wake_fd)
                or numcheck_watch(loop.epoll_fd, EPOLL_CTL_ADD, loop.listen_fd, EPOLLIN, &loop.listen_fd)):
            raise OSError("an event loop cannot wait for its sockets")
        self.set_callbacks()

    cdef int set_callbacks(self) except -1:
        cdef Loop* loop = &self.loop
        if nghttp2_session_callbacks_new(&loop.callbacks) or nghttp2_option_new(&loop.options):
            raise MemoryError
        nghttp2_option_set_no_auto_window_update(loop.options, 1)
        nghttp2_option_set_no_closed_streams(loop.options, 1)
        nghttp2_session_callbacks_set_on_begin_headers_callback(loop.callbacks, <void*>on_begin_headers)
        nghttp2_session_callbacks_set_on_header_callback(loop.callbacks, <void*>on_header)
        nghttp2_session_callbacks_set_on_frame_recv_callback(loop.callbacks, <void*>on_frame_recv)
        nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(loop.callbacks, <void*>on_invalid_frame)
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(loop.callbacks, <void*>on_data_chunk)
        nghttp2_session_callbacks_set_on_frame_send_callback(loop.callbacks, <void*>on_frame_send)
        nghttp2_session_callbacks_set_on_stream_close_callback(loop.callbacks, <void*>on_stream_close)
        return 0

    def __dealloc__(self):
        cdef int fd
        for fd in (self.loop.epoll_fd, self.loop.wake_fd, self.loop.listen_fd):
            if fd >= 0:
                close(fd)
        nghttp2_session_callbacks_del(self.loop.callbacks)
        nghttp2_option_del(self.loop.options)
        free(self.loop.incoming)
        free(self.loop.outgoing)

    def run(self):
        """Serve until `stop`, and then until every call has ended or had its time."""
        with nogil:
            run_loop(&self.loop)

    def publish(self, Table table):
        """Answer from this table from the next request on; None: from none. Watches of health are told anew."""
        self.next_table = table
        store(&self.loop.published, self.loop.published + 1)

    def stop(self):
        """Take no more connections, let the calls under way end, and make `run` return."""
        cdef uint64_t one = 1
        store(&self.loop.stopping, 1)
        write(self.loop.wake_fd, &one, 8)

    @property
    def call_count(self):
        """How many messages were answered."""
        return load(&self.loop.call_count)
