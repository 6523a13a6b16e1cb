# Puts OpenSSL between a connection's one bounded read or write and nghttp2. OpenSSL never touches the socket: it is
# lent the bytes that were read (`incoming_records`), and its output collects in the loop's `outgoing_records` until the
# same connection's `write_some`. So a turn reads and writes as often, and as little, as in plaintext.
#
# Every handshake is a full one (no tickets, no cache), so that each certificate is verified against the authority of
# now. gRPC keeps its connections for an hour: the cost is not noticeable.

cdef int bio_read(BIO* bio, char* room, int size) noexcept nogil:
    cdef Loop* loop = (<Connection*>BIO_get_data(bio)).loop
    cdef int given = <int>min(<size_t>size, loop.incoming_records_size)
    BIO_clear_retry_flags(bio)
    if given == 0:
        BIO_set_retry_read(bio)
        return -1
    memcpy(room, loop.incoming_records, given)
    loop.incoming_records += given
    loop.incoming_records_size -= given
    return given


cdef int bio_write(BIO* bio, const char* data, int size) noexcept nogil:
    cdef Connection* connection = <Connection*>BIO_get_data(bio)
    BIO_clear_retry_flags(bio)
    return size if append(connection.loop, &connection.loop.outgoing_records, data, size) else -1


cdef long bio_control(BIO* bio, int command, long number, void* pointer) noexcept nogil:
    return command == BIO_CTRL_FLUSH


cdef bint start_tls(Connection* connection) noexcept nogil:
    """Expect a handshake; the HTTP/2 session is made after it."""
    cdef Loop* loop = connection.loop
    cdef BIO* bio
    if load(&loop.credentials_published) != loop.credentials_adopted:
        adopt_credentials(loop)
    connection.tls = SSL_new(loop.tls)
    bio = NULL if connection.tls == NULL else BIO_new(loop.bio_method)
    if bio == NULL:
        return False
    BIO_set_data(bio, connection)
    BIO_set_init(bio, 1)
    SSL_set_bio(connection.tls, bio, bio)
    SSL_set_accept_state(connection.tls)
    SSL_set_msg_callback_arg(connection.tls, connection)
    connection.handshaking = True
    loop.handshaking_count += 1
    return True


cdef void end_handshake(Connection* connection) noexcept nogil:
    if connection.handshaking:
        connection.handshaking = False
        connection.loop.handshaking_count -= 1


cdef void end_tls(Connection* connection) noexcept nogil:
    """Free the connection's TLS state, after a close_notify if the peer can still read one."""
    cdef Loop* loop = connection.loop
    if connection.tls != NULL:
        if not connection.handshaking and left(&connection.unsent) == 0:
            ERR_clear_error()
            if SSL_shutdown(connection.tls) == 0:
                send(connection.fd, loop.outgoing_records.data, loop.outgoing_records.size, MSG_NOSIGNAL)
        end_handshake(connection)
        SSL_free(connection.tls)
        loop.outgoing_records.size = 0


cdef bint shake_hands(Connection* connection) noexcept nogil:
    """Continue the handshake with the bytes read; False if it failed."""
    cdef const unsigned char* protocol
    cdef unsigned int size
    cdef int result = SSL_do_handshake(connection.tls)
    if result != 1:
        return SSL_get_error(connection.tls, result) == SSL_ERROR_WANT_READ
    end_handshake(connection)
    # For a client that names no protocol `choose_protocol` is not called: it may well speak HTTP/1.1.
    SSL_get0_alpn_selected(connection.tls, &protocol, &size)
    return not equals(protocol, size, b"h2") or start_session(connection)


cdef bint take_records(Connection* connection, size_t size) noexcept nogil:
    """Decrypt all that was read into the loop's `incoming`; False if the connection is at its end."""
    cdef Loop* loop = connection.loop
    cdef bint alive
    loop.incoming_records, loop.incoming_records_size = loop.incoming, size
    ERR_clear_error()    # SSL_get_error reads the thread's last error, which may be another connection's
    alive = open_records(connection)
    loop.incoming_records_size = 0    # they belong to this connection alone
    return alive


cdef bint open_records(Connection* connection) noexcept nogil:
    cdef Loop* loop = connection.loop
    cdef int opened = 1
    if connection.handshaking and not shake_hands(connection):
        return False
    while opened > 0 and not connection.handshaking:
        opened = SSL_read(connection.tls, loop.opened, RECORD_SIZE)
        if opened > 0 and not take_frames(connection, loop.opened, opened):
            return False
    return opened > 0 or SSL_get_error(connection.tls, opened) == SSL_ERROR_WANT_READ


cdef bint seal(Connection* connection, size_t size) noexcept nogil:
    """Encrypt `size` bytes of the loop's `outgoing`, behind records that a handshake may have left."""
    if size == 0:
        return True
    ERR_clear_error()
    return SSL_write(connection.tls, connection.loop.outgoing, <int>size) == <int>size


cdef int choose_protocol(SSL* tls, const unsigned char** chosen, unsigned char* chosen_size,
                         const unsigned char* offered, unsigned int size, void* data) noexcept nogil:
    """Choose by ALPN (RFC 7301) h2, or http/1.1 to refuse in it. OpenSSL has checked that `offered` is well-formed."""
    cdef unsigned int at = 0
    cdef bint found = False
    while at < size:
        if equals(offered + at + 1, offered[at], b"h2") or not found and equals(offered + at + 1, offered[at], b"http/1.1"):
            found, chosen[0], chosen_size[0] = True, offered + at + 1, offered[at]
            if offered[at] == 2:
                break
        at += 1 + offered[at]
    return SSL_TLSEXT_ERR_OK if found else SSL_TLSEXT_ERR_ALERT_FATAL


cdef void on_tls_message(int sent, int version, int content_type, const void* message, size_t size, SSL* tls,
                         void* data) noexcept nogil:
    """Count what a peer does in TLS after its handshake: a rare KeyUpdate is all it may need, and costs us one."""
    cdef Connection* connection = <Connection*>data
    if not sent and content_type == SSL3_RT_HANDSHAKE and not connection.handshaking:
        spend_credit(connection)


cdef int no_password(char* room, int size, int writing, void* data) noexcept nogil:
    return 0


cdef class Credentials:
    """A certificate, its key, and the authority that issues clients' certificates, as read at one moment.

    Without an authority clients are asked for no certificate: they have tokens."""

    cdef SSL_CTX* context

    def __init__(self, certificate_file, key_file, client_authority_file=None):
        """Read the PEM files, the certificate's with its chain; BadConfiguration names the bad one."""
        ERR_clear_error()
        self.context = SSL_CTX_new(TLS_server_method())
        if self.context == NULL:
            raise MemoryError
        self.set_rules()
        # Without this OpenSSL asks the terminal for the password of a sealed key.
        SSL_CTX_set_default_passwd_cb(self.context, no_password)
        self.require(SSL_CTX_use_certificate_chain_file(self.context, fsencode(certificate_file)), "tls_certificate_file")
        self.require(SSL_CTX_use_PrivateKey_file(self.context, fsencode(key_file), SSL_FILETYPE_PEM), "tls_key_file")
        self.require(SSL_CTX_check_private_key(self.context), "tls_key_file")
        if client_authority_file is not None:
            self.set_authority(fsencode(client_authority_file))

    def __dealloc__(self):
        SSL_CTX_free(self.context)    # open connections keep it alive

    cdef int set_rules(self) except -1:
        SSL_CTX_set_min_proto_version(self.context, TLS1_2_VERSION)
        # TLS 1.2 ciphers that RFC 9113 section 9.2 does not forbid; TLS 1.3 has a list of its own.
        SSL_CTX_set_cipher_list(self.context, b"ECDHE+AESGCM:ECDHE+CHACHA20")
        SSL_CTX_set_options(self.context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET)
        SSL_CTX_set_session_cache_mode(self.context, SSL_SESS_CACHE_OFF)
        SSL_CTX_set_num_tickets(self.context, 0)
        SSL_CTX_set_mode(self.context, SSL_MODE_RELEASE_BUFFERS)
        SSL_CTX_set_alpn_select_cb(self.context, choose_protocol, NULL)
        SSL_CTX_set_msg_callback(self.context, on_tls_message)
        return 0

    cdef int set_authority(self, bytes path) except -1:
        cdef void* names = SSL_load_client_CA_file(path)    # sent to clients in the handshake
        self.require(names != NULL and SSL_CTX_load_verify_locations(self.context, path, NULL) == 1,
                     "tls_client_authority_file")
        SSL_CTX_set_client_CA_list(self.context, names)
        SSL_CTX_set_verify(self.context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL)
        return 0

    cdef int require(self, bint good, str setting) except -1:
        cdef const char* reason
        if not good:
            reason = ERR_reason_error_string(ERR_peek_last_error())
            raise BadConfiguration(f"{setting}: {reason.decode() if reason != NULL else 'it cannot be read'}")
        return 0


cdef bytes certificate_of(SSL* tls):
    """Return the peer's whole certificate in DER, for Python to read; None if it has shown none."""
    cdef X509* certificate = NULL if tls == NULL else SSL_get_peer_certificate(tls)
    cdef unsigned char* der = NULL
    cdef int size
    if certificate == NULL:
        return None
    size = i2d_X509(certificate, &der)
    X509_free(certificate)
    if size < 0:
        return b""    # no certificate, and so nobody's name
    try:
        return der[:size]
    finally:
        OPENSSL_free(der)
