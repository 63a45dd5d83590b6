#include "artifact/hasher.h"

#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

struct hasher {
    EVP_MD_CTX *whole, *leaf;
    uint64_t leaf_fill; /* bytes in the open leaf; < LEAF_BYTES */
    struct digest *leaves;
    size_t leaf_count, leaf_capacity;
};

/* OpenSSL fails here only without memory or without SHA-256: neither leaves anything to do. */
static void begin(EVP_MD_CTX *c)
{
    int ok = EVP_DigestInit_ex(c, EVP_sha256(), NULL);
    ASSERT(ok == 1);
}

static struct digest finish(EVP_MD_CTX *c)
{
    struct digest d;
    unsigned size = 0;
    int ok = EVP_DigestFinal_ex(c, d.at, &size);
    ASSERT(ok == 1 && size == sizeof d.at);
    return d;
}

static void leaf_close(struct hasher *d)
{
    if (d->leaf_count == d->leaf_capacity) {
        d->leaf_capacity = d->leaf_capacity ? d->leaf_capacity * 2 : 16;
        d->leaves = xrealloc(d->leaves, d->leaf_capacity, sizeof *d->leaves);
    }
    d->leaves[d->leaf_count++] = finish(d->leaf);
    begin(d->leaf);
    d->leaf_fill = 0;
}

struct hasher *hasher_new(void)
{
    struct hasher *d = xcalloc(1, sizeof *d);
    d->whole = EVP_MD_CTX_new();
    d->leaf = EVP_MD_CTX_new();
    ASSERT(d->whole && d->leaf);
    begin(d->whole);
    begin(d->leaf);
    return d;
}

void hasher_free(struct hasher *d)
{
    if (!d)
        return;
    EVP_MD_CTX_free(d->whole);
    EVP_MD_CTX_free(d->leaf);
    free(d->leaves);
    free(d);
}

void hasher_clear(struct hasher *d)
{
    begin(d->whole);
    begin(d->leaf);
    d->leaf_fill = 0;
    d->leaf_count = 0;
}

void hasher_add(struct hasher *d, const void *data, size_t size)
{
    const uint8_t *at = data;
    while (size > 0) {
        size_t n = MIN(size, LEAF_BYTES - d->leaf_fill);
        int ok = EVP_DigestUpdate(d->whole, at, n) & EVP_DigestUpdate(d->leaf, at, n);
        ASSERT(ok == 1);
        d->leaf_fill += n;
        if (d->leaf_fill == LEAF_BYTES)
            leaf_close(d);
        at += n;
        size -= n;
    }
}

struct digest hasher_end(struct hasher *d)
{
    if (d->leaf_fill > 0)
        leaf_close(d);
    struct digest whole = finish(d->whole);
    begin(d->whole);
    return whole;
}

const struct digest *hasher_leaves(const struct hasher *d, size_t *ret_count)
{
    *ret_count = d->leaf_count;
    return d->leaves;
}

struct digest hasher_of(const void *data, size_t size)
{
    struct digest d;
    int ok = EVP_Digest(data, size, d.at, NULL, EVP_sha256(), NULL);
    ASSERT(ok == 1);
    return d;
}
