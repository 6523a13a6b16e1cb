# The native door's state, and who owns what, until when. The code is in edge/, one concern a file.
#
# * A Loop owns its Connections (a list), spare Streams, two scratch buffers and its file descriptors, until `run` ends.
# * A Connection owns its socket, TLS, nghttp2 session, open Streams and what it could not send yet (SCRATCH_SIZE and the
#   overhead of its records), until `close_connection`, which is only called outside nghttp2's callbacks.
# * The buffers of a Loop hold nothing from one connection to the next.
# * A Stream owns its Bytes, and lives from `on_begin_headers` to `on_stream_close` or its connection's end.
# * EdgeLoop keeps alive what its Loop points to: the Reader of `home`, the Tables of `views`, the Facts and the
#   Credentials of `tls`. `adopt` and `adopt_credentials` alone replace them, between two requests and between two
#   connections; the Reader stays.
#
# * An Ask is a call that Python takes part in. The loop, each Note on its way and the Python Call count their pointers
#   to it; the last to drop its pointer frees it. `stream` belongs to the loop, and is NULL once nobody waits for an
#   answer. Both sides touch the fields marked `atomic`; the others are set before the first Note leaves and stay.
# * A Note belongs to the thread that takes it from its stack. Notes of one loop to Python, and of one Python thread to
#   a loop, are taken in the order in which they were pushed.
#
# * A Line counts the calls of one party that wait in one lane (lines.pxi). The CallQueue keeps all of them for good.
#
# Bounds of memory. A stream holds a message, unread bytes up to its receive window, and answers: at ANSWERS_SIZE_MAX of
# them it begins no other message, and the window is given back only when they have left. Buffers grow as bytes come.
# `held_size` counts the capacity of all Bytes of a loop, and `lent_size` those that Python has; when both together
# reach HELD_SIZE_MAX, requests and answers are refused, and a connection keeps no more than a frame or two unsent.
# Before that a party's are, at as much as is left free (shares.pxi). A
# loop has at most `connections_max` connections, and STRANGERS_MAX of which no call was admitted yet: the oldest makes
# way.
#
# Bounds of a turn's time. A connection is read from and written to once, and begins messages until it has handled
# TURN_WORK_MAX bytes, counted after inflation: a small gzip may hold many numbers. waiting.pxi has the rest.

from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

from numcheck._budget cimport Ledger
from numcheck._e164 cimport Home
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
    BACKLOG = 1_024                  # connections that wait to be accepted
    STRANGERS_MAX = 4_096            # connections without an admitted call, a loop,
    STRANGERS_PER_ADDRESS_MAX = 1_024    # and of one IPv4 address or one /64 of IPv6
    ADDRESS_SIZE = 16
    HANDSHAKING_CROWD = 256          # from so many on they have less time for it
    HANDSHAKE_STEPS_MAX = 4          # a turn: a step may take a millisecond, if keys are RSA
    RECORD_SIZE = 16_384             # of a TLS record at most, opened
    VIEWS_MAX = 1_024                # different sets of agreements among the callers of a loop
    ASKERS_MAX = 1_024               # names that a loop counts numbers by; the first is for all others
    HELD_SIZE_MAX = 268_435_456      # a loop: requests and answers
    ANSWERS_SIZE_MAX = 262_144       # a stream that holds answers of this size begins no other message
    LENT_SIZE_MAX = 262_144          # handed over by a stream and not yet taken by Python: at this it waits
    TURN_WORK_MAX = 262_144          # bytes of messages that a connection begins in a turn
    MOVED_SIZE_MIN = 65_536          # a peer that takes less of its answers for `stalled_after` takes nothing
    LANE_COUNT = 4                   # of calls that Python answers: each has threads and room of its own
    WAIT_TARGET_MS = 40              # a call that Python answers should be begun by then
    LINE_MIN = 96                    # calls of a line, or pages of large requests, that may wait, however long it takes
    PACE_LENGTH_MIN = 16             # so many before one teach the pace
    LARGE_SIZE = 4_096               # a CheckNumbers request above it costs several times its refusal: large.pxi
    TIGHT_WINDOW_SIZE = 4_096        # of new streams, where large requests are refused
    TURN_TIME_US = 1_000             # of a turn that large requests take
    REST_MS = 3                      # until a connection is read again of which a call was refused: resting.pxi
    SWEEP_MS = 100                   # between two looks at deadlines
    CONTROL_FRAMES_MAX = 1_000       # frames that bring nothing, and RST_STREAM of ours, in a burst
    UNRETURNED_MAX = 16_777_216      # bytes of sent DATA whose window a peer may give back in pieces, so late
    CONTROL_FRAMES_PER_S = 100       # and steadily; grpc-core pings far less
    RESETS_MAX = 2_000               # calls that the peer resets before anything of their answers has left, in a burst
    RESETS_PER_S = 10_000            # and steadily; each call that is answered to its end allows one more
    MESSAGE_PREFIX_SIZE = 5
    TRACE_SIZE = 55                  # of a traceparent, W3C Trace Context 3.2
    AUTHORIZATION_SIZE_MAX = 512     # bytes read of a value; a token has 256
    ROLES_MAX = 8                    # names of roles; the first is that of nobody who was let in
    BUCKET_COUNT = 16                # of the histogram of latencies, and one more for what is above them
    CODE_COUNT = 17                  # of google.rpc.Code

cdef enum Code:                      # google.rpc.Code
    OK = 0
    CANCELLED = 1
    UNKNOWN_CODE = 2
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
    HEALTH_CHECK = 4
    NATIVE_COUNT = 5                 # from here on: those that Python alone answers
    METHODS_MAX = 64

cdef enum Kind:                      # of a method: what goes over its stream
    UNARY = 0                        # one request, one answer
    ANSWERS = 1                      # one request, any number of answers
    REQUESTS = 2                     # any number of requests, one answer or more
    EACH = 3                         # any number of requests, each with its answer: the next waits for it

cdef enum Health:                    # HealthCheckResponse.ServingStatus
    SERVING = 1
    NOT_SERVING = 2

cdef enum NoteKind:
    MESSAGE = 0                      # to Python: a request, whole; to the loop: an answer
    END = 1                          # to Python: no more requests; to the loop: a status
    GONE = 2                         # to Python: the caller has gone
    ROOM = 3                         # to Python: there is room for answers again
    TAKEN = 4                        # to the loop: Python has taken a request from what it was lent

cdef enum Encoding:
    IDENTITY = 0
    GZIP = 1
    OTHER_ENCODING = 2

cdef enum:
    NOT_ADMITTED = -1                # a Connection's view before its caller is admitted

cdef struct Bytes:
    uint8_t* data
    size_t start                     # bytes before it are consumed
    size_t size                      # the end of the bytes
    size_t capacity

cdef struct Metrics:                 # written by the loop alone, read by others
    uint64_t calls[METHODS_MAX][CODE_COUNT]
    uint64_t latencies[METHODS_MAX][ROLES_MAX][BUCKET_COUNT + 1]
    uint64_t latency_sums[METHODS_MAX][ROLES_MAX]    # nanoseconds
    uint64_t messages, numbers, accepted, received, sent
    uint64_t asked[ASKERS_MAX]       # numbers, by who asks

cdef struct Text:
    const uint8_t* data
    size_t size

cdef struct Refusal:                 # a status made in advance, of bytes that the EdgeLoop keeps
    int code
    const char* message              # percent-encoded
    const char* details              # base64

cdef struct Lane:
    uint64_t held                    # atomic: calls that Python has not begun to answer,
    uint64_t held_max                # and their limit

cdef struct Pipe:                    # of a CallQueue: from all loops to Python
    Note* notes                      # atomic: a stack, the newest on top
    uint64_t sleeping                # atomic: a thread waits for `fd`
    uint64_t closed                  # atomic
    Lane lanes[LANE_COUNT]
    uint64_t waits[LANE_COUNT][BUCKET_COUNT + 1]     # atomic: of calls that have begun, how long they waited
    uint64_t wait_sums[LANE_COUNT]   # atomic: nanoseconds
    uint64_t asks                    # atomic: those that are not freed yet
    int fd

cdef struct Pace:                    # of a line: how many may wait in it
    uint64_t allowed                 # atomic: so many, at the recent pace,
    uint64_t learned_at              # atomic: and when it was learned
    uint64_t best, last_best         # `allowed` by the best of this window and of the last; touched by one thread at a
    int64_t window_at                # time, as when this one began

cdef struct Line:                    # the calls of one party that wait in one lane
    Lane* lane
    uint64_t held                    # atomic: its part of the lane's
    uint64_t length                  # atomic: calls that Python has not begun
    Pace pace                        # touched with the GIL alone, but for what is atomic

cdef struct LargeLine:               # a party in one loop, which alone touches all but `lent_size`: its large requests,
    uint64_t announced               # pages of those whose answer has not begun,
    uint64_t queued                  # and of them, of those that are whole and wait
    Pace pace
    Stream* first                    # those that wait, the oldest first
    Stream* last
    LargeLine* next                  # among the loop's lines in which some wait
    uint64_t held_size               # and what all of its calls have of the loop's `held_size`
    uint64_t lent_size               # atomic: and of its `lent_size`

cdef struct Note:
    Note* next
    Ask* ask
    NoteKind kind
    int code                         # of a status
    bint last                        # no other message follows
    uint8_t* data                    # a message; of a status its text and its details, each with a NUL behind it
    size_t size
    size_t lent                      # of the loop's `lent_size`,
    LargeLine* party                 # and of its party's; NULL: nobody's

cdef struct Ask:
    uint64_t pointers                # atomic
    Pipe* pipe
    Loop* loop
    Stream* stream
    int method
    int64_t begun, deadline
    void* caller                     # as admitted; an EdgeLoop keeps each
    uint8_t trace[TRACE_SIZE + 1]    # the Stream's
    Note* farewell                   # GONE, made before it is needed: it cannot fail
    void* call                       # the Call, borrowed; touched with the GIL alone
    bint begun_once                  # handed out to Python; touched with the GIL alone
    Line* line
    int64_t came                     # when it began to wait in the line,
    uint64_t before                  # and behind how many
    uint64_t waiting                 # atomic: counted in the line's `length`,
    uint64_t held                    # atomic: and in the lane's `held`, and in the line's
    uint64_t gone                    # atomic: the caller has gone
    uint64_t unsent                  # atomic: bytes of answers that the peer has not taken,
    uint64_t wants_room              # and whether Python waits until it has

cdef struct FactsView:               # of a Facts, which keeps it alive
    const uint8_t* firsts            # the range table's columns
    const uint8_t* lasts
    const uint8_t* holders
    const uint8_t* regions           # positions in `texts`
    size_t range_count
    const uint8_t* operator_ids      # sorted
    const Text* operators            # in the same order
    size_t operator_count
    Text* texts                      # regions, then operators
    size_t text_size_max

cdef struct Loop:
    int epoll_fd, listen_fd, wake_fd
    void* owner                      # the EdgeLoop, which outlives `run`
    const View* views[VIEWS_MAX]     # by agreements, the first for all; NULL until it is asked for
    const FactsView* facts           # of the same publication; NULL: Python answers CheckNumber
    uint64_t adopted                 # the publication that `views` are of
    uint64_t published, stopping, serving    # atomic: written by other threads
    Pipe* pipe                       # to Python,
    Note* replies                    # and from it, atomic: a stack
    uint64_t woken                   # atomic: the loop is about to look at them
    bint handed_over                 # something in this turn, of which Python has not been told
    uint64_t lent_size               # atomic: of requests that Python has
    Connection* dirty                # those that replies were for, or answers to large requests, in this turn
    Connection* resting              # those that rest, the first to be read again first,
    Connection* resting_last         # and the last
    LargeLine* large                 # lines in which large requests wait: whose turn is next,
    LargeLine* large_last            # and whose is last
    int method_count
    const char* paths[METHODS_MAX]
    size_t path_sizes[METHODS_MAX]
    Kind kinds[METHODS_MAX]
    int lanes[METHODS_MAX]
    Text health_requests[METHODS_MAX]    # those that the loop answers itself
    int health_request_count
    int64_t now, next_sweep, drain_until
    int64_t drain_timeout, age_max, admitted_for, stalled_after, keepalive, strangers_for, waiting_max
    size_t message_size_max, header_list_size_max, numbers_per_call_max
    uint64_t traces_max              # calls a second that are not answered natively, so that Python traces them;
    int64_t traces_since             # of the second that began then,
    uint64_t traces                  # so many were
    uint64_t held_size               # the capacity of all Bytes
    uint32_t streams_max
    uint64_t connections_max
    uint64_t connection_count        # read by others too
    uint64_t random
    const Home* home                 # how numbers are written at home
    Refusal unknown, crowded         # of a method that is none; of a call that is one too many for Python
    Refusal full                     # of what this loop's memory has no room for
    Refusal large_message, large_metadata
    Connection* connections
    Connection* strangers            # those without an admitted call, the newest first
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
    Metrics metrics

cdef struct Counted:                 # bytes that are counted as a party's; NULL: nobody was let in yet
    LargeLine* party
    size_t size

cdef struct Connection:
    int fd
    uint32_t interest
    Loop* loop
    nghttp2_session* session         # NULL while handshaking
    SSL* tls                         # NULL: plaintext
    bint handshaking
    bint spoken                      # the peer has: until then nothing is sent, as it may not speak HTTP/2
    bint http1                       # it does not: it gets one answer, and the end
    bint pinged                      # it has been silent for long
    uint8_t address[ADDRESS_SIZE]    # IPv4 as IPv6 maps it, or the first half of an IPv6 address
    bint stranger                    # no call was admitted yet: it is among the loop's `strangers`
    Connection* stranger_next
    Connection* stranger_previous
    int view                         # of the loop's `views`; NOT_ADMITTED
    int role                         # theirs: a position among the names of roles
    int asker                        # whose numbers are counted: a position in `asked`
    void* caller                     # what Python is told of them,
    Line* lines                      # and theirs, by lane
    LargeLine* large                 # the line of theirs for large requests
    int64_t tight_until              # new streams have TIGHT_WINDOW_SIZE; 0: STREAM_WINDOW_SIZE
    Ledger* ledger                   # of their Allowance; NULL: they may ask about any number
    bint crowded                     # a call of it was refused since it was last read from
    int64_t rests_until              # among the loop's `resting`; 0: it does not rest
    Connection* resting_next
    Connection* resting_previous
    bint dirty                       # among the loop's `dirty`
    Connection* dirty_next
    int64_t admitted_at[METHODS_MAX]     # by method, to whom `authorization` was shown; 0: not yet
    Bytes authorization              # each value of that header behind a NUL
    Connection* next
    Connection* previous
    Stream* streams
    Bytes unsent
    Counted counted                  # of it
    int64_t born, heard, age_max     # when it was made, last read from, how old it may get
    int64_t moved                    # when the peer last took something worth speaking of,
    size_t moved_size                # and what since
    int64_t work_left                # in this turn
    uint64_t waited                  # how often a stream had to wait,
    uint64_t waiting_count           # and how many do
    bint deaf                        # the peer sends no more
    bint broken                      # and is to end
    int64_t unreturned[2]            # bytes of DATA whose window the peer may give back: the connection's, and streams'
    int64_t control_credit, reset_credit    # in nanoseconds of their refill,
    int64_t refilled                 # and when they were refilled last
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
    bint is_post, is_head, is_grpc, takes_trailers, bad_timeout
    bint half_closed                 # the peer has sent all
    bint ended                       # we have: nothing more is read
    size_t header_list_size
    Bytes authorization              # as the connection has it
    uint8_t trace[TRACE_SIZE + 1]    # the traceparent, a text; empty if there is none
    bint has_trace                   # a traceparent has come, whatever it was
    uint8_t prefix[MESSAGE_PREFIX_SIZE]
    size_t prefix_size, wanted
    Bytes body
    bint complete                    # a whole message is in `body`
    Bytes unread                     # what came behind it
    uint64_t waiting                 # its rank among those that wait for their turn; 0: it does not
    LargeLine* line                  # of a large request's party; NULL: it is in none
    uint64_t pages                   # of it
    int64_t came                     # when it was whole and began to wait; 0: it does not,
    uint64_t before                  # and behind how many pages
    Stream* queue_next
    Stream* queue_previous
    # the answer
    Bytes out
    Counted counted                  # of `body`, `unread` and `out`
    size_t owed                      # received bytes whose window is given back once `out` has left
    int64_t moved                    # as the Connection's
    size_t moved_size
    bint responded, deferred, reset
    bint answered                    # something of the answer has left
    int code
    Bytes message, details           # of the status: percent-encoded, base64
    # Python's part
    Ask* ask                         # NULL: none
    size_t lent                      # bytes of requests that it has not taken, and one more for each
    int64_t since                    # when the next request began to be waited for
