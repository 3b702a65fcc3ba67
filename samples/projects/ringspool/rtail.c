/* rtail [N]: print the last N lines (10) of standard input, within the last 64 KiB. */
#include "ring.h"

#include <stdio.h>
#include <stdlib.h>

#define KEPT (64 * 1024)

/* Number of newlines stored. */
static long count_lines(const struct ring *r)
{
    long lines = 0;
    size_t i;

    for (i = 0; i < r->count; i++)
        lines += r->data[(r->head + i) % r->size] == '\n';
    return lines;
}

int main(int argc, char **argv)
{
    long wanted = argc > 1 ? strtol(argv[1], NULL, 10) : 10;
    unsigned char block[4096];
    struct ring r;
    size_t n;
    long lines;

    if (wanted < 0 || ring_init(&r, KEPT) != 0) {
        fprintf(stderr, "usage: rtail [N]\n");
        return 2;
    }
    while ((n = fread(block, 1, sizeof block, stdin)) > 0)
        ring_push(&r, block, n);

    for (lines = count_lines(&r); lines > wanted; lines--)
        ring_drop(&r, (size_t)ring_find(&r, '\n') + 1);
    while ((n = ring_read(&r, block, sizeof block)) > 0)
        fwrite(block, 1, n, stdout);
    ring_free(&r);
    return 0;
}
