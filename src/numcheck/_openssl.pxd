# The part of OpenSSL (1.1.1 and newer) that the native door and the load generator use; its own manual says what each does.

cdef extern from "openssl/ssl.h" nogil:
    ctypedef struct SSL_METHOD:
        pass
    ctypedef struct SSL_CTX:
        pass
    ctypedef struct SSL:
        pass
    ctypedef struct BIO:
        pass
    ctypedef struct BIO_METHOD:
        pass
    ctypedef struct X509:
        pass
    ctypedef struct X509_VERIFY_PARAM:
        pass

    enum:
        BIO_CTRL_FLUSH
        BIO_TYPE_SOURCE_SINK
        SSL_ERROR_WANT_READ
        SSL_ERROR_WANT_WRITE
        SSL_FILETYPE_PEM
        SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
        SSL_MODE_ENABLE_PARTIAL_WRITE
        SSL_MODE_RELEASE_BUFFERS
        SSL_OP_NO_RENEGOTIATION
        SSL_OP_NO_TICKET
        SSL_SESS_CACHE_OFF
        SSL_TLSEXT_ERR_ALERT_FATAL
        SSL_TLSEXT_ERR_OK
        SSL_VERIFY_FAIL_IF_NO_PEER_CERT
        SSL_VERIFY_PEER
        SSL3_RT_HANDSHAKE
        TLS1_2_VERSION

    BIO_METHOD* BIO_meth_new(int type, const char* name)
    void BIO_meth_free(BIO_METHOD*)
    int BIO_meth_set_read(BIO_METHOD*, int (*)(BIO*, char*, int) noexcept nogil)
    int BIO_meth_set_write(BIO_METHOD*, int (*)(BIO*, const char*, int) noexcept nogil)
    int BIO_meth_set_ctrl(BIO_METHOD*, long (*)(BIO*, int, long, void*) noexcept nogil)
    BIO* BIO_new(const BIO_METHOD*)
    void BIO_set_data(BIO*, void*)
    void* BIO_get_data(BIO*)
    void BIO_set_init(BIO*, int)
    void BIO_clear_retry_flags(BIO*)
    void BIO_set_retry_read(BIO*)

    const SSL_METHOD* TLS_client_method()
    const SSL_METHOD* TLS_server_method()
    SSL_CTX* SSL_CTX_new(const SSL_METHOD*)
    void SSL_CTX_free(SSL_CTX*)
    int SSL_CTX_set_min_proto_version(SSL_CTX*, int)
    int SSL_CTX_set_cipher_list(SSL_CTX*, const char*)
    long SSL_CTX_set_mode(SSL_CTX*, long)
    unsigned long SSL_CTX_set_options(SSL_CTX*, unsigned long)
    int SSL_CTX_set_num_tickets(SSL_CTX*, size_t)
    long SSL_CTX_set_session_cache_mode(SSL_CTX*, long)
    void SSL_CTX_set_default_passwd_cb(SSL_CTX*, int (*)(char*, int, int, void*) noexcept nogil)
    int SSL_CTX_use_certificate_chain_file(SSL_CTX*, const char*)
    int SSL_CTX_use_PrivateKey_file(SSL_CTX*, const char*, int)
    int SSL_CTX_check_private_key(const SSL_CTX*)
    int SSL_CTX_load_verify_locations(SSL_CTX*, const char*, const char*)
    int SSL_CTX_set_default_verify_paths(SSL_CTX*)
    int SSL_CTX_set_alpn_protos(SSL_CTX*, const unsigned char*, unsigned int)
    void* SSL_load_client_CA_file(const char*)
    void SSL_CTX_set_client_CA_list(SSL_CTX*, void*)
    void SSL_CTX_set_verify(SSL_CTX*, int, void*)
    void SSL_CTX_set_alpn_select_cb(
        SSL_CTX*, int (*)(SSL*, const unsigned char**, unsigned char*, const unsigned char*, unsigned int,
                          void*) noexcept nogil, void*)
    void SSL_CTX_set_msg_callback(
        SSL_CTX*, void (*)(int, int, int, const void*, size_t, SSL*, void*) noexcept nogil)

    SSL* SSL_new(SSL_CTX*)
    void SSL_free(SSL*)
    void SSL_set_bio(SSL*, BIO*, BIO*)
    void SSL_set_accept_state(SSL*)
    void SSL_set_connect_state(SSL*)
    int SSL_set_fd(SSL*, int)
    int SSL_set1_host(SSL*, const char*)
    long SSL_set_tlsext_host_name(SSL*, const char*)
    X509_VERIFY_PARAM* SSL_get0_param(SSL*)
    void SSL_set_msg_callback_arg(SSL*, void*)
    int SSL_do_handshake(SSL*)
    int SSL_read(SSL*, void*, int)
    int SSL_write(SSL*, const void*, int)
    int SSL_shutdown(SSL*)
    int SSL_get_error(const SSL*, int)
    void SSL_get0_alpn_selected(const SSL*, const unsigned char**, unsigned int*)
    X509* SSL_get_peer_certificate(const SSL*)

cdef extern from "openssl/err.h" nogil:
    void ERR_clear_error()
    unsigned long ERR_peek_last_error()
    const char* ERR_reason_error_string(unsigned long)

cdef extern from "openssl/x509.h" nogil:
    int i2d_X509(const X509*, unsigned char**)
    void X509_free(X509*)
    int X509_VERIFY_PARAM_set1_ip_asc(X509_VERIFY_PARAM*, const char*)

cdef extern from "openssl/crypto.h" nogil:
    void OPENSSL_free(void*)
