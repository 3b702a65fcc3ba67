#include "fold.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* A string that grows. After a failed allocation `bytes` is NULL and stays so. */
struct buffer {
    char *bytes;
    size_t length, size;
};

static void append(struct buffer *b, const char *bytes, size_t n)
{
    if (!b->bytes)
        return;
    if (b->length + n + 1 > b->size) {
        size_t size = 2 * (b->length + n + 1);
        char *grown = realloc(b->bytes, size);

        if (!grown) {
            free(b->bytes);
            b->bytes = NULL;
            return;
        }
        b->bytes = grown;
        b->size = size;
    }
    memcpy(b->bytes + b->length, bytes, n);
    b->length += n;
    b->bytes[b->length] = '\0';
}

static void append_spaces(struct buffer *b, int n)
{
    while (n-- > 0)
        append(b, " ", 1);
}

/* Length in bytes of the word at the start of text. */
static size_t word_length(const char *text)
{
    size_t n = 0;

    while (text[n] && !isspace((unsigned char)text[n]))
        n++;
    return n;
}

/* Columns that n bytes of text take on the screen. */
static int columns(const char *text, size_t n)
{
    (void)text;
    return (int)n;
}

char *fold_text(const char *text, const struct fold_style *style)
{
    struct buffer out = {malloc(1), 0, 1};
    int column = 0; /* 0: nothing on this line yet */

    if (out.bytes)
        out.bytes[0] = '\0';
    while (*text) {
        size_t n = word_length(text);
        int wide = columns(text, n);

        if (n == 0) {
            text++;
            continue;
        }
        if (column > 0 && column + 1 + wide > style->width) {
            append(&out, "\n", 1);
            column = 0;
        }
        if (column == 0) {
            append_spaces(&out, style->indent);
            column = style->indent;
        } else {
            append(&out, " ", 1);
            column++;
        }
        append(&out, text, n);
        column += wide;
        text += n;
    }
    if (column > 0)
        append(&out, "\n", 1);
    return out.bytes;
}
