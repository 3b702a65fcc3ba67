#include "../ring.h"

#include <stdio.h>
#include <string.h>

static int failures;

static void check(int good, const char *name)
{
    printf("%s %s\n", good ? "ok" : "not ok", name);
    failures += !good;
}

/* Whether the ring holds exactly this text. */
static int holds(const struct ring *r, const char *text)
{
    char out[64];
    size_t n = ring_peek(r, out, sizeof out);

    return n == strlen(text) && memcmp(out, text, n) == 0;
}

int main(void)
{
    struct ring r;
    char out[8];

    check(ring_init(&r, 0) == -1, "init_refuses_zero");
    ring_init(&r, 8);
    check(ring_write(&r, "abcdef", 6) == 6 && holds(&r, "abcdef"), "write");
    check(ring_write(&r, "ghijk", 5) == 2 && holds(&r, "abcdefgh"), "write_stops_when_full");
    check(ring_read(&r, out, 3) == 3 && memcmp(out, "abc", 3) == 0, "read");
    check(ring_write(&r, "XY", 2) == 2 && holds(&r, "defghXY"), "write_wraps");
    check(ring_find(&r, 'f') == 2, "find");
    check(ring_find(&r, 'q') == -1, "find_nothing");
    ring_push(&r, "123", 3);
    check(holds(&r, "fghXY123"), "push_drops_the_oldest");
    check(ring_drop(&r, 100) == 8 && r.count == 0, "drop_all");
    ring_free(&r);
    return failures != 0;
}
