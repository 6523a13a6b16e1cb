# A connection to the server: it is opened, carries calls, and is opened anew when the server ends it.

cdef void soil(Link* link) noexcept nogil:
    """Note that a connection has something to send."""
    if not link.is_dirty:
        link.is_dirty, link.next_dirty, link.load.dirty = True, link.load.dirty, link


cdef void open_link(Link* link) noexcept nogil:
    """Begin to connect; if that fails, it is tried again after a while."""
    cdef Load* load = link.load
    link.fd = load_connect(&load.address, load.address_size)
    if link.fd >= 0 and begin_session(link) and not load_watch(load.epoll, EPOLL_CTL_ADD, link.fd, EPOLLIN | EPOLLOUT, link):
        link.waits_to_send = True    # until it is connected
        load.away_count -= 1
        link.leaving = link.heard = False
        return
    drop(link)
    load.counts.connect_failures += 1
    link.again_at = load.now + AGAIN_AFTER


cdef void hear(Link* link) noexcept nogil:
    """Count a connection as made: the server has said something."""
    link.load.counts.connects += not link.heard
    link.heard = True


cdef bint begin_session(Link* link) noexcept nogil:
    cdef nghttp2_settings_entry settings[2]
    settings[0].settings_id, settings[0].value = NGHTTP2_SETTINGS_ENABLE_PUSH, 0
    settings[1].settings_id, settings[1].value = NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_MAX
    if link.load.tls != NULL and not begin_tls(link):
        return False
    return (nghttp2_session_client_new2(&link.session, link.load.callbacks, link, link.load.options) == 0
            and nghttp2_submit_settings(link.session, NGHTTP2_FLAG_NONE, settings, 2) == 0
            and nghttp2_session_set_local_window_size(link.session, NGHTTP2_FLAG_NONE, 0, WINDOW_MAX) == 0)


cdef bint begin_tls(Link* link) noexcept nogil:
    """Have OpenSSL read and write the socket, and hold the server to its name."""
    cdef Load* load = link.load
    link.tls = SSL_new(load.tls)
    if link.tls == NULL or not SSL_set_fd(link.tls, link.fd):
        return False
    SSL_set_connect_state(link.tls)
    if X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(link.tls), load.host):
        return True
    return SSL_set1_host(link.tls, load.host) and SSL_set_tlsext_host_name(link.tls, load.host)


cdef void drop(Link* link) noexcept nogil:
    """Free what a connection has; of its calls, nothing is counted."""
    SSL_free(link.tls)
    nghttp2_session_del(link.session)
    free(link.unsent)
    if link.fd >= 0:
        close(link.fd)
    link.fd, link.session, link.tls, link.unsent, link.unsent_size = -1, NULL, NULL, NULL, 0
    link.waits_to_send = False


cdef void end_link(Link* link, Ending ending) noexcept nogil:
    """Close a connection, whose open calls end with it. Not from within nghttp2's callbacks."""
    cdef Load* load = link.load
    cdef int i
    if link.fd < 0:
        return
    for i in range(load.calls_per_link):
        if link.calls[i].is_open:
            end_call(&link.calls[i], ending)
    load.counts.connect_failures += not link.heard
    # One that served nothing is not tried again at once: a server that closes all of them is not to be hammered.
    link.again_at = load.now if link.leaving else load.now + AGAIN_AFTER
    drop(link)
    load.away_count += 1


cdef ssize_t put(Link* link, const uint8_t* data, size_t size) noexcept nogil:
    """Send what the socket takes: 0 if it takes nothing now, -1 if the connection is at its end."""
    cdef ssize_t sent
    if link.tls == NULL:
        sent = send(link.fd, data, size, MSG_NOSIGNAL)
        return 0 if sent < 0 and (errno == EAGAIN or errno == EINTR) else sent
    ERR_clear_error()
    sent = SSL_write(link.tls, data, <int>size)
    return sent if sent > 0 else wanted(link, <int>sent)


cdef ssize_t take(Link* link, uint8_t* room, size_t size) noexcept nogil:
    """Read what there is: 0 if there is nothing, -1 if the connection is at its end."""
    cdef ssize_t got
    if link.tls == NULL:
        got = recv(link.fd, room, size, 0)
        if got < 0 and (errno == EAGAIN or errno == EINTR):
            return 0
        return got if got > 0 else -1
    ERR_clear_error()
    got = SSL_read(link.tls, room, <int>size)
    return got if got > 0 else wanted(link, <int>got)


cdef ssize_t wanted(Link* link, int result) noexcept nogil:
    """Return 0 if OpenSSL waits for the socket, -1 if it has failed."""
    cdef int error = SSL_get_error(link.tls, result)
    return 0 if error == SSL_ERROR_WANT_READ or error == SSL_ERROR_WANT_WRITE else -1


cdef bint send_all(Link* link) noexcept nogil:
    """Send what there is until the socket takes no more; False if the connection is at its end."""
    cdef ssize_t sent
    cdef const uint8_t* data
    cdef size_t size
    while True:
        data, size = link.unsent + link.unsent_start, link.unsent_size - link.unsent_start
        if size == 0:
            data, size = link.load.outgoing, gather(link)
        if size == 0:
            return wait_to_send(link, False)
        sent = put(link, data, size)
        if sent < 0:
            return False
        link.load.counts.sent += sent
        if not keep_unsent(link, data + sent, size - sent):
            return False
        if <size_t>sent < size:
            return wait_to_send(link, True)


cdef bint keep_unsent(Link* link, const uint8_t* data, size_t size) noexcept nogil:
    """Keep what the socket did not take; False if there is no memory."""
    if link.unsent_size:    # data is the end of it
        link.unsent_start = link.unsent_size - size
        if size == 0:
            free(link.unsent)
            link.unsent, link.unsent_size, link.unsent_start = NULL, 0, 0
        return True
    if size == 0:
        return True
    link.unsent = <uint8_t*>malloc(size)
    if link.unsent == NULL:
        return False
    memcpy(link.unsent, data, size)
    link.unsent_size, link.unsent_start = size, 0
    return True


cdef size_t gather(Link* link) noexcept nogil:
    """Collect frames in the scratch buffer while another is sure to fit; return their size."""
    cdef const uint8_t* frame
    cdef size_t gathered = 0
    cdef ssize_t size = 1
    while size > 0 and gathered <= WRITE_SIZE - FRAME_ROOM:
        size = nghttp2_session_mem_send(link.session, &frame)
        if size > 0:
            memcpy(link.load.outgoing + gathered, frame, size)
            gathered += size
    return gathered


cdef bint wait_to_send(Link* link, bint waits) noexcept nogil:
    if waits != link.waits_to_send:
        link.waits_to_send = waits
        return load_watch(link.load.epoll, EPOLL_CTL_MOD, link.fd, EPOLLIN | (EPOLLOUT if waits else 0), link) == 0
    return True


cdef bint receive(Link* link) noexcept nogil:
    """Read and understand what has come; False if the connection is at its end."""
    cdef Load* load = link.load
    cdef ssize_t got = READ_SIZE
    while got > 0:
        got = take(link, load.incoming, READ_SIZE)
        if got <= 0:
            break
        load.now = load_clock(CLOCK_MONOTONIC)
        load.counts.received += got
        hear(link)
        if nghttp2_session_mem_recv(link.session, load.incoming, got) != got:
            return False
        if link.tls == NULL and got < READ_SIZE:
            break
    soil(link)    # settings, pings and windows have their answers
    return got >= 0
