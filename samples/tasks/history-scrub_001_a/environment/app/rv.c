/* rv check VAULT | rv ls VAULT | rv cat VAULT ORDINAL */
#include "vault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void list(const struct vault *v)
{
	for (size_t i = 0; i < v->nrevisions; i++) {
		const struct revision *r = &v->revisions[i];
		const struct record *name = &v->names[r->name];
		if (r->flags & REV_WITHDRAWN)
			continue;
		printf("%zu\t%llu\t%llu\t", i, (unsigned long long)r->time, (unsigned long long)r->length);
		if (r->base < 0)
			printf("full\t");
		else
			printf("on %lld\t", (long long)r->base);
		fwrite(v->data + name->start, 1, name->length, stdout);
		putchar('\n');
	}
}

int main(int argc, char **argv)
{
	struct vault v;
	if (argc < 3 || (strcmp(argv[1], "cat") == 0) != (argc == 4)) {
		fputs("usage: rv check VAULT | rv ls VAULT | rv cat VAULT ORDINAL\n", stderr);
		return 64;
	}
	const char *wrong = vault_load(&v, argv[2]);
	if (wrong) {
		fprintf(stderr, "%s: %s\n", argv[2], wrong);
		return 2;
	}
	if (!strcmp(argv[1], "ls"))
		list(&v);
	else if (!strcmp(argv[1], "cat")) {
		size_t ordinal = strtoul(argv[3], NULL, 10);
		if (ordinal >= v.nrevisions)
			return 1;
		uint8_t *content = vault_content(&v, ordinal);
		fwrite(content, 1, v.revisions[ordinal].length, stdout);
		free(content);
	}
	vault_free(&v);
	return fflush(stdout) ? 3 : 0;
}
