/* linefold [-w WIDTH] [-i INDENT]: fold standard input. */
#include "fold.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* All of a stream as one string; NULL without memory. */
static char *read_all(FILE *in)
{
    size_t size = 4096, length = 0, n;
    char *text = malloc(size);

    while (text && (n = fread(text + length, 1, size - length - 1, in)) > 0) {
        length += n;
        if (size - length < 2) {
            char *grown = realloc(text, size *= 2);

            if (!grown)
                free(text);
            text = grown;
        }
    }
    if (text)
        text[length] = '\0';
    return text;
}

int main(int argc, char **argv)
{
    struct fold_style style = {72, 0};
    char *text, *folded;
    int i;

    for (i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-w") == 0 && i + 1 < argc) {
            style.width = atoi(argv[++i]);
        } else if (strcmp(argv[i], "-i") == 0 && i + 1 < argc) {
            style.indent = atoi(argv[++i]);
        } else {
            fprintf(stderr, "usage: linefold [-w WIDTH] [-i INDENT]\n");
            return 2;
        }
    }
    text = read_all(stdin);
    folded = text ? fold_text(text, &style) : NULL;
    free(text);
    if (!folded) {
        fprintf(stderr, "linefold: out of memory\n");
        return 1;
    }
    fputs(folded, stdout);
    free(folded);
    return 0;
}
