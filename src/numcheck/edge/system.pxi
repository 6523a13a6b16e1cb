# Declares what the listener uses of Linux and zlib: epoll, sockets, the clock, atomic words and inflate.

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
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
    /* `address`: 16 bytes that are 0, to be compared. An IPv6 peer has a /64 to itself: its first half. */
    static int numcheck_accept(int listener, uint8_t* address) {
        struct sockaddr_storage peer;
        socklen_t size = sizeof peer;
        int on = 1, fd = accept4(listener, (struct sockaddr*)&peer, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) return fd;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (peer.ss_family == AF_INET) {
            address[10] = address[11] = 0xFF;
            memcpy(address + 12, &((struct sockaddr_in*)&peer)->sin_addr, 4);
        } else if (peer.ss_family == AF_INET6) {
            const struct in6_addr* host = &((struct sockaddr_in6*)&peer)->sin6_addr;
            memcpy(address, host, IN6_IS_ADDR_V4MAPPED(host) ? 16 : 8);
        }
        return fd;
    }
    static int numcheck_watch(int epoll, int operation, int fd, uint32_t events, void* data) {
        struct epoll_event event = {events, {data}};
        return epoll_ctl(epoll, operation, fd, &event);
    }
    #define numcheck_load_pointer(address) __atomic_load_n((address), __ATOMIC_SEQ_CST)
    #define numcheck_exchange(address, value) __atomic_exchange_n((address), (value), __ATOMIC_SEQ_CST)
    #define numcheck_add(address, value) __atomic_add_fetch((address), (value), __ATOMIC_SEQ_CST)
    #define numcheck_exchange_if(address, expected, value) \
        __atomic_compare_exchange_n((address), (expected), (value), 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)
    #define numcheck_load(address) __atomic_load_n((address), __ATOMIC_SEQ_CST)
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
    int numcheck_accept(int listener, uint8_t* address) nogil
    int64_t numcheck_now() nogil
    ssize_t recv(int fd, void* buffer, size_t size, int flags) nogil
    ssize_t send(int fd, const void* buffer, size_t size, int flags) nogil
    ssize_t read(int fd, void* buffer, size_t size) nogil
    ssize_t write(int fd, const void* buffer, size_t size) nogil
    int close(int fd) nogil
    uint64_t load "numcheck_load"(uint64_t* address) nogil
    void store "numcheck_store"(uint64_t* address, uint64_t value) nogil
    uint64_t exchange "numcheck_exchange"(uint64_t* address, uint64_t value) nogil
    uint64_t add "numcheck_add"(uint64_t* address, int64_t value) nogil
    Note* load_note "numcheck_load_pointer"(Note** address) nogil
    Note* exchange_note "numcheck_exchange"(Note** address, Note* value) nogil
    bint exchange_note_if "numcheck_exchange_if"(Note** address, Note** expected, Note* value) nogil

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
