#include "vault.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t fixed(const uint8_t *p, int bytes)
{
	uint64_t value = 0;
	for (int i = bytes - 1; i >= 0; i--)
		value = value << 8 | p[i];
	return value;
}

static void *need(void *p)
{
	if (!p) {
		fputs("out of memory\n", stderr);
		exit(3);
	}
	return p;
}

static void *one_more(void *list, size_t n, size_t size)
{
	if (n & (n - 1))
		return list;
	return need(realloc(list, (n ? 2 * n : 1) * size));
}

uint32_t crc32_of(const uint8_t *data, size_t length)
{
	static uint32_t table[256];
	if (!table[1])
		for (uint32_t i = 0; i < 256; i++) {
			uint32_t c = i;
			for (int k = 0; k < 8; k++)
				c = c & 1 ? c >> 1 ^ 0xedb88320u : c >> 1;
			table[i] = c;
		}
	uint32_t crc = 0xffffffffu;
	for (size_t i = 0; i < length; i++)
		crc = table[(crc ^ data[i]) & 255] ^ crc >> 8;
	return ~crc;
}

uint64_t chain_of(uint64_t chain, uint32_t crc)
{
	uint64_t hash = 0xcbf29ce484222325u;
	for (int i = 0; i < 12; i++) {
		hash ^= (i < 8 ? chain >> 8 * i : (uint64_t)crc >> 8 * (i - 8)) & 255;
		hash *= 0x100000001b3u;
	}
	return hash;
}

int get_varint(const uint8_t *data, size_t *at, size_t end, uint64_t *value)
{
	*value = 0;
	for (int shift = 0; shift < 64 && *at < end; shift += 7) {
		uint8_t b = data[(*at)++];
		if (shift == 63 && b > 1)
			return 0;
		*value |= (uint64_t)(b & 127) << shift;
		if (!(b & 128))
			return b || !shift;
	}
	return 0;
}

int get_op(const uint8_t *data, size_t *at, size_t end, struct op *op)
{
	if (*at >= end)
		return 0;
	op->kind = data[(*at)++];
	if (op->kind == 'I') {
		if (!get_varint(data, at, end, &op->length) || op->length > end - *at)
			return 0;
		op->offset = *at;
		*at += op->length;
	} else if (op->kind != 'C' && op->kind != 'S')
		return 0;
	else if (!get_varint(data, at, end, &op->offset) || !get_varint(data, at, end, &op->length))
		return 0;
	return op->length > 0;
}

static const char *check_ops(const struct vault *v, const struct revision *r)
{
	uint64_t have = 0, from = v->revisions[r->base].length;
	size_t at = r->start;
	while (at < r->end) {
		struct op op;
		if (!get_op(v->data, &at, r->end, &op) || op.length > r->length - have)
			return "bad operation";
		if (op.kind == 'C' && (op.offset > from || op.length > from - op.offset))
			return "copy from outside the base";
		if (op.kind == 'S' && op.offset >= have)
			return "copy from outside the content";
		have += op.length;
	}
	return have == r->length ? NULL : "content of another length";
}

static const char *add_revision(struct vault *v, const struct record *rec)
{
	size_t at = rec->start, end = rec->start + rec->length;
	struct revision r = {.base = -1, .end = end};
	if (at == end)
		return "bad revision";
	r.flags = v->data[at++];
	if (r.flags & ~REV_WITHDRAWN || !get_varint(v->data, &at, end, &r.name) || r.name >= v->nnames
		|| !get_varint(v->data, &at, end, &r.time))
		return "bad revision";
	if (rec->type == 'D') {
		uint64_t back;
		if (!get_varint(v->data, &at, end, &back) || back < 1 || back > v->nrevisions
			|| !get_varint(v->data, &at, end, &r.length))
			return "bad delta";
		r.base = v->nrevisions - back;
	} else
		r.length = end - at;
	r.start = at;
	if (rec->type == 'D') {
		const char *wrong = check_ops(v, &r);
		if (wrong)
			return wrong;
	}
	v->revisions = one_more(v->revisions, v->nrevisions, sizeof r);
	v->revisions[v->nrevisions++] = r;
	return NULL;
}

static const char *check_tag(const struct vault *v, const struct record *rec)
{
	size_t at = rec->start, end = rec->start + rec->length;
	uint64_t n, one, before = 0;
	if (!get_varint(v->data, &at, end, &n) || n > end - at)
		return "bad tag";
	at += n;
	if (!get_varint(v->data, &at, end, &n))
		return "bad tag";
	for (uint64_t i = 0; i < n; i++, before = one)
		if (!get_varint(v->data, &at, end, &one) || one >= v->nrevisions || (i && one <= before))
			return "bad tag";
	return at == end ? NULL : "bad tag";
}

static const char *read_file(struct vault *v, const char *path)
{
	FILE *f = fopen(path, "rb");
	if (!f)
		return "cannot be opened";
	size_t room = 1 << 16;
	v->data = need(malloc(room));
	for (size_t n; (n = fread(v->data + v->size, 1, room - v->size, f)) > 0;)
		if ((v->size += n) == room)
			v->data = need(realloc(v->data, room *= 2));
	int bad = ferror(f);
	fclose(f);
	return bad ? "cannot be read" : NULL;
}

const char *vault_load(struct vault *v, const char *path)
{
	memset(v, 0, sizeof *v);
	const char *wrong = read_file(v, path);
	if (wrong)
		return wrong;
	if (v->size < VAULT_HEADER || memcmp(v->data, "RVAULT1\n", 8))
		return "not a vault";
	uint64_t committed = fixed(v->data + 8, 8), chain = 0;
	if (committed < VAULT_HEADER || committed > v->size)
		return "cut off";
	v->size = committed;
	for (size_t at = VAULT_HEADER; at < v->size;) {
		if (v->size - at < 17 || fixed(v->data + at, 4) > v->size - at - 17)
			return "record is cut off";
		struct record rec = {v->data[at + 4], at + 5, fixed(v->data + at, 4), 0};
		const uint8_t *after = v->data + rec.start + rec.length;
		uint32_t crc = crc32_of(v->data + at + 4, rec.length + 1);
		chain = chain_of(chain, crc);
		if (fixed(after, 4) != crc || fixed(after + 4, 8) != chain)
			return "bad checksum";
		if (rec.type == 'N') {
			if (!rec.length)
				return "empty name";
			rec.index = v->nnames;
			v->names = one_more(v->names, v->nnames, sizeof rec);
			v->names[v->nnames++] = rec;
		} else if (rec.type == 'F' || rec.type == 'D') {
			rec.index = v->nrevisions;
			wrong = add_revision(v, &rec);
		} else if (rec.type == 'T')
			wrong = check_tag(v, &rec);
		else
			wrong = "record of unknown type";
		if (wrong)
			return wrong;
		v->records = one_more(v->records, v->nrecords, sizeof rec);
		v->records[v->nrecords++] = rec;
		at = rec.start + rec.length + 12;
	}
	return fixed(v->data + 16, 8) == chain ? NULL : "bad checksum";
}

void vault_free(struct vault *v)
{
	free(v->data);
	free(v->records);
	free(v->revisions);
	free(v->names);
	memset(v, 0, sizeof *v);
}

uint8_t *vault_content(const struct vault *v, size_t ordinal)
{
	const struct revision *r = &v->revisions[ordinal];
	uint8_t *out = need(malloc(r->length + 1));
	if (r->base < 0) {
		memcpy(out, v->data + r->start, r->length);
		return out;
	}
	uint8_t *base = vault_content(v, r->base), *to = out;
	struct op op;
	for (size_t at = r->start; get_op(v->data, &at, r->end, &op); to += op.length) {
		const uint8_t *from = op.kind == 'C' ? base : op.kind == 'S' ? out : v->data;
		for (uint64_t i = 0; i < op.length; i++)
			to[i] = from[op.offset + i];
	}
	free(base);
	return out;
}
