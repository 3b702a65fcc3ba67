#include <stdio.h>
#include <stdlib.h>

#define CHECK(fact) \
    do { if (!(fact)) { fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #fact); exit(1); } } while (0)
