#include "artifact/tree.h"
#include "tap.h"

#define HEX "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
#define HEAD "hob-tree-1\n"

static int add(struct tree *t, enum tree_type type, const char *path, const char *target)
{
    struct err e;
    struct tree_entry f = { .type = type, .path = (char *)(uintptr_t)path, .target = (char *)(uintptr_t)target };
    return tree_add(t, &f, &e);
}

TEST(one_folder_has_one_text_whatever_the_order_it_was_read_in)
{
    static const char want[] = HEAD "d\t0555\ta\nf\t0444\t0\t" HEX "\ta-b\nf\t0555\t7\t" HEX "\ta/z\n"
                                    "l\t0777\ta/z\tlink\n";
    struct err e;
    for (int turn = 0; turn < 4; turn++) {
        AUTO(tree) struct tree t, back;
        struct buf text;
        tree_init(&t, 10);
        tree_init(&back, 10);
        for (int i = 0; i < 4; i++) {
            struct tree_entry f = { 0 };
            (void)!digest_parse(STR(HEX), &f.digest, &e);
            switch ((i + turn) % 4) {
            case 0: f.type = TREE_DIR, f.path = (char *)(uintptr_t) "a"; break;
            case 1: f.type = TREE_FILE, f.path = (char *)(uintptr_t) "a-b"; break;
            case 2: f.type = TREE_FILE, f.path = (char *)(uintptr_t) "a/z", f.size = 7, f.executable = true; break;
            default: f.type = TREE_LINK, f.path = (char *)(uintptr_t) "link", f.target = (char *)(uintptr_t) "a/z"; break;
            }
            CHECK_EQ(tree_add(&t, &f, &e), 0);
        }
        CHECK_EQ(tree_sort(&t, &e), 0);
        CHECK_EQ(t.file_bytes, 7);
        buf_init(&text, tree_text_max(10));
        tree_format(&t, &text);
        CHECK(str_is(buf_str(&text), want));
        CHECK_EQ(tree_parse(buf_str(&text), 10, &back, &e), 0);
        CHECK_EQ(back.count, 4);
        buf_done(&text);
    }
}

static const struct {
    const char *text, *why;
} refused[] = {
    { "", "empty" },
    { "hob-tree-2\n", "another version" },
    { HEAD "d\t0555\ta", "cut end" },
    { HEAD "\n", "empty line" },
    { HEAD "d\t0555\tb\nd\t0555\ta\n", "out of order" },
    { HEAD "d\t0555\ta\nd\t0555\ta\n", "twice" },
    { HEAD "d\t0755\ta\n", "another mode of a folder" },
    { HEAD "f\t0644\t0\t" HEX "\ta\n", "a writable file" },
    { HEAD "f\t0444\t00\t" HEX "\ta\n", "two texts for zero" },
    { HEAD "f\t0444\t-1\t" HEX "\ta\n", "negative" },
    { HEAD "f\t0444\t\t" HEX "\ta\n", "no size" },
    { HEAD "f\t0444\t0\tsha256:E3" "\ta\n", "short digest" },
    { HEAD "f\t0444\t0\t" HEX "\t\n", "no name" },
    { HEAD "f\t0444\t0\t" HEX "\ta\tb\n", "a tab in a name" },
    { HEAD "f\t0444\t0\t" HEX "\t/a\n", "absolute" },
    { HEAD "f\t0444\t0\t" HEX "\ta/../b\n", "dot dot" },
    { HEAD "f\t0444\t0\t" HEX "\t..\n", "only dot dot" },
    { HEAD "d\t0555\ta/\n", "slash at the end" },
    { HEAD "f\t0444\t0\t" HEX "\ta/b\n", "no such parent" },
    { HEAD "f\t0444\t0\t" HEX "\ta\nf\t0444\t0\t" HEX "\ta/b\n", "below a file" },
    { HEAD "l\t0777\tx\ta\nf\t0444\t0\t" HEX "\ta/b\n", "below a symlink" },
    { HEAD "l\t0777\t/etc\ta\n", "absolute target" },
    { HEAD "l\t0777\t\ta\n", "empty target" },
    { HEAD "x\t0555\ta\n", "no such type" },
    { HEAD "f\t0444\t18446744073709551615\t" HEX "\ta\nf\t0444\t1\t" HEX "\tb\n", "sizes overflow" },
};

TEST(a_manifest_in_any_other_form_is_refused)
{
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        struct tree t = { .count = 77 };
        struct err e;
        int r = tree_parse(str_of(refused[i].text), 10, &t, &e);
        if (r != -CODE_INVALID || t.count != 77)
            FAIL("%s: r=%d", refused[i].why, r);
    }
    static const char nul[] = HEAD "d\t0555\ta\0b\n";
    struct tree t;
    struct err e;
    CHECK_EQ(tree_parse((struct str){ nul, sizeof nul - 1 }, 10, &t, &e), -CODE_INVALID);
}

TEST(bounds_of_a_tree_hold)
{
    AUTO(tree) struct tree t;
    char path[TREE_PATH_MAX + 2], deep[2 * TREE_DEPTH_MAX + 2];
    tree_init(&t, 2);
    memset(path, 'a', sizeof path);
    path[TREE_PATH_MAX + 1] = '\0';
    CHECK_EQ(add(&t, TREE_DIR, path, NULL), -CODE_INVALID);
    path[TREE_PATH_MAX] = '\0';
    CHECK_EQ(add(&t, TREE_DIR, path, NULL), 0);
    for (size_t i = 0; i < sizeof deep - 1; i++)
        deep[i] = i % 2 ? '/' : 'd';
    deep[2 * TREE_DEPTH_MAX + 1] = '\0';
    CHECK_EQ(add(&t, TREE_DIR, deep, NULL), -CODE_INVALID); /* one level too many */
    deep[2 * TREE_DEPTH_MAX - 1] = '\0';
    CHECK_EQ(add(&t, TREE_DIR, deep, NULL), 0);
    CHECK_EQ(add(&t, TREE_DIR, "third", NULL), -CODE_EXHAUSTED);
    CHECK_EQ(t.count, 2);
}

TEST_MAIN()
