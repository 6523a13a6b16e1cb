# The native listener's state, and who owns what, until when. The code is in edge/, one concern a file.
#
# * A Loop owns its Connections (a list), spare Streams, two scratch buffers and its file descriptors, until `run` ends.
# * A Connection owns its socket, TLS, nghttp2 session, open Streams and what it could not send yet (SCRATCH_SIZE and the
#   overhead of its records), until `close_connection`, which is only called outside nghttp2's callbacks.
# * The buffers of a Loop hold nothing from one connection to the next.
# * A Stream owns its Bytes, and lives from `on_begin_headers` to `on_stream_close` or its connection's end.
# * EdgeLoop keeps alive what its Loop points to: the Tables of `views`, and the Credentials of `tls`. `adopt` and
#   `adopt_credentials` alone replace them, between two requests and between two connections.
#
# What bounds memory: streams a connection x (a message + its response), where bytes are only bought for what has come;
# the bodies of all connections of a loop by BODIES_SIZE_MAX; a streaming call's answers by its receive window, which is
# only given back once they have left; connections a loop by CONNECTIONS_MAX, and half of it for those without an
# identity yet.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from numcheck._fast cimport View
from numcheck._nghttp2 cimport nghttp2_option, nghttp2_session, nghttp2_session_callbacks
from numcheck._openssl cimport BIO_METHOD, SSL, SSL_CTX

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
    HANDSHAKING_MAX = 4_096          # of them, such as have not ended their TLS handshake
    HANDSHAKING_CROWD = 256          # from so many on they have less time for it
    HANDSHAKE_STEPS_MAX = 4          # a turn: a step may take a millisecond, if keys are RSA
    RECORD_SIZE = 16_384             # of a TLS record at most, opened
    VIEWS_MAX = 1_024                # different sets of agreements among the callers of a loop
    BODIES_SIZE_MAX = 268_435_456    # a loop
    SWEEP_MS = 100                   # deadlines are looked at so often
    CONTROL_FRAMES_MAX = 1_000       # PING, SETTINGS, RST_STREAM, PRIORITY, empty DATA and refused frames in a burst
    CONTROL_FRAMES_PER_S = 100       # and steadily; grpc-core pings and cancels far less
    INFLATED_RATIO = 32              # a gzip message that becomes more than so many times its size
    INFLATED_PER_FRAME = 4_096       # counts as a frame that brings nothing for each of these bytes
    MESSAGE_PREFIX_SIZE = 5

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

cdef enum Encoding:
    IDENTITY = 0
    GZIP = 1
    OTHER_ENCODING = 2

cdef enum:
    NOT_ADMITTED = -1                # a Connection's view: the caller has to be asked about

cdef struct Bytes:
    uint8_t* data
    size_t size
    size_t capacity

cdef struct Loop:
    int epoll_fd, listen_fd, wake_fd
    void* owner                      # the EdgeLoop, which outlives `run`
    const View* views[VIEWS_MAX]     # by agreements, the first for all; NULL until an index is published
    uint64_t adopted                 # the publication that `views` are of
    uint64_t published, stopping     # atomic: written by other threads
    int64_t now, next_sweep, drain_until
    int64_t drain_timeout, age_max, admitted_for
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
    SSL_CTX* tls                     # NULL: plaintext
    BIO_METHOD* bio_method
    uint64_t credentials_published   # atomic: written by other threads
    uint64_t credentials_adopted
    size_t handshaking_count
    int handshake_steps              # that this turn has left
    const uint8_t* incoming_records  # of `incoming`, what TLS has not taken yet
    size_t incoming_records_size
    Bytes outgoing_records
    uint8_t* opened                  # RECORD_SIZE
    uint64_t call_count              # written by this loop alone

cdef struct Connection:
    int fd
    uint32_t interest
    Loop* loop
    nghttp2_session* session         # NULL while handshaking
    SSL* tls                         # NULL: plaintext
    bint handshaking
    int view                         # of the loop's `views`; NOT_ADMITTED
    int64_t admitted_at
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
