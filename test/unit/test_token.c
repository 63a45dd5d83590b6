#include "node/token.h"
#include "os/fault.h"
#include "tap.h"

#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"

struct folder {
    char path[64], file[96];
};

static void folder_make(struct folder *f)
{
    snprintf(f->path, sizeof f->path, "/tmp/hob-token-XXXXXX");
    ASSERT(mkdtemp(f->path));
    snprintf(f->file, sizeof f->file, "%s/" TOKEN_FILE, f->path);
}

static size_t folder_count(const struct folder *f)
{
    size_t count = 0;
    DIR *dir = opendir(f->path);
    ASSERT(dir);
    for (const struct dirent *d; (d = readdir(dir));)
        count += d->d_name[0] != '.';
    closedir(dir);
    return count;
}

static void folder_end(struct folder *f)
{
    char part[128];
    snprintf(part, sizeof part, "%s.part", f->file);
    unlink(part);
    unlink(f->file);
    CHECK_EQ(rmdir(f->path), 0);
}

static void file_write(const struct folder *f, const char *text, mode_t mode)
{
    FILE *out = fopen(f->file, "w");
    ASSERT(out && fputs(text, out) >= 0 && fclose(out) == 0 && chmod(f->file, mode) == 0);
}

TEST(the_first_start_makes_a_token_that_stays_and_that_only_its_owner_reads)
{
    struct folder f, g;
    struct err e = { 0 };
    char first[TOKEN_TEXT], again[TOKEN_TEXT], other[TOKEN_TEXT];
    struct stat st;
    folder_make(&f);
    folder_make(&g);
    CHECK_EQ(token_load(f.path, first, &e), 0);
    CHECK_EQ(strlen(first), 64);
    CHECK_EQ(strspn(first, "0123456789abcdef"), 64);
    CHECK_EQ(stat(f.file, &st), 0);
    CHECK_EQ(st.st_mode & 07777, 0600);
    CHECK_EQ(st.st_size, 65);
    CHECK_EQ(folder_count(&f), 1);
    CHECK_EQ(token_load(f.path, again, &e), 0);
    CHECK_STR(again, first);
    CHECK_EQ(token_load(g.path, other, &e), 0);
    CHECK(strcmp(first, other) != 0);
    folder_end(&f);
    folder_end(&g);
}

TEST(an_operators_own_token_is_taken_but_not_one_that_others_read)
{
    struct folder f;
    struct err e = { 0 };
    char got[TOKEN_TEXT];
    folder_make(&f);
    file_write(&f, "my-own-token-of-thirty-two-bytes\n", 0600);
    CHECK_EQ(token_load(f.path, got, &e), 0);
    CHECK_STR(got, "my-own-token-of-thirty-two-bytes");
    CHECK_EQ(chmod(f.file, 0640), 0);
    CHECK_EQ(token_load(f.path, got, &e), -CODE_PRECONDITION);
    CHECK(strstr(e.text, "mode 640"));
    CHECK_EQ(unlink(f.file), 0);
    CHECK_EQ(symlink("/etc/hostname", f.file), 0);
    CHECK(token_load(f.path, got, &e) < 0);
    folder_end(&f);
}

TEST(whatever_fails_no_half_token_is_in_its_place)
{
    for (int nth = 1;; nth++) {
        struct folder f;
        struct err e = { 0 };
        char got[TOKEN_TEXT], again[TOKEN_TEXT];
        folder_make(&f);
        fault_arm(nth);
        int r = token_load(f.path, got, &e);
        bool fired = fault_fired();
        fault_arm(0);
        struct stat st;
        if (r < 0) {
            CHECK(e.text[0] && access(f.file, F_OK) != 0);
        } else {
            CHECK_EQ(stat(f.file, &st), 0);
            CHECK_EQ(st.st_size, 65);
        }
        CHECK_EQ(token_load(f.path, again, &e), 0);
        folder_end(&f);
        if (!fired) {
            CHECK(nth > 5);
            return;
        }
    }
}

TEST_MAIN()
