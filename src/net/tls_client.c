#include "net/tls_client.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>

/* What the peer may make us compute: with DHE it picks the modulus, and one of 10,000 bits takes a second. */
#define CIPHERS "DEFAULT:!DHE" /* TLS 1.2 */
#define GROUPS  "X25519:P-256:P-384:P-521"

enum {
    SAY_BYTES_MAX = 64 * 1024,
    PIECE_BYTES = 4096,
};

struct tls_client {
    SSL_CTX *context;
    SSL *ssl;
    BIO *from_wire, *to_wire; /* owned by ssl */
    struct buf say;           /* what waits for the handshake */
};

static int refused(struct err *e, const char *what)
{
    unsigned long code = ERR_get_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    return err_set(e, CODE_UNAVAILABLE, "tls: %s: %s", what, reason ? reason : "the peer broke off");
}

/* Nobody asks who it is, so no chain is built of its certificates either. */
static int whoever(X509_STORE_CTX *chain, void *ctx)
{
    (void)chain;
    (void)ctx;
    return 1;
}

static bool context_set(SSL_CTX *c)
{
    char groups[] = GROUPS; /* OpenSSL's macro wants it writable */
    SSL_CTX_set_verify(c, SSL_VERIFY_NONE, NULL);
    SSL_CTX_set_cert_verify_callback(c, whoever, NULL);
    SSL_CTX_set_options(c, SSL_OP_NO_RENEGOTIATION);
    return SSL_CTX_set_min_proto_version(c, TLS1_2_VERSION) && SSL_CTX_set_cipher_list(c, CIPHERS) &&
           SSL_CTX_set1_groups_list(c, groups);
}

int tls_client_new(struct tls_client **ret, struct err *e)
{
    /* The process may have no files: nothing is to be looked for. */
    if (!OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL))
        return refused(e, "open");
    AUTO(tls_client) struct tls_client *t = xcalloc(1, sizeof *t);
    buf_init(&t->say, SAY_BYTES_MAX);
    t->context = SSL_CTX_new(TLS_client_method());
    if (!t->context || !context_set(t->context))
        return refused(e, "open");
    t->ssl = SSL_new(t->context);
    BIO *in = BIO_new(BIO_s_mem()), *out = BIO_new(BIO_s_mem());
    if (!t->ssl || !in || !out) {
        BIO_free(in);
        BIO_free(out);
        return refused(e, "open");
    }
    (void)BIO_set_mem_eof_return(in, -1); /* empty is not the end: more may come */
    SSL_set_bio(t->ssl, in, out);
    SSL_set_connect_state(t->ssl);
    t->from_wire = in;
    t->to_wire = out;
    *ret = TAKE(t);
    return 0;
}

void tls_client_free(struct tls_client *t)
{
    if (!t)
        return;
    SSL_free(t->ssl);
    SSL_CTX_free(t->context);
    buf_done(&t->say);
    free(t);
}

void tls_client_say(struct tls_client *t, struct str text) { buf_str_append(&t->say, text); }

static void send_what_is_there(struct tls_client *t, struct buf *out)
{
    char piece[PIECE_BYTES];
    int n;
    while ((n = BIO_read(t->to_wire, piece, sizeof piece)) > 0)
        buf_append(out, piece, (size_t)n);
}

/* True: it only waits for bytes from the wire. */
static bool waits(const struct tls_client *t, int result)
{
    return SSL_get_error(t->ssl, result) == SSL_ERROR_WANT_READ;
}

static int say_it(struct tls_client *t, struct err *e)
{
    if (t->say.size == 0)
        return 0;
    int n = SSL_write(t->ssl, buf_at(&t->say), (int)t->say.size); /* a memory BIO takes it whole */
    if (n <= 0)
        return refused(e, "write");
    buf_consume(&t->say, (size_t)n);
    return 0;
}

static int hear(struct tls_client *t, struct buf *said, struct err *e)
{
    char piece[PIECE_BYTES];
    for (;;) {
        int n = SSL_read(t->ssl, piece, sizeof piece);
        if (n > 0) {
            buf_append(said, piece, (size_t)n);
            continue;
        }
        if (SSL_get_error(t->ssl, n) == SSL_ERROR_ZERO_RETURN)
            return 1;
        return waits(t, n) ? 0 : refused(e, "read");
    }
}

int tls_client_turn(struct tls_client *t, struct str in, struct buf *out, struct buf *said, struct err *e)
{
    ERR_clear_error(); /* what another session left is not ours */
    if (t->say.overflow)
        return err_set(e, CODE_EXHAUSTED, "tls: more to say than %d bytes", (int)SAY_BYTES_MAX);
    if (in.size > 0 && BIO_write(t->from_wire, in.at, (int)in.size) != (int)in.size)
        return refused(e, "read");
    int r = 0, shaken = SSL_is_init_finished(t->ssl) ? 1 : SSL_do_handshake(t->ssl);
    if (shaken == 1) {
        r = say_it(t, e);
        if (r == 0)
            r = hear(t, said, e);
    } else if (!waits(t, shaken)) {
        r = refused(e, "handshake");
    }
    send_what_is_there(t, out);
    return r >= 0 && (out->overflow || said->overflow)
               ? err_set(e, CODE_EXHAUSTED, "tls: more than there is room for")
               : r;
}
