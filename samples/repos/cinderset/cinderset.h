/* A set of positive integers, open addressing. */
#ifndef CINDERSET_H
#define CINDERSET_H

#include <stddef.h>

typedef struct {
    unsigned *slots;   /* 0: free; a removed entry leaves REMOVED */
    size_t size, used;
} cinderset;

int cinderset_init(cinderset *set);
int cinderset_add(cinderset *set, unsigned number);
int cinderset_has(const cinderset *set, unsigned number);
int cinderset_remove(cinderset *set, unsigned number);
void cinderset_free(cinderset *set);

#endif
