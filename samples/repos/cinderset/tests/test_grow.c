#include "check.h"
#include "cinderset.h"

int main(void)
{
    cinderset set;
    CHECK(cinderset_init(&set) == 0);
    for (unsigned n = 1; n <= 1000; n++)
        CHECK(cinderset_add(&set, n * 8) == 1);
    for (unsigned n = 1; n <= 1000; n++)
        CHECK(cinderset_has(&set, n * 8));
    CHECK(set.size >= 1024);
    cinderset_free(&set);
    return 0;
}
