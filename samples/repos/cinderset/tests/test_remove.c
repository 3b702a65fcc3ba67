#include "check.h"
#include "cinderset.h"

int main(void)
{
    cinderset set;
    CHECK(cinderset_init(&set) == 0);
    for (unsigned n = 1; n <= 5; n++)
        cinderset_add(&set, n);
    CHECK(cinderset_remove(&set, 3) == 1);
    CHECK(cinderset_remove(&set, 3) == 0);
    CHECK(!cinderset_has(&set, 3) && cinderset_has(&set, 5));
    cinderset_free(&set);
    return 0;
}
