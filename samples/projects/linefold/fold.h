#ifndef FOLD_H
#define FOLD_H

/* How to fold: columns of a line, and how many of them are left empty at its start. */
struct fold_style {
    int width;
    int indent;
};

/*
 * The text in lines of at most style->width columns, as a new string that the
 * caller frees; NULL without memory. Any run of white space counts as one space.
 * A word that is wider than a line stands on a line of its own.
 */
char *fold_text(const char *text, const struct fold_style *style);

#endif
