#include "check.h"
#include "cinderset.h"

int main(void)
{
    cinderset set;
    CHECK(cinderset_init(&set) == 0);
    CHECK(cinderset_add(&set, 7) == 1);
    CHECK(cinderset_add(&set, 7) == 0);
    CHECK(cinderset_add(&set, 0) == -1);
    CHECK(cinderset_has(&set, 7) && !cinderset_has(&set, 8));
    cinderset_free(&set);
    return 0;
}
