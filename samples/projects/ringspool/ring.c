#include "ring.h"

#include <stdlib.h>
#include <string.h>

static size_t min(size_t a, size_t b)
{
    return a < b ? a : b;
}

int ring_init(struct ring *r, size_t size)
{
    r->data = size ? malloc(size) : NULL;
    r->size = size;
    r->head = r->count = 0;
    return r->data ? 0 : -1;
}

void ring_free(struct ring *r)
{
    free(r->data);
    r->data = NULL;
    r->size = r->head = r->count = 0;
}

size_t ring_space(const struct ring *r)
{
    return r->size - r->count;
}

size_t ring_write(struct ring *r, const void *bytes, size_t n)
{
    size_t tail = (r->head + r->count) % r->size;
    size_t first;

    n = min(n, ring_space(r));
    first = min(n, r->size - tail); /* up to the end of the memory, the rest from its start */
    memcpy(r->data + tail, bytes, first);
    memcpy(r->data, (const unsigned char *)bytes + first, n - first);
    r->count += n;
    return n;
}

void ring_push(struct ring *r, const void *bytes, size_t n)
{
    n = min(n, r->size);
    if (n > ring_space(r))
        ring_drop(r, n - ring_space(r));
    ring_write(r, bytes, n);
}

size_t ring_peek(const struct ring *r, void *out, size_t n)
{
    size_t first;

    n = min(n, r->count);
    first = min(n, r->size - r->head);
    memcpy(out, r->data + r->head, first);
    memcpy((unsigned char *)out + first, r->data, n - first);
    return n;
}

size_t ring_read(struct ring *r, void *out, size_t n)
{
    return ring_drop(r, ring_peek(r, out, n));
}

size_t ring_drop(struct ring *r, size_t n)
{
    n = min(n, r->count);
    r->head = (r->head + n) % r->size;
    r->count -= n;
    return n;
}

long ring_find(const struct ring *r, unsigned char byte)
{
    size_t length = min(r->count, r->size - r->head);
    const unsigned char *found = memchr(r->data + r->head, byte, length);

    return found ? (long)(found - (r->data + r->head)) : -1;
}
