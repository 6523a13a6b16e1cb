/* h2load has no option for a client's certificate, and the node asks for one: this gives it, by LD_PRELOAD. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <openssl/ssl.h>
#include <stdlib.h>

SSL_CTX *SSL_CTX_new(const SSL_METHOD *method) {
  SSL_CTX *(*real)(const SSL_METHOD *) = (SSL_CTX * (*)(const SSL_METHOD *)) dlsym(RTLD_NEXT, "SSL_CTX_new");
  SSL_CTX *context = real(method);
  const char *certificate = getenv("CLIENT_CERTIFICATE"), *key = getenv("CLIENT_KEY");
  if (context != NULL && certificate != NULL && key != NULL &&
      (SSL_CTX_use_certificate_file(context, certificate, SSL_FILETYPE_PEM) != 1 ||
       SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) != 1))
    abort();
  return context;
}
