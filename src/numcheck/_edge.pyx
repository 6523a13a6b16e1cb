"""The native door: gRPC over libnghttp2 in event loops that need no GIL. Linux alone (epoll).

One thread runs one loop; loops share nothing but the port (SO_REUSEPORT). A turn of a loop takes at most one bounded
read from each connection that has something and writes at most one bounded buffer to it, so that none starves another.

A request's way, by file of edge/: callbacks.pxi makes a Stream; headers.pxi reads what gRPC puts there and judges it;
body.pxi cuts DATA into messages; message.pxi answers one, or lets it wait for its turn (waiting.pxi); response.pxi
sends the answer and then the status.

The loop hands over to Python (asking.pxi) every method that it does not answer itself, and requests that the kernel
refuses, so that the service's own error is the answer. No thread waits for another: a Note carries a whole request to
the queue that all loops share (notes.pxi), from which a Python thread takes all that waits at once (queue.pxi), and a
Note carries the answer back. The window that the loop does not give back bounds what waits of a stream.

Over TLS (tls.pxi) a caller is admitted by the name in its certificate, or by its token. The loop asks Python once for
each method, and again every `admitted_for_s`; the answer chooses whose data the caller sees. In plaintext it asks once
a connection, as the user at the other end stays the same.

_edge.pxd has the state, its owners and its limits. The files are included, not linked: one C file, in which the
compiler sees every call.
"""

from cython cimport no_gc_clear
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t, uintptr_t
from libc.stdio cimport snprintf
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memcmp, memcpy, memmove, memset, strlen

from numcheck._budget cimport Allowance, Ledger, few_left, take_number, take_request
from numcheck._e164 cimport READ, Reader, read_number
from numcheck._fast cimport (
    ADMITTED, Buffer, Cursor, Request, Table, View, admit, check_number, response_size_max, write_response)
from numcheck._nghttp2 cimport *
from numcheck._openssl cimport *
from numcheck._varint cimport write_varint, write_varint_field

from collections import namedtuple
from os import fsencode
from queue import SimpleQueue

from numcheck.errors import BadConfiguration

cdef int64_t SECOND = 1_000_000_000
cdef int64_t HANDSHAKE = 10 * SECOND           # for a TLS handshake,
cdef int64_t HURRIED_HANDSHAKE = 1 * SECOND    # or this, while HANDSHAKING_CROWD connections are at it

cdef int64_t SWEEP_EVERY = <int64_t>SWEEP_MS * 1_000_000

cdef int64_t FRAME_COST = SECOND // CONTROL_FRAMES_PER_S
cdef int64_t CREDIT_MAX = CONTROL_FRAMES_MAX * FRAME_COST
cdef int64_t RESET_COST = SECOND // RESETS_PER_S
cdef int64_t RESET_CREDIT_MAX = RESETS_MAX * RESET_COST

cdef int64_t WAIT_TARGET = WAIT_TARGET_MS * 1_000_000
cdef int64_t PACE_WINDOW = 100_000_000
cdef int64_t PACE_LIFETIME = 1 * SECOND     # of the pace of an empty line
cdef uint64_t LINE_UNBOUNDED = 2**62
cdef int64_t TURN_TIME = TURN_TIME_US * 1_000
cdef int64_t TIGHT_FOR = 1 * SECOND

cdef const char* HTTP1_ANSWER = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 138\r\nconnection: close\r\n\r\n"
    b"This port speaks gRPC, which needs HTTP/2: with prior knowledge in plaintext, by ALPN (h2) over TLS. "
    b"HTTP/1.1 is not served on this port.\n"
)

cdef uint64_t BUCKETS[BUCKET_COUNT]
BUCKETS[:] = [
    100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000, 10_000_000, 25_000_000, 50_000_000, 100_000_000,
    250_000_000, 500_000_000, 1_000_000_000, 2_500_000_000, 5_000_000_000, 10_000_000_000,
]
BOUNDS_S = (*(bound / 1e9 for bound in BUCKETS), float("inf"))

NATIVE_PATHS = (
    "",
    "/numcheck.v1.CheckService/CheckNumbers",
    "/numcheck.v1.CheckService/StreamCheckNumbers",
    "/numcheck.v1.CheckService/CheckNumber",
    "/grpc.health.v1.Health/Check",
)
LANES = ("quick", "grouped", "waiting", "kept")
KINDS = {"unary": UNARY, "answers": ANSWERS, "requests": REQUESTS, "each": EACH}
Counters = namedtuple("Counters", "calls bounds_s durations numbers connections accepted received sent held_size asked")

include "edge/system.pxi"
include "edge/buffer.pxi"
include "edge/shares.pxi"
include "edge/metrics.pxi"
include "edge/lines.pxi"
include "edge/notes.pxi"
include "edge/asking.pxi"
include "edge/stream.pxi"
include "edge/response.pxi"
include "edge/number.pxi"
include "edge/message.pxi"
include "edge/waiting.pxi"
include "edge/large.pxi"
include "edge/python.pxi"
include "edge/headers.pxi"
include "edge/body.pxi"
include "edge/callbacks.pxi"
include "edge/connection.pxi"
include "edge/tls.pxi"
include "edge/resting.pxi"
include "edge/traffic.pxi"
include "edge/sweep.pxi"
include "edge/loop.pxi"
include "edge/queue.pxi"


@no_gc_clear    # calls that end behind it need its queue
cdef class EdgeLoop:
    """One event loop. Call `run` once, in a thread of its own, and `stop` from another."""

    cdef Loop loop
    cdef object admit
    cdef CallQueue queue
    cdef list paths, texts              # of each method; and what `loop` points to
    cdef dict callers                   # each that was admitted, itself: calls point to them
    cdef set allowances                 # those of connections, for good
    cdef dict large_lines               # LargeLines by party, for good
    cdef Reader reader
    cdef object tables, next_index      # Table by agreements; and with it the Facts
    cdef Facts facts
    cdef list agreements, used          # of each view: whose it is, and its Table
    cdef dict roles                     # the position of each role's name
    cdef dict askers                    # the position of each name that numbers are counted by
    cdef Credentials credentials, next_credentials

    def __cinit__(self):
        self.loop.epoll_fd = self.loop.listen_fd = self.loop.wake_fd = -1
        self.agreements, self.used = [None], [None]
        self.askers, self.texts, self.callers, self.allowances = {"": 0}, [], {}, set()
        self.large_lines = {}
        self.roles = {"": 0}

    def __init__(self, CallQueue queue not None, methods, admit, Credentials credentials, *, int listen_fd,
                 size_t message_size_max, size_t metadata_size_max, size_t numbers_per_call_max,
                 uint32_t streams_per_connection_max, connection_age_max_s, drain_timeout_s, admitted_for_s,
                 connections_max, stalled_after_s, keepalive_s, strangers_for_s, waiting_max_s, unknown, crowded,
                 full, large_message, large_metadata, health_requests, Reader reader not None, traces_per_second_max=0):
        """Take over a listening socket that does not block. Over TLS if there are credentials.

        `methods` are paths, kinds (KINDS) and lanes (LANES), first those of NATIVE_PATHS; calls that the loop does not
        answer go to `queue`. A status is a code, a percent-encoded message and base64 details: `unknown` refuses an
        unknown method, `crowded` a call that may not wait, `full` what there is no memory for. `health_requests` are
        those that the loop answers itself. `reader` reads the numbers of CheckNumber. Up to `traces_per_second_max` calls whose callers sample their traces
        go to `queue` as well, though the loop could answer them.

        `admit` gets a client's certificate in DER or None, the descriptor of its socket, the authorization and the
        method's position, at the first call of each method and then every `admitted_for_s`; in plaintext at the first
        call only. It returns the caller's agreements (None: all), its role, the name that its numbers are counted by,
        the caller, the party whose calls wait in one line, the Allowance of its numbers (None: it may ask about any),
        and None; or a status as the last. Agreements, callers and parties are hashable. It runs on the loop's thread,
        and must be quick.
        """
        cdef Loop* loop = &self.loop
        loop.listen_fd, loop.owner, self.admit = listen_fd, <void*>self, admit
        self.queue, loop.pipe = queue, &queue.pipe
        self.set_methods(methods)
        self.set_refusal(&loop.unknown, unknown)
        self.set_refusal(&loop.crowded, crowded)
        self.set_refusal(&loop.full, full)
        self.set_refusal(&loop.large_message, large_message)
        self.set_refusal(&loop.large_metadata, large_metadata)
        for request in health_requests:
            self.set_text(&loop.health_requests[loop.health_request_count], request)
            loop.health_request_count += 1
        loop.message_size_max, loop.header_list_size_max = message_size_max, metadata_size_max
        loop.numbers_per_call_max, loop.streams_max = numbers_per_call_max, streams_per_connection_max
        loop.age_max, loop.drain_timeout = int(connection_age_max_s * SECOND), int(drain_timeout_s * SECOND)
        loop.admitted_for, loop.stalled_after = int(admitted_for_s * SECOND), int(stalled_after_s * SECOND)
        loop.keepalive, loop.strangers_for = int(keepalive_s * SECOND), int(strangers_for_s * SECOND)
        loop.waiting_max, loop.traces_max = int(waiting_max_s * SECOND), traces_per_second_max
        loop.connections_max, loop.random = connections_max, numcheck_now() ^ <uint64_t>loop
        self.reader, loop.home = reader, &reader.home
        loop.epoll_fd, loop.wake_fd = epoll_create1(EPOLL_CLOEXEC), eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)
        loop.incoming, loop.outgoing = <uint8_t*>malloc(READ_SIZE), <uint8_t*>malloc(SCRATCH_SIZE)
        loop.opened = <uint8_t*>malloc(RECORD_SIZE)
        if loop.epoll_fd < 0 or loop.wake_fd < 0 or NULL in (loop.incoming, loop.outgoing, loop.opened):
            raise OSError("no descriptors or no memory for an event loop")
        if (numcheck_watch(loop.epoll_fd, EPOLL_CTL_ADD, loop.wake_fd, EPOLLIN, &loop.wake_fd)
                or numcheck_watch(loop.epoll_fd, EPOLL_CTL_ADD, loop.listen_fd, EPOLLIN, &loop.listen_fd)):
            raise OSError("an event loop cannot wait for its sockets")
        self.set_callbacks()
        if credentials is not None:
            self.set_tls(credentials)

    cdef int set_methods(self, methods) except -1:
        """Have a path, a kind and a lane for each method, first those of NATIVE_PATHS."""
        cdef Loop* loop = &self.loop
        cdef Text text
        self.paths = [path for path, *_ in methods]
        if tuple(self.paths[:NATIVE_COUNT]) != NATIVE_PATHS or len(self.paths) > METHODS_MAX:
            raise ValueError("the loop's own methods come first, and there is room for METHODS_MAX")
        for path, kind, lane in methods:
            self.set_text(&text, path.encode())
            loop.paths[loop.method_count], loop.path_sizes[loop.method_count] = <const char*>text.data, text.size
            loop.kinds[loop.method_count], loop.lanes[loop.method_count] = KINDS[kind], LANES.index(lane)
            loop.method_count += 1
        return 0

    cdef int set_text(self, Text* text, bytes value) except -1:
        """Point to bytes, and keep them."""
        self.texts.append(value)
        text.data, text.size = <const uint8_t*>PyBytes_AS_STRING(value), PyBytes_GET_SIZE(value)
        return 0

    cdef int set_refusal(self, Refusal* refusal, status) except -1:
        cdef Text text
        refusal.code = status[0]
        self.set_text(&text, status[1])
        refusal.message = <const char*>text.data
        self.set_text(&text, status[2])
        refusal.details = <const char*>text.data
        return 0

    cdef int set_callbacks(self) except -1:
        cdef Loop* loop = &self.loop
        if nghttp2_session_callbacks_new(&loop.callbacks) or nghttp2_option_new(&loop.options):
            raise MemoryError
        nghttp2_option_set_no_auto_window_update(loop.options, 1)
        nghttp2_option_set_no_closed_streams(loop.options, 1)
        # Its own limits would end a flood with no GOAWAY, just before ours does, and clients that mean no harm.
        numcheck_lift_reset_limit(loop.options)
        nghttp2_option_set_max_outbound_ack(loop.options, 2 * CONTROL_FRAMES_MAX)
        nghttp2_session_callbacks_set_on_begin_headers_callback(loop.callbacks, <void*>on_begin_headers)
        nghttp2_session_callbacks_set_on_header_callback(loop.callbacks, <void*>on_header)
        nghttp2_session_callbacks_set_on_frame_recv_callback(loop.callbacks, <void*>on_frame_recv)
        nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(loop.callbacks, <void*>on_invalid_frame)
        nghttp2_session_callbacks_set_on_data_chunk_recv_callback(loop.callbacks, <void*>on_data_chunk)
        nghttp2_session_callbacks_set_on_frame_send_callback(loop.callbacks, <void*>on_frame_send)
        nghttp2_session_callbacks_set_on_stream_close_callback(loop.callbacks, <void*>on_stream_close)
        return 0

    cdef int set_tls(self, Credentials credentials) except -1:
        cdef BIO_METHOD* method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, b"numcheck")
        if method == NULL:
            raise MemoryError
        BIO_meth_set_read(method, bio_read)
        BIO_meth_set_write(method, bio_write)
        BIO_meth_set_ctrl(method, bio_control)
        self.loop.bio_method = method
        self.credentials, self.loop.tls = credentials, credentials.context
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
        free(self.loop.opened)
        discard(&self.loop, &self.loop.outgoing_records)
        BIO_meth_free(self.loop.bio_method)
        drop_notes(take_all(&self.loop.replies))

    def run(self):
        """Serve until `stop`, and then until every call has ended or used up its time."""
        with nogil:
            run_loop(&self.loop)

    cdef int adopt(self) except -1:
        """Take the newest tables. Views are made when they are first needed: some may never be."""
        self.tables, self.facts = (None, None) if self.next_index is None else self.next_index
        self.loop.facts = NULL if self.facts is None else &self.facts.view
        memset(self.loop.views, 0, sizeof(self.loop.views))
        self.used = [None] * len(self.agreements)
        return 0

    cdef int make_view(self, int view) except -1:
        cdef Table table = None if self.tables is None else self.tables(self.agreements[view])
        self.loop.views[view] = NULL if table is None else &table.view
        self.used[view] = table    # last, as it may free the one before
        return 0

    cdef int view_of(self, agreements) except -1:
        """Return the view for these agreements, made before for others or new."""
        cdef int view
        if agreements in self.agreements:
            return self.agreements.index(agreements)
        view = self.free_view()
        self.agreements[view] = agreements
        self.loop.views[view], self.used[view] = NULL, None    # it is made when it is asked for
        return view

    cdef int free_view(self) except -1:
        """Return a view that no connection uses; the first is never free."""
        cdef Connection* connection = self.loop.connections
        if len(self.agreements) < VIEWS_MAX:
            self.agreements.append(None)
            self.used.append(None)
            return len(self.agreements) - 1
        free = set(range(1, VIEWS_MAX))
        while connection != NULL:
            free.discard(connection.view)
            connection = connection.next
        return free.pop()

    cdef int role_of(self, str name) except -1:
        """Return the position of a role's name; where there are too many, that of nobody's."""
        if name not in self.roles and len(self.roles) < ROLES_MAX:
            self.roles[name] = len(self.roles)
        return self.roles.get(name, 0)

    cdef int asker_of(self, str name) except -1:
        """Return the position of a name that numbers are counted by; beyond ASKERS_MAX names, the one of all others."""
        if name not in self.askers and len(self.askers) < ASKERS_MAX:
            self.askers[name] = len(self.askers)
        return self.askers.get(name, 0)

    cdef void* kept_caller(self, caller) except NULL:
        """Return the caller as all their calls point to it. As many are kept as an installation has callers."""
        kept = self.callers.setdefault(caller, caller)
        return <void*>kept

    cdef LargeLine* large_line_of(self, party) except NULL:
        """Return the party's line of large requests, which stays the same for good."""
        cdef LargeLines lines = self.large_lines.get(party)
        if lines is None:
            lines = self.large_lines[party] = LargeLines()
        return &lines.line

    cdef Ledger* ledger_of(self, Allowance allowance) except? NULL:
        """Return the allowance as the loop knows it; NULL: there is none. As many are kept as an installation has callers."""
        if allowance is None:
            return NULL
        self.allowances.add(allowance)
        return &allowance.ledger

    cdef int wake(self) except -1:
        """Wake the loop for its replies, unless it was woken already."""
        cdef uint64_t one = 1
        if load_note(&self.loop.replies) != NULL and not exchange(&self.loop.woken, 1):
            write(self.loop.wake_fd, &one, 8)
        return 0

    def publish(self, tables, Facts facts):
        """Answer from `tables(agreements)` from the next request on, and CheckNumber from the facts of the same version.

        `tables` is called once for each set of agreements among the callers, on the loop's thread. Without facts Python
        answers CheckNumber."""
        self.next_index = tables, facts
        store(&self.loop.published, self.loop.published + 1)

    def set_serving(self, bint serving):
        """Set the health that the loop answers."""
        store(&self.loop.serving, serving)

    def publish_credentials(self, Credentials credentials not None):
        """Use this certificate, and demand clients' from this authority, from the next connection on."""
        self.next_credentials = credentials
        store(&self.loop.credentials_published, self.loop.credentials_published + 1)

    def stop(self):
        """Take no more connections, let the calls under way end, and have `run` return."""
        cdef uint64_t one = 1
        store(&self.loop.stopping, 1)
        write(self.loop.wake_fd, &one, 8)

    @property
    def held_size(self):
        """Bytes of memory that requests and answers take."""
        return load(&self.loop.held_size) + load(&self.loop.lent_size)

    def counters(self):
        """Return the counters; each is exact, but they are not of one moment."""
        cdef Metrics* metrics = &self.loop.metrics
        cdef int method, code, bucket, role
        calls, durations = {}, {}
        for method in range(self.loop.method_count):
            for code in range(CODE_COUNT):
                if load(&metrics.calls[method][code]):
                    calls[self.paths[method], code] = load(&metrics.calls[method][code])
            for name, role in list(self.roles.items()):
                buckets = [load(&metrics.latencies[method][role][bucket]) for bucket in range(BUCKET_COUNT + 1)]
                if any(buckets):
                    durations[self.paths[method], name] = buckets, load(&metrics.latency_sums[method][role]) / 1e9
        return Counters(calls, BOUNDS_S, durations, load(&metrics.numbers), load(&self.loop.connection_count),
                        load(&metrics.accepted), load(&metrics.received), load(&metrics.sent), self.held_size,
                        {name: load(&metrics.asked[place]) for name, place in list(self.askers.items())})

    @property
    def call_count(self):
        """Number of messages answered."""
        return load(&self.loop.metrics.messages)
