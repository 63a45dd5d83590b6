#include "artifact/ingest.h"
#include "artifact/ref.h"
#include "os/fault.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct ingest {
    struct cas *cas;
    const struct limits *limits;
    int fd, stop_fd;
    char hex[DIGEST_HEX], part[CAS_NAME], note[CAS_NAME];
    struct hasher *stream;
    _Atomic uint64_t held;  /* written and hashed */
    _Atomic uint64_t received;
    uint64_t reserved;      /* counted in the store: at least `held` */
    uint64_t flushed;       /* write-out begun up to here */
    int64_t size;           /* -1: not known */
    bool resumed, over;     /* over: committed or dropped */
    char url[REF_BYTES_MAX + 1], etag[128];
    char *block;
};

#define BLOCK_BYTES  MIB(1)
#define GROWTH_BYTES MIB(64) /* room taken at a time where the size is not known */
#define FLUSH_BYTES  MIB(16) /* write-out begins early, so that the last sync is short */

/* ---- the note beside the part ------------------------------------------------------------ */

static void note_parse(struct ingest *in, struct str text)
{
    struct str url, etag, size;
    uint64_t bytes = 0;
    if (!str_is(str_cut(&text, '\n'), "hob-part-1"))
        return;
    url = str_cut(&text, '\n');
    etag = str_cut(&text, '\n');
    size = str_cut(&text, '\n');
    if (url.size >= sizeof in->url || etag.size >= sizeof in->etag)
        return;
    memcpy(in->url, url.at, url.size);
    memcpy(in->etag, etag.at, etag.size);
    if (str_u64(size, &bytes) && bytes <= INT64_MAX)
        in->size = (int64_t)bytes;
}

static void note_load(struct ingest *in)
{
    char text[1024];
    AUTO_CLOSE int fd = openat(cas_ingest_fd(in->cas), in->note, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof text);
    if (n > 0)
        note_parse(in, (struct str){ text, (size_t)n });
}

/* Not synced: after a crash a missing note costs a validator, not the part. */
static int note_save(struct ingest *in, struct err *e)
{
    int at = cas_ingest_fd(in->cas);
    char temporary[CAS_NAME];
    cas_name_new(".tmp", temporary);
    AUTO_FREE char *text = xasprintf("hob-part-1\n%s\n%s\n%lld\n", in->url, in->etag, (long long)in->size);
    AUTO_CLOSE int fd = fault_hit("open") ? -1
                                          : openat(at, temporary,
                                                   O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return err_sys(e, "write %s", in->note);
    if (fault_hit("write") || write(fd, text, strlen(text)) != (ssize_t)strlen(text) ||
        renameat(at, temporary, at, in->note) < 0) {
        err_sys(e, "write %s", in->note);
        (void)unlinkat(at, temporary, 0);
        return -(int)e->code;
    }
    return 0;
}

/* ---- opening ----------------------------------------------------------------------------- */

static bool stopped(const struct ingest *in)
{
    struct pollfd p = { in->stop_fd, POLLIN, 0 };
    return in->stop_fd >= 0 && poll(&p, 1, 0) > 0;
}

/* Hashes what an earlier run left. Stopped in the middle, the part stays as it was. */
static int part_rehash(struct ingest *in, uint64_t bytes, struct err *e)
{
    uint64_t held = 0;
    while (held < bytes) {
        if (stopped(in)) {
            in->over = true;
            return err_set(e, CODE_CANCELLED, "%s: stopped", in->part);
        }
        ssize_t n = fault_hit("read") ? -1
                                      : pread(in->fd, in->block, MIN(BLOCK_BYTES, bytes - held), (off_t)held);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(e, "read %s", in->part);
        if (n == 0)
            break;
        hasher_add(in->stream, in->block, (size_t)n);
        held += (uint64_t)n;
    }
    atomic_store(&in->held, held);
    in->resumed = held > 0;
    return 0;
}

int ingest_open(struct cas *c, const struct limits *limits, const char *hex, int stop_fd,
                struct ingest **ret, struct err *e)
{
    AUTO(ingest) struct ingest *in = xcalloc(1, sizeof *in);
    struct stat st;
    in->cas = c;
    in->limits = limits;
    in->fd = -1;
    in->stop_fd = stop_fd;
    in->size = -1;
    in->over = true; /* until there is a part that could be kept */
    in->stream = hasher_new();
    in->block = xcalloc(1, BLOCK_BYTES);
    snprintf(in->hex, sizeof in->hex, "%s", hex);
    snprintf(in->part, sizeof in->part, "%s.part", hex);
    snprintf(in->note, sizeof in->note, "%s.origin", hex);

    in->fd = fault_hit("open") ? -1
                               : openat(cas_ingest_fd(c), in->part,
                                        O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (in->fd < 0)
        return err_sys(e, "open %s", in->part);
    if (fstat(in->fd, &st) < 0)
        return err_sys(e, "stat %s", in->part);
    in->over = false;
    in->reserved = (uint64_t)st.st_size; /* counted by the scan, or by the run that left it */
    note_load(in);
    int r = part_rehash(in, (uint64_t)st.st_size, e);
    if (r < 0)
        return r;
    in->flushed = atomic_load(&in->held);
    *ret = TAKE(in);
    return 0;
}

void ingest_free(struct ingest *in)
{
    if (!in)
        return;
    if (!in->over) { /* reserved blocks behind the held bytes go back to the disk */
        uint64_t held = atomic_load(&in->held);
        struct stat st;
        if (held == 0)
            ingest_drop(in);
        else if (fstat(in->fd, &st) == 0 && (uint64_t)st.st_size >= held &&
                 ftruncate(in->fd, (off_t)held) == 0)
            cas_room_give(in->cas, in->reserved - held);
    }
    fd_auto(&in->fd);
    hasher_free(in->stream);
    free(in->block);
    free(in);
}

uint64_t ingest_held(const struct ingest *in) { return atomic_load(&in->held); }
uint64_t ingest_received(const struct ingest *in) { return atomic_load(&in->received); }
bool ingest_resumed(const struct ingest *in) { return in->resumed; }
int64_t ingest_size(const struct ingest *in) { return in->size; }

const char *ingest_etag(const struct ingest *in, const char *url)
{
    return strcmp(in->url, url) == 0 ? in->etag : "";
}

/* ---- the origin speaks ------------------------------------------------------------------- */

/* If-Range takes strong validators only (RFC 9110, 13.1.5); nothing odd goes back into a header. */
static bool etag_usable(const char *etag)
{
    size_t size = strlen(etag);
    if (size < 2 || etag[0] != '"' || etag[size - 1] != '"')
        return false;
    for (size_t i = 1; i + 1 < size; i++)
        if ((unsigned char)etag[i] <= ' ' || etag[i] == '"' || (unsigned char)etag[i] >= 0x7f)
            return false;
    return true;
}

int ingest_announce(struct ingest *in, const char *url, const char *etag, int64_t size, struct err *e)
{
    snprintf(in->url, sizeof in->url, "%s", url);
    snprintf(in->etag, sizeof in->etag, "%s", etag_usable(etag) ? etag : "");
    in->size = size;
    return note_save(in, e);
}

int ingest_restart(struct ingest *in, struct err *e)
{
    if (fault_hit("truncate") || ftruncate(in->fd, 0) < 0)
        return err_sys(e, "truncate %s", in->part);
    cas_room_give(in->cas, in->reserved);
    in->reserved = in->flushed = 0;
    in->resumed = false;
    atomic_store(&in->held, 0);
    hasher_clear(in->stream);
    return 0;
}

/* ---- bytes ------------------------------------------------------------------------------- */

/* Takes room so that `want` more bytes can be written. 1: short. */
static int room_ensure(struct ingest *in, uint64_t want, uint64_t *ret_short, struct err *e)
{
    uint64_t held = atomic_load(&in->held);
    uint64_t end = in->size >= 0 ? (uint64_t)in->size : held + MAX(want, GROWTH_BYTES);
    if (in->reserved >= held + want || in->reserved >= end)
        return 0;
    int r = cas_room_take(in->cas, in->fd, in->reserved, end - in->reserved, ret_short, e);
    if (r == 0)
        in->reserved = end;
    return r;
}

static int block_write(struct ingest *in, size_t size, struct err *e)
{
    uint64_t held = atomic_load(&in->held);
    for (size_t done = 0; done < size;) {
        ssize_t n = fault_hit("write") ? -1
                                       : pwrite(in->fd, in->block + done, size - done, (off_t)(held + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == ENOSPC || errno == EDQUOT))
            return err_set(e, CODE_EXHAUSTED, "disk full after %llu bytes: %s",
                           (unsigned long long)(held + done), strerror(errno));
        if (n < 0)
            return err_sys(e, "write %s", in->part);
        done += (size_t)n;
    }
    hasher_add(in->stream, in->block, size);
    atomic_store(&in->held, held + size);
    if (held + size - in->flushed >= FLUSH_BYTES) {
        (void)sync_file_range(in->fd, (off_t)in->flushed, (off_t)(held + size - in->flushed),
                              SYNC_FILE_RANGE_WRITE);
        in->flushed = held + size;
    }
    return 0;
}

static int too_much_check(const struct ingest *in, uint64_t more, struct err *e)
{
    uint64_t end = atomic_load(&in->held) + more;
    if (in->size >= 0 && end > (uint64_t)in->size)
        return err_set(e, CODE_PRECONDITION, "the origin sent more than the %lld bytes it announced",
                       (long long)in->size);
    if (end > in->limits->artifact_bytes_max)
        return err_set(e, CODE_EXHAUSTED, "more than %llu bytes (limit artifact_bytes_max)",
                       (unsigned long long)in->limits->artifact_bytes_max);
    return 0;
}

/* > 0: bytes in the block; 0: the pipe ended, or we are to stop */
static ssize_t block_read(struct ingest *in, int pipe_fd, struct err *e)
{
    struct pollfd p[2] = { { pipe_fd, POLLIN, 0 }, { in->stop_fd, POLLIN, 0 } };
    for (;;) {
        if (poll(p, in->stop_fd >= 0 ? 2 : 1, -1) < 0) {
            if (errno == EINTR)
                continue;
            return err_sys(e, "wait for bytes");
        }
        if (in->stop_fd >= 0 && p[1].revents)
            return 0;
        ssize_t n = fault_hit("read") ? -1 : read(pipe_fd, in->block, BLOCK_BYTES);
        if (n >= 0)
            return n;
        if (errno != EINTR && errno != EAGAIN)
            return err_sys(e, "read the download's pipe");
    }
}

int ingest_take(struct ingest *in, int pipe_fd, uint64_t *ret_short, struct err *e)
{
    for (;;) {
        int r = room_ensure(in, BLOCK_BYTES, ret_short, e);
        if (r != 0)
            return r;
        ssize_t n = block_read(in, pipe_fd, e);
        if (n <= 0)
            return (int)n;
        atomic_fetch_add(&in->received, (uint64_t)n);
        r = too_much_check(in, (uint64_t)n, e);
        if (r == 0)
            r = block_write(in, (size_t)n, e);
        if (r < 0)
            return r;
    }
}

/* ---- the end ----------------------------------------------------------------------------- */

void ingest_drop(struct ingest *in)
{
    if (in->over)
        return;
    in->over = true;
    (void)unlinkat(cas_ingest_fd(in->cas), in->part, 0);
    (void)unlinkat(cas_ingest_fd(in->cas), in->note, 0);
    cas_room_give(in->cas, in->reserved);
}

int ingest_commit(struct ingest *in, struct err *e)
{
    char found[65];
    uint64_t held = atomic_load(&in->held);
    size_t leaf_count = 0;
    struct digest whole = hasher_end(in->stream);
    const struct digest *leaves = hasher_leaves(in->stream, &leaf_count);
    digest_hex(&whole, found);
    if (strcmp(found, in->hex) != 0) {
        ingest_drop(in);
        return err_set(e, CODE_DATA_LOSS, "expected sha256:%s, got sha256:%s (%llu bytes)", in->hex,
                       found, (unsigned long long)held);
    }
    /* cuts reserved blocks, and whatever a crashed run left behind the hashed bytes */
    if (fault_hit("truncate") || ftruncate(in->fd, (off_t)held) < 0) {
        err_sys(e, "truncate %s", in->part);
        ingest_drop(in);
        return -(int)e->code;
    }
    cas_room_give(in->cas, in->reserved - held);
    in->reserved = held;
    int r = cas_commit_blob(in->cas, in->part, in->fd, in->hex, leaves, leaf_count, e);
    if (r < 0) {
        ingest_drop(in);
        return r;
    }
    in->over = true;
    (void)unlinkat(cas_ingest_fd(in->cas), in->note, 0);
    return 0;
}
