/* model.h -- the weights, mapped from a file, and the score of a text under them.
 *
 * Receives the file's path and texts. Owns the mapping. Emits the three best labels with integer
 * scores; equal scores come in the order of the labels. Refuses a file that is not weights, or whose
 * header does not fit its size. The format is in ../README.md; ../python/handler.py is its twin.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

enum {
    MODEL_CLASSES_MAX = 1024,
    MODEL_BEST = 3,
    /* Longest text. A text of n bytes has at most (n + 1) / 2 words, which are hashed at most four
     * times each, so every sum stays below 2^31: see the assertion in model.c. */
    MODEL_TEXT_BYTES_MAX = 16384,
};

struct model {
    const int16_t *weights; /* buckets rows of `stride` */
    uint32_t mask, classes, stride;
    const char *labels[MODEL_CLASSES_MAX]; /* in the mapping, not terminated */
    uint8_t label_sizes[MODEL_CLASSES_MAX];
    const void *map;
    size_t map_size;
};

/* 0, or -1 with *ret_why set to a text that lives for ever. */
int model_open(struct model *m, const char *path, const char **ret_why);

struct model_best {
    uint32_t label;
    int32_t score;
};
/* Writes min(MODEL_BEST, classes) entries, best first; returns how many. */
size_t model_best(const struct model *m, const char *text, size_t size,
                  struct model_best ret[MODEL_BEST]);
