# Declares what the generator uses of Linux: epoll, a timer, sockets and clocks.

cdef extern from *:
    """
    #include <errno.h>
    #include <netdb.h>
    #include <stdint.h>
    #include <string.h>
    #include <sys/epoll.h>
    #include <sys/socket.h>
    #include <sys/timerfd.h>
    #include <netinet/in.h>
    #include <netinet/tcp.h>
    #include <time.h>
    #include <unistd.h>

    static int64_t load_clock(clockid_t clock) {
        struct timespec now;
        clock_gettime(clock, &now);
        return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
    }
    /* Begin to connect; -1 if there is no descriptor, or the system refuses at once. */
    static int load_connect(const struct sockaddr_storage* address, socklen_t size) {
        int on = 1, fd = socket(address->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (fd < 0) return -1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        if (connect(fd, (const struct sockaddr*)address, size) && errno != EINPROGRESS) {
            close(fd);
            return -1;
        }
        return fd;
    }
    static int load_watch(int epoll, int operation, int fd, uint32_t events, void* data) {
        struct epoll_event event = {events, {data}};
        return epoll_ctl(epoll, operation, fd, &event);
    }
    /* Have the timer fire at a moment of CLOCK_MONOTONIC. */
    static int load_set_timer(int timer, int64_t moment) {
        struct itimerspec at = {{0, 0}, {moment / 1000000000, moment % 1000000000}};
        return timerfd_settime(timer, TFD_TIMER_ABSTIME, &at, NULL);
    }
    static int load_resolve(const char* host, const char* port, struct sockaddr_storage* address, socklen_t* size) {
        struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
        int failed = getaddrinfo(host, port, &hints, &found);
        if (failed) return failed;
        memcpy(address, found->ai_addr, found->ai_addrlen);
        *size = found->ai_addrlen;
        freeaddrinfo(found);
        return 0;
    }
    #define load_log2(value) (63 - __builtin_clzll(value))
    """
    ctypedef union epoll_data:
        void* ptr
    struct epoll_event:
        uint32_t events
        epoll_data data
    struct sockaddr_storage:
        pass
    ctypedef unsigned int socklen_t
    enum:
        EPOLLIN
        EPOLLOUT
        EPOLLERR
        EPOLLHUP
        EPOLL_CTL_ADD
        EPOLL_CTL_MOD
        EPOLL_CLOEXEC
        MSG_NOSIGNAL
        TFD_CLOEXEC
        TFD_NONBLOCK
        CLOCK_MONOTONIC
        CLOCK_THREAD_CPUTIME_ID
    int epoll_create1(int flags) nogil
    int epoll_wait(int fd, epoll_event* events, int count, int timeout_ms) nogil
    int timerfd_create(int clock, int flags) nogil
    ssize_t recv(int fd, void* buffer, size_t size, int flags) nogil
    ssize_t send(int fd, const void* buffer, size_t size, int flags) nogil
    ssize_t read(int fd, void* buffer, size_t size) nogil
    int close(int fd) nogil
    int64_t load_clock(int clock) nogil
    int load_connect(const sockaddr_storage* address, socklen_t size) nogil
    int load_watch(int epoll, int operation, int fd, uint32_t events, void* data) nogil
    int load_set_timer(int timer, int64_t moment) nogil
    int load_resolve(const char* host, const char* port, sockaddr_storage* address, socklen_t* size) nogil
    const char* gai_strerror(int error) nogil
    int load_log2(uint64_t value) nogil
