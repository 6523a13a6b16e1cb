"""A load generator: unary gRPC calls over libnghttp2, from one thread that needs no GIL. Linux alone (epoll).

Bodies are made before, and sent in turn, so that the numbers of two calls differ. A run is a closed loop, which keeps so
many calls in flight, or an open one, in which calls are due at a rate whatever becomes of those before them. A call's
latency counts from the moment when it was due, so that a server that stalls cannot hide it by being asked less.

By file of load/: loop.pxi begins calls and waits; link.pxi is a connection; call.pxi counts how a call ended;
histogram.pxi counts how long it took.
"""

from libc.errno cimport EAGAIN, EINTR, errno
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE

from numcheck._nghttp2 cimport *
from numcheck._openssl cimport *

from collections import namedtuple
from os import fsencode

from numcheck.errors import BadConfiguration, NodeUnreachable

cdef enum:
    READ_SIZE = 262_144
    WRITE_SIZE = 262_144
    FRAME_ROOM = 32_768              # a frame of ours takes 16 KiB and a little
    EVENTS_MAX = 256
    TURN_MS = 20                     # of a loop, at most: it looks at its end
    WINDOW_MAX = 2_147_483_647
    STATUS_COUNT = 17                # of google.rpc.Code
    UNKNOWN_STATUS = 2
    NO_STATUS = -1
    PART_BITS = 7
    PARTS = 128
    BUCKET_COUNT = 7_424             # bucket_of of the largest value, and 1

include "load/system.pxi"

cdef int64_t SECOND = 1_000_000_000
cdef int64_t AGAIN_AFTER = 100_000_000    # until a connection that was lost, or could not be made, is tried again

cdef enum Ending:                    # of a call without a status
    CLOSED = 0                       # the server ended it in order, and named none
    RESET = 1                        # the server reset it
    LOST = 2                         # its connection ended
    UNANSWERED = 3                   # it was open when the run's patience ended
    ENDING_COUNT = 4

cdef struct Counts:                  # of one run
    uint64_t begun
    uint64_t in_time                 # answered OK before the time was over
    uint64_t never_begun
    uint64_t statuses[STATUS_COUNT]
    uint64_t endings[ENDING_COUNT]
    uint64_t connects, connect_failures, goaways
    uint64_t sent, received          # bytes
    uint64_t answered[BUCKET_COUNT]  # durations of calls with status OK,
    uint64_t refused[BUCKET_COUNT]   # with another,
    uint64_t begun_late[BUCKET_COUNT]    # and how late calls of an open loop began

cdef struct Body:
    const uint8_t* data
    size_t size

cdef struct Call:
    Link* link
    Call* next                       # among the free ones of its link
    const Body* body
    size_t sent
    int64_t due
    int status
    bint http_status_is_ok
    bint is_open

cdef struct Link:                    # a connection
    Load* load
    int fd                           # -1: away
    nghttp2_session* session
    SSL* tls
    Call* calls                      # as many as may be in flight
    Call* free_calls
    int open_count
    int64_t again_at                 # while it is away: when to connect
    bint heard                       # the server has said something: calls may begin
    bint leaving                     # it takes no new calls
    bint waits_to_send
    bint is_dirty
    Link* next_dirty
    uint8_t* unsent                  # what the socket did not take
    size_t unsent_start, unsent_size

cdef struct Load:
    sockaddr_storage address
    socklen_t address_size
    const char* host
    SSL_CTX* tls                     # NULL: plaintext
    nghttp2_session_callbacks* callbacks
    nghttp2_option* options
    nghttp2_nv* headers
    size_t header_count
    Body* bodies
    size_t body_count, next_body
    bint once                        # each body is sent once, and then the run is over
    Link* links
    int link_count, calls_per_link
    int away_count, turn
    uint64_t open_count
    Link* dirty                      # those with something to send
    int epoll, timer
    uint8_t* incoming
    uint8_t* outgoing
    int64_t now, start, end, ended, length, patience
    double interval                  # between two calls of an open loop, in nanoseconds; 0: a closed loop
    Counts counts

include "load/histogram.pxi"
include "load/call.pxi"
include "load/link.pxi"
include "load/loop.pxi"

Run = namedtuple(
    "Run",
    "wall_s cpu_s begun in_time never_begun statuses closed reset lost unanswered connects connect_failures goaways sent "
    "received answered refused begun_late",
)


cdef class Generator:
    """Connections to one server, over which calls of one method are made. One thread at a time may use it."""

    cdef Load load
    cdef list kept                   # bytes that `load` points to

    def __cinit__(self):
        self.load.epoll = self.load.timer = -1

    def __init__(self, str host not None, int port, headers, *, int connections, int in_flight, tls=None):
        """Connect by `connect`, or when a run begins; NodeUnreachable if the host has no address.

        `headers` are pairs of bytes, the pseudo-headers first. `in_flight` is of a connection. `tls` is None for
        plaintext, or the paths of the authority's certificates (None: the system's), of the client's certificate and of
        its key (None: without).
        """
        if connections < 1 or in_flight < 1:
            raise ValueError("a load needs a connection, and a call in flight")
        self.kept = []
        self.resolve(host, port)
        self.set_headers(headers)
        self.open_system()
        self.make_links(connections, in_flight)
        if tls is not None:
            self.set_tls(tls)

    def __dealloc__(self):
        cdef int i
        if self.load.links != NULL:
            for i in range(self.load.link_count):
                drop(&self.load.links[i])
                free(self.load.links[i].calls)
        free(self.load.links)
        free(self.load.headers)
        free(self.load.bodies)
        free(self.load.incoming)
        free(self.load.outgoing)
        nghttp2_session_callbacks_del(self.load.callbacks)
        nghttp2_option_del(self.load.options)
        SSL_CTX_free(self.load.tls)
        if self.load.epoll >= 0:
            close(self.load.epoll)
        if self.load.timer >= 0:
            close(self.load.timer)

    cdef const char* keep(self, bytes value) except NULL:
        self.kept.append(value)
        return PyBytes_AS_STRING(value)

    cdef int resolve(self, str host, int port) except -1:
        self.load.host = self.keep(host.encode())
        cdef int failed = load_resolve(self.load.host, self.keep(str(port).encode()), &self.load.address,
                                       &self.load.address_size)
        if failed:
            raise NodeUnreachable(f"{host}:{port}: {gai_strerror(failed).decode()}")
        return 0

    cdef int set_headers(self, headers) except -1:
        cdef nghttp2_nv* header
        self.load.headers = <nghttp2_nv*>calloc(len(headers), sizeof(nghttp2_nv))
        if self.load.headers == NULL:
            raise MemoryError
        for name, value in headers:
            header = &self.load.headers[self.load.header_count]
            header.name, header.namelen = <uint8_t*>self.keep(name), len(name)
            header.value, header.valuelen = <uint8_t*>self.keep(value), len(value)
            header.flags = NGHTTP2_NV_FLAG_NO_COPY_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE
            self.load.header_count += 1
        return 0

    cdef int open_system(self) except -1:
        cdef Load* load = &self.load
        load.epoll = epoll_create1(EPOLL_CLOEXEC)
        load.timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)
        if load.epoll < 0 or load.timer < 0 or load_watch(load.epoll, EPOLL_CTL_ADD, load.timer, EPOLLIN, NULL):
            raise OSError("no descriptors for a load generator")
        load.incoming, load.outgoing = <uint8_t*>malloc(READ_SIZE), <uint8_t*>malloc(WRITE_SIZE)
        if NULL in (load.incoming, load.outgoing) or nghttp2_session_callbacks_new(&load.callbacks):
            raise MemoryError
        if nghttp2_option_new(&load.options):
            raise MemoryError
        nghttp2_option_set_no_closed_streams(load.options, 1)
        nghttp2_session_callbacks_set_on_header_callback(load.callbacks, <void*>on_header)
        nghttp2_session_callbacks_set_on_frame_recv_callback(load.callbacks, <void*>on_frame_recv)
        nghttp2_session_callbacks_set_on_stream_close_callback(load.callbacks, <void*>on_stream_close)
        return 0

    cdef int make_links(self, int connections, int in_flight) except -1:
        cdef int i
        cdef Link* link
        self.load.links = <Link*>calloc(connections, sizeof(Link))
        if self.load.links == NULL:
            raise MemoryError
        self.load.link_count = self.load.away_count = connections
        self.load.calls_per_link = in_flight
        for i in range(connections):
            self.load.links[i].fd, self.load.links[i].load = -1, &self.load
        for i in range(connections):
            self.make_calls(&self.load.links[i])
        return 0

    cdef int make_calls(self, Link* link) except -1:
        cdef int i
        link.calls = <Call*>calloc(self.load.calls_per_link, sizeof(Call))
        if link.calls == NULL:
            raise MemoryError
        for i in range(self.load.calls_per_link):
            link.calls[i].link, link.calls[i].next, link.free_calls = link, link.free_calls, &link.calls[i]
        return 0

    cdef int set_tls(self, files) except -1:
        authority_file, certificate_file, key_file = files
        ERR_clear_error()
        self.load.tls = SSL_CTX_new(TLS_client_method())
        if self.load.tls == NULL:
            raise MemoryError
        SSL_CTX_set_min_proto_version(self.load.tls, TLS1_2_VERSION)
        SSL_CTX_set_mode(self.load.tls, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER)
        SSL_CTX_set_verify(self.load.tls, SSL_VERIFY_PEER, NULL)
        SSL_CTX_set_alpn_protos(self.load.tls, b"\x02h2", 3)
        if authority_file is None:
            self.require(SSL_CTX_set_default_verify_paths(self.load.tls), "server_authority_file")
        else:
            self.require(SSL_CTX_load_verify_locations(self.load.tls, fsencode(authority_file), NULL),
                         "server_authority_file")
        if certificate_file is not None:
            self.require(SSL_CTX_use_certificate_chain_file(self.load.tls, fsencode(certificate_file)),
                         "client_certificate_file")
            self.require(SSL_CTX_use_PrivateKey_file(self.load.tls, fsencode(key_file), SSL_FILETYPE_PEM),
                         "client_key_file")
        return 0

    cdef int require(self, bint good, str setting) except -1:
        cdef const char* reason
        if not good:
            reason = ERR_reason_error_string(ERR_peek_last_error())
            raise BadConfiguration(f"{setting}: {reason.decode() if reason != NULL else 'it cannot be read'}")
        return 0

    def connect(self, double patience_s=10):
        """Connect, and return how many connections are ready when all are, or when the patience is over."""
        cdef int64_t patience = int(patience_s * SECOND)
        cdef int count
        with nogil:
            count = connect_all(&self.load, patience)
        return count

    def run(self, list bodies not None, *, double seconds, double rate=0, bint once=False, double patience_s=10):
        """Make calls for so long, and return what came of them, with no call left open.

        A closed loop keeps `in_flight` calls going on each connection; with a `rate` as many calls a second are due, and
        begin as soon as a connection has room. With `once` each body is sent once at most. Calls that are open when the
        time is over have `patience_s` to end.
        """
        cdef int64_t spent
        if not bodies or seconds <= 0 or rate < 0:
            raise ValueError("a run needs bodies, a time above 0, and a rate of at least 0")
        self.set_bodies(bodies)
        self.load.once = once
        self.load.length, self.load.patience = int(seconds * SECOND), int(patience_s * SECOND)
        self.load.interval = <double>SECOND / rate if rate else 0
        memset(&self.load.counts, 0, sizeof(Counts))
        with nogil:
            spent = load_clock(CLOCK_THREAD_CPUTIME_ID)
            run_loop(&self.load)
            spent = load_clock(CLOCK_THREAD_CPUTIME_ID) - spent
        return self.told(spent)

    cdef int set_bodies(self, list bodies) except -1:
        """Point to bodies, which the caller keeps for as long as the run takes."""
        cdef bytes body
        free(self.load.bodies)
        self.load.body_count = self.load.next_body = 0
        self.load.bodies = <Body*>calloc(len(bodies), sizeof(Body))
        if self.load.bodies == NULL:
            raise MemoryError
        for body in bodies:
            self.load.bodies[self.load.body_count].data = <const uint8_t*>PyBytes_AS_STRING(body)
            self.load.bodies[self.load.body_count].size = PyBytes_GET_SIZE(body)
            self.load.body_count += 1
        return 0

    cdef object told(self, int64_t spent):
        cdef Counts* counts = &self.load.counts
        return Run(
            wall_s=<double>(self.load.ended - self.load.start) / SECOND,
            cpu_s=<double>spent / SECOND,
            begun=counts.begun,
            in_time=counts.in_time,
            never_begun=counts.never_begun,
            statuses={status: counts.statuses[status] for status in range(STATUS_COUNT) if counts.statuses[status]},
            closed=counts.endings[CLOSED],
            reset=counts.endings[RESET],
            lost=counts.endings[LOST],
            unanswered=counts.endings[UNANSWERED],
            connects=counts.connects,
            connect_failures=counts.connect_failures,
            goaways=counts.goaways,
            sent=counts.sent,
            received=counts.received,
            answered=filled(counts.answered),
            refused=filled(counts.refused),
            begun_late=filled(counts.begun_late),
        )
