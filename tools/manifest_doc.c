/* Prints docs/reference/manifest.md from the tables that decode a manifest; with a file as argument,
 * says whether that file is what it would print (0) or not (1). */
#include "serving/service.h"

#include <stdio.h>
#include <stdlib.h>

static bool same(FILE *a, FILE *b)
{
    int x, y;
    do {
        x = fgetc(a);
        y = fgetc(b);
    } while (x == y && x != EOF);
    return x == y;
}

int main(int argc, char **argv)
{
    if (argc < 2) {
        service_document(stdout);
        return 0;
    }
    FILE *kept = fopen(argv[1], "re"), *made = tmpfile();
    if (!kept || !made)
        return 2;
    service_document(made);
    rewind(made);
    if (same(kept, made))
        return 0;
    fprintf(stderr, "%s is not what the tables say; run: %s >%s\n", argv[1], argv[0], argv[1]);
    return 1;
}
