/* A TLS client against OpenSSL's own server, both without I/O: bytes are carried in pieces of every size. */
#include "net/tls_client.h"
#include "tap.h"

#include <openssl/evp.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

static SSL_CTX *server_context(EVP_PKEY *key)
{
    SSL_CTX *c = SSL_CTX_new(TLS_server_method());
    X509 *cert = X509_new();
    X509_set_version(cert, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
    X509_gmtime_adj(X509_getm_notBefore(cert), 0);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_sign(cert, key, EVP_sha256());
    SSL_CTX_use_certificate(c, cert);
    SSL_CTX_use_PrivateKey(c, key);
    X509_free(cert);
    EVP_PKEY_free(key);
    return c;
}

struct pair {
    SSL_CTX *context;
    SSL *server;
    BIO *in, *out;
    struct tls_client *client;
    struct buf said, heard;
    int end; /* what the last turn of the client answered */
};

static void pair_open_with(struct pair *p, int version, EVP_PKEY *take_key)
{
    struct err e;
    *p = (struct pair){ .context = server_context(take_key), .in = BIO_new(BIO_s_mem()), .out = BIO_new(BIO_s_mem()) };
    if (version)
        SSL_CTX_set_max_proto_version(p->context, version);
    p->server = SSL_new(p->context);
    BIO_set_mem_eof_return(p->in, -1);
    SSL_set_bio(p->server, p->in, p->out);
    SSL_set_accept_state(p->server);
    buf_init(&p->said, 64 * 1024);
    buf_init(&p->heard, 64 * 1024);
    CHECK_EQ(tls_client_new(&p->client, &e), 0);
}

static void pair_open(struct pair *p, int version) { pair_open_with(p, version, EVP_EC_gen("P-256")); }

static void pair_close(struct pair *p)
{
    tls_client_free(p->client);
    SSL_free(p->server);
    SSL_CTX_free(p->context);
    buf_done(&p->said);
    buf_done(&p->heard);
}

/* Carries what there is both ways; at most `piece` bytes to the client at once. False: nothing moved. */
static bool carry(struct pair *p, size_t piece, struct err *e)
{
    char bytes[4096];
    struct buf out;
    int n = BIO_read(p->out, bytes, (int)MIN(piece, sizeof bytes));
    buf_init(&out, 64 * 1024);
    p->end = tls_client_turn(p->client, (struct str){ bytes, n > 0 ? (size_t)n : 0 }, &out, &p->said, e);
    bool moved = n > 0 || out.size > 0;
    if (out.size > 0)
        BIO_write(p->in, buf_at(&out), (int)out.size);
    buf_done(&out);
    while ((n = SSL_read(p->server, bytes, sizeof bytes)) > 0)
        buf_append(&p->heard, bytes, (size_t)n);
    return moved;
}

TEST(a_client_says_and_hears_through_pieces_of_every_size)
{
    static const size_t pieces[] = { 1, 7, 4096 };
    static const int versions[] = { 0, TLS1_2_VERSION };
    for (size_t i = 0; i < COUNT_OF(pieces) * COUNT_OF(versions); i++) {
        struct pair p;
        struct err e;
        pair_open(&p, versions[i % 2]);
        tls_client_say(p.client, STR("ask me"));
        while (carry(&p, pieces[i / 2], &e))
            CHECK_EQ(p.end, 0);
        CHECK(str_is(buf_str(&p.heard), "ask me"));
        SSL_write(p.server, "an answer", 9);
        SSL_shutdown(p.server);
        while (carry(&p, pieces[i / 2], &e))
            CHECK(p.end >= 0);
        CHECK(str_is(buf_str(&p.said), "an answer"));
        CHECK_EQ(p.end, 1);
        pair_close(&p);
    }
}

TEST(what_is_not_tls_is_refused_with_a_reason)
{
    struct pair p;
    struct err e;
    struct buf out, said;
    pair_open(&p, 0);
    buf_init(&out, 4096);
    buf_init(&said, 4096);
    CHECK_EQ(tls_client_turn(p.client, STR(""), &out, &said, &e), 0);
    CHECK(out.size > 0);
    CHECK_EQ(tls_client_turn(p.client, STR("HTTP/1.1 400 Bad Request\r\n\r\n"), &out, &said, &e), -CODE_UNAVAILABLE);
    CHECK(strstr(e.text, "tls: handshake: wrong version number"));
    buf_done(&out);
    buf_done(&said);
    pair_close(&p);
}

TEST(an_old_protocol_is_refused)
{
    struct pair p;
    struct err e;
    pair_open(&p, TLS1_1_VERSION);
    SSL_set_security_level(p.server, 0);
    SSL_set_cipher_list(p.server, "ALL:@SECLEVEL=0");
    tls_client_say(p.client, STR("ask me"));
    while (carry(&p, 4096, &e) && p.end >= 0)
        ;
    CHECK(p.end < 0);
    CHECK_EQ(p.heard.size, 0);
    pair_close(&p);
}

/* Nothing comes of it: not even the request. */
static void check_refused(struct pair *p)
{
    struct err e;
    tls_client_say(p->client, STR("ask me"));
    while (carry(p, 4096, &e) && p->end >= 0)
        ;
    CHECK_EQ(p->heard.size, 0);
    CHECK_EQ(SSL_is_init_finished(p->server), 0);
    pair_close(p);
}

TEST(numbers_that_the_peer_picks_are_not_computed_with)
{
    struct pair p;
    char groups[] = "ffdhe8192";
    pair_open_with(&p, TLS1_2_VERSION, EVP_RSA_gen(2048));
    SSL_set_dh_auto(p.server, 1);
    SSL_set_cipher_list(p.server, "DHE-RSA-AES128-GCM-SHA256");
    check_refused(&p);
    pair_open(&p, 0);
    SSL_set1_groups_list(p.server, groups);
    check_refused(&p);
}

/* The client's greetings. */
static void on_server_message(int sent, int version, int type, const void *at, size_t size, SSL *s, void *greetings)
{
    enum { CLIENT_HELLO = 1 };
    (void)version;
    (void)s;
    *(int *)greetings += !sent && type == SSL3_RT_HANDSHAKE && size > 0 && *(const unsigned char *)at == CLIENT_HELLO;
}

TEST(a_session_is_negotiated_once)
{
    struct pair p;
    struct err e;
    int greetings = 0;
    pair_open(&p, TLS1_2_VERSION);
    SSL_set_msg_callback(p.server, on_server_message);
    SSL_set_msg_callback_arg(p.server, &greetings);
    tls_client_say(p.client, STR("ask me"));
    while (carry(&p, 4096, &e))
        ;
    CHECK_EQ(greetings, 1);
    SSL_renegotiate(p.server);
    SSL_do_handshake(p.server);
    while (carry(&p, 4096, &e) && p.end >= 0)
        ;
    CHECK_EQ(greetings, 1);
    pair_close(&p);
}

TEST(what_does_not_fit_is_refused)
{
    struct pair p;
    struct err e;
    pair_open(&p, 0);
    buf_done(&p.said);
    buf_init(&p.said, 4);
    tls_client_say(p.client, STR("ask me"));
    while (carry(&p, 4096, &e))
        ;
    SSL_write(p.server, "an answer", 9);
    carry(&p, 4096, &e);
    CHECK_EQ(p.end, -CODE_EXHAUSTED);
    pair_close(&p);
}

TEST_MAIN()
