#include "cinderset.h"

#include <stdlib.h>

#define REMOVED (~0u)

static size_t start(const cinderset *set, unsigned number)
{
    return (number * 2654435761u) & (set->size - 1);
}

int cinderset_init(cinderset *set)
{
    set->size = 8;
    set->used = 0;
    set->slots = calloc(set->size, sizeof *set->slots);
    return set->slots ? 0 : -1;
}

static int grow(cinderset *set)
{
    cinderset larger = {calloc(set->size * 2, sizeof *set->slots), set->size * 2, 0};
    if (!larger.slots)
        return -1;
    for (size_t i = 0; i < set->size; i++)
        if (set->slots[i] && set->slots[i] != REMOVED)
            cinderset_add(&larger, set->slots[i]);
    free(set->slots);
    *set = larger;
    return 0;
}

int cinderset_has(const cinderset *set, unsigned number)
{
    for (size_t i = start(set, number); set->slots[i]; i = (i + 1) & (set->size - 1))
        if (set->slots[i] == number)
            return 1;
    return 0;
}

int cinderset_add(cinderset *set, unsigned number)
{
    if (number == 0 || number == REMOVED)
        return -1;
    if (cinderset_has(set, number))
        return 0;
    if (set->used * 4 >= set->size * 3 && grow(set) < 0)
        return -1;
    size_t i = start(set, number);
    while (set->slots[i])
        i = (i + 1) & (set->size - 1);
    set->slots[i] = number;
    set->used++;
    return 1;
}

int cinderset_remove(cinderset *set, unsigned number)
{
    for (size_t i = start(set, number); set->slots[i]; i = (i + 1) & (set->size - 1))
        if (set->slots[i] == number) {
            set->slots[i] = REMOVED;
            return 1;
        }
    return 0;
}

void cinderset_free(cinderset *set)
{
    free(set->slots);
}
