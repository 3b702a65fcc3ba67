/* Reading vaults; docs/format.md has the format. */
#ifndef VAULT_H
#define VAULT_H

#include <stddef.h>
#include <stdint.h>

#define VAULT_HEADER 24
#define REV_WITHDRAWN 1

struct record {
    uint8_t type;       /* 'N', 'F', 'D', 'T' */
    size_t start;       /* where the body starts in data */
    size_t length;      /* of the body */
    size_t index;       /* id of a name, ordinal of a revision */
};

struct revision {
    uint8_t flags;
    uint64_t name;      /* id */
    uint64_t time;
    int64_t base;       /* ordinal of the base; -1: stored in full */
    uint64_t length;    /* of the content */
    size_t start, end;  /* of the content ('F') or the operations ('D') in data */
};

struct vault {
    uint8_t *data;
    size_t size;        /* committed length */
    struct record *records;
    size_t nrecords;
    struct revision *revisions;
    size_t nrevisions;
    struct record *names;
    size_t nnames;
};

struct op {
    uint8_t kind;       /* 'C', 'S', 'I' */
    uint64_t offset;    /* in the base, in the content; of a literal: in data */
    uint64_t length;
};

/* Reads and checks a whole vault. NULL, or what is wrong with it. */
const char *vault_load(struct vault *v, const char *path);
void vault_free(struct vault *v);

/* The content of a revision, from malloc. */
uint8_t *vault_content(const struct vault *v, size_t ordinal);

/* These two: 1 if one was read, 0 if not. */
int get_varint(const uint8_t *data, size_t *at, size_t end, uint64_t *value);
int get_op(const uint8_t *data, size_t *at, size_t end, struct op *op);

uint32_t crc32_of(const uint8_t *data, size_t length);
uint64_t chain_of(uint64_t chain, uint32_t crc);

#endif
