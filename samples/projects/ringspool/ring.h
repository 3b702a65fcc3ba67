#ifndef RING_H
#define RING_H

#include <stddef.h>

/* A ring buffer of bytes. Not thread-safe. */
struct ring {
    unsigned char *data;
    size_t size;  /* bytes allocated */
    size_t head;  /* index of the oldest byte */
    size_t count; /* bytes stored */
};

/* 0, or -1 when there is no memory or size is 0. */
int ring_init(struct ring *r, size_t size);
void ring_free(struct ring *r);

size_t ring_space(const struct ring *r);

/* Stores as many bytes as there is space for; returns how many. */
size_t ring_write(struct ring *r, const void *bytes, size_t n);

/* Stores all bytes, dropping the oldest ones; of more than `size` bytes the last ones stay. */
void ring_push(struct ring *r, const void *bytes, size_t n);

/* Copies the oldest bytes out, without and with taking them; returns how many. */
size_t ring_peek(const struct ring *r, void *out, size_t n);
size_t ring_read(struct ring *r, void *out, size_t n);

/* Drops the n oldest bytes; returns how many there were. */
size_t ring_drop(struct ring *r, size_t n);

/* Distance of the first such byte from the oldest one, or -1. */
long ring_find(const struct ring *r, unsigned char byte);

#endif
