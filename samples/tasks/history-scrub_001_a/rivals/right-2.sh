#!/bin/bash
# pieces composed bottom-up with lists of spots for each piece of the base; rule 5: contents compared byte by byte with a table of block hashes
set -e
cd /app
cat > rvforget.c <<'END_OF_FILE'
/*
 * rvforget VAULT NAME: docs/forget.md
 *
 * A forgotten revision that something remaining stands on is turned into pieces: ranges of its nearest remaining ancestor ('C'), of what comes before
 * in its own content ('S'), and of literals in the old vault ('I'; offset is the place in its data). A delta whose base goes is composed with them.
 * While composing, each piece of the base has a list of the places where parts of it are in the new content: they are never emitted twice, but copied
 * with 'S'. What has no ancestor left is compared, byte by byte, with revisions before it that have lost theirs, too.
 */
#define _GNU_SOURCE
#include "vault.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct piece {
	uint8_t kind;
	uint64_t off, len;
};

struct pieces {
	struct piece *p;
	uint64_t *at;           /* where each starts in the content; made by index_pieces */
	size_t n, room;
	uint64_t len;
};

/* A part of a piece of the base that is in the new content. */
struct spot {
	uint64_t in, len, to;
	struct spot *next;
};

struct packed {
	uint8_t *data;
	size_t size;
};

static struct vault v;
static char temporary[PATH_MAX + 32];

static void fail(const char *what)
{
	fprintf(stderr, "rvforget: %s\n", what);
	exit(3);
}

static void *grow(void *list, size_t n, size_t size)
{
	void *p = realloc(list, (n ? n : 1) * size);
	if (!p)
		fail("out of memory");
	return p;
}

/* ---- pieces ---- */

static void add(struct pieces *x, uint8_t kind, uint64_t off, uint64_t len)
{
	if (!len)
		return;
	x->len += len;
	if (x->n) {
		struct piece *last = &x->p[x->n - 1];
		if (last->kind == kind && last->off + last->len == off) {
			last->len += len;
			return;
		}
	}
	if (x->n == x->room)
		x->p = grow(x->p, x->room = x->room ? 2 * x->room : 16, sizeof *x->p);
	x->p[x->n++] = (struct piece){kind, off, len};
}

static void drop_pieces(struct pieces *x)
{
	free(x->p);
	free(x->at);
	memset(x, 0, sizeof *x);
}

static void index_pieces(struct pieces *x)
{
	uint64_t at = 0;
	x->at = grow(x->at, x->n, sizeof *x->at);
	for (size_t i = 0; i < x->n; at += x->p[i++].len)
		x->at[i] = at;
}

static size_t piece_at(const struct pieces *x, uint64_t at)
{
	size_t low = 0, high = x->n;
	while (high - low > 1) {
		size_t middle = low + (high - low) / 2;
		if (x->at[middle] <= at)
			low = middle;
		else
			high = middle;
	}
	return low;
}

static size_t put_varint(uint8_t *to, uint64_t value)
{
	size_t n = 0;
	for (; value > 127; value >>= 7)
		to[n++] = value | 128;
	to[n++] = value;
	return n;
}

static size_t varint_size(uint64_t value)
{
	uint8_t buffer[10];
	return put_varint(buffer, value);
}

static struct packed pack(const struct pieces *x)
{
	struct packed out = {grow(NULL, x->n * 21, 1), 0};
	for (size_t i = 0; i < x->n; i++) {
		out.data[out.size++] = x->p[i].kind;
		out.size += put_varint(out.data + out.size, x->p[i].off);
		out.size += put_varint(out.data + out.size, x->p[i].len);
	}
	out.data = grow(out.data, out.size, 1);
	return out;
}

static void unpack(struct pieces *x, const struct packed *from)
{
	for (size_t at = 0; at < from->size;) {
		uint64_t off, len;
		uint8_t kind = from->data[at++];
		get_varint(from->data, &at, from->size, &off);
		get_varint(from->data, &at, from->size, &len);
		add(x, kind, off, len);
	}
	index_pieces(x);
}

static uint64_t stored_size(const struct pieces *x)
{
	uint64_t size = 0;
	for (size_t i = 0; i < x->n; i++)
		size += 1 + varint_size(x->p[i].len) + (x->p[i].kind == 'I' ? x->p[i].len : varint_size(x->p[i].off));
	return size;
}

static uint64_t literal_size(const struct pieces *x)
{
	uint64_t size = 0;
	for (size_t i = 0; i < x->n; i++)
		if (x->p[i].kind == 'I')
			size += x->p[i].len;
	return size;
}

/* ---- composing ---- */

/* The spot that covers a place in a piece, or NULL; *gap: how far it is to the next spot. */
static const struct spot *spot_at(const struct spot *list, uint64_t in, uint64_t *gap)
{
	const struct spot *best = NULL;
	*gap = UINT64_MAX;
	for (; list; list = list->next)
		if (list->in > in) {
			if (list->in - in < *gap)
				*gap = list->in - in;
		} else if (in - list->in < list->len && (!best || list->in + list->len > best->in + best->len))
			best = list;
	return best;
}

static void mark(struct spot **list, uint64_t in, uint64_t len, uint64_t to)
{
	struct spot *last = *list;
	if (last && last->in + last->len == in && last->to + last->len == to) {
		last->len += len;
		return;
	}
	struct spot *new = grow(NULL, 1, sizeof *new);
	*new = (struct spot){in, len, to, last};
	*list = new;
}

struct todo {
	uint64_t from, len;
	int here;               /* in the new content, not in the base */
};

static struct todo *todo;
static size_t ntodo, todo_room;

static void later(uint64_t from, uint64_t len, int here)
{
	if (!len)
		return;
	if (ntodo == todo_room)
		todo = grow(todo, todo_room = todo_room ? 2 * todo_room : 64, sizeof *todo);
	todo[ntodo++] = (struct todo){from, len, here};
}

/* Appends a range of the base to the new content. */
static void emit(struct pieces *out, const struct pieces *base, struct spot **spots, uint64_t from, uint64_t len)
{
	later(from, len, 0);
	while (ntodo) {
		struct todo w = todo[--ntodo];
		if (w.here) {
			add(out, 'S', w.from, w.len);
			continue;
		}
		size_t k = piece_at(base, w.from);
		struct piece piece = base->p[k];
		uint64_t in = w.from - base->at[k], n = piece.len - in < w.len ? piece.len - in : w.len, gap;
		const struct spot *spot = spot_at(spots[k], in, &gap);
		if (spot) {
			uint64_t left = spot->in + spot->len - in;
			if (n > left)
				n = left;
			later(w.from + n, w.len - n, 0);
			add(out, 'S', spot->to + (in - spot->in), n);
			continue;
		}
		if (n > gap)
			n = gap;
		later(w.from + n, w.len - n, 0);
		mark(&spots[k], in, n, out->len);
		if (piece.kind != 'S') {
			add(out, piece.kind, piece.off + in, n);
			continue;
		}
		uint64_t period = base->at[k] - piece.off, phase = in % period, once = n < period ? n : period;
		uint64_t first = once < period - phase ? once : period - phase;
		later(out->len, n - once, 1);
		later(piece.off, once - first, 0);
		later(piece.off + phase, first, 0);
	}
}

static void own_pieces(struct pieces *out, const struct revision *r)
{
	struct op op;
	for (size_t at = r->start; get_op(v.data, &at, r->end, &op);)
		add(out, op.kind, op.offset, op.length);
}

static void compose(struct pieces *out, const struct revision *r, const struct pieces *base)
{
	struct spot **spots = grow(NULL, base->n, sizeof *spots);
	struct op op;
	memset(spots, 0, base->n * sizeof *spots);
	for (size_t at = r->start; get_op(v.data, &at, r->end, &op);)
		if (op.kind == 'C')
			emit(out, base, spots, op.offset, op.length);
		else
			add(out, op.kind, op.offset, op.length);
	for (size_t i = 0; i < base->n; i++)
		for (struct spot *next; spots[i]; spots[i] = next) {
			next = spots[i]->next;
			free(spots[i]);
		}
	free(spots);
	index_pieces(out);
}

/* ---- revisions without an ancestor: against the bytes of another one ---- */

#define BLOCK 16
#define MOST_CONTENT (20u << 20)

struct model {
	uint8_t *data;
	uint64_t len;
	uint32_t *table;                /* hash of a block -> its number + 1 */
	uint32_t mask;
	size_t ordinal;
	int64_t base;
};

static struct model *models;
static size_t nmodels, models_room;
static uint64_t all_content, patience = 400u << 20;

static uint32_t hash_block(const uint8_t *p)
{
	uint64_t a, b;
	memcpy(&a, p, 8);
	memcpy(&b, p + 8, 8);
	return (a * 0x9e3779b97f4a7c15u ^ (b + 0x7f4a7c15u) * 0xc2b2ae3d27d4eb4fu) >> 37;
}

static uint8_t *bytes_of(const struct pieces *x)
{
	uint8_t *data = grow(NULL, x->len, 1), *to = data;
	for (size_t i = 0; i < x->n; to += x->p[i++].len) {
		const uint8_t *from = (x->p[i].kind == 'I' ? v.data : data) + x->p[i].off;
		for (uint64_t k = 0; k < x->p[i].len; k++)
			to[k] = from[k];
	}
	return data;
}

static void add_model(uint8_t *data, uint64_t len, size_t ordinal, int64_t base)
{
	if (nmodels == models_room)
		models = grow(models, models_room = models_room ? 2 * models_room : 16, sizeof *models);
	struct model *m = &models[nmodels++];
	uint32_t blocks = len / BLOCK, size = 16;
	while (size < blocks + blocks / 2)
		size *= 2;
	*m = (struct model){data, len, grow(NULL, size, sizeof *m->table), size - 1, ordinal, base};
	memset(m->table, 0, size * sizeof *m->table);
	for (uint32_t i = 0; i < blocks; i++) {
		uint32_t *slot = &m->table[hash_block(data + (size_t)i * BLOCK) & m->mask];
		if (!*slot)
			*slot = i + 1;
	}
}

/* Literals of the outcome are places in data. */
static void against(struct pieces *out, const uint8_t *data, uint64_t len, const struct model *m)
{
	uint64_t at = 0, plain = 0, on = 0;
	while (at < len) {
		uint64_t from = on, n = 0;
		while (at + n < len && from + n < m->len && data[at + n] == m->data[from + n])
			n++;
		if (n < BLOCK && at + BLOCK <= len) {
			uint32_t block = m->table[hash_block(data + at) & m->mask];
			if (block) {
				uint64_t k = 0;
				from = (uint64_t)(block - 1) * BLOCK;
				while (at + k < len && from + k < m->len && data[at + k] == m->data[from + k])
					k++;
				if (k >= BLOCK) {
					n = k;
					while (at > plain && from && data[at - 1] == m->data[from - 1])
						at--, from--, n++;
				} else
					from = on;
			}
		}
		if (n < BLOCK && !(n == len - at && n > 6)) {
			at++;
			continue;
		}
		add(out, 'I', plain, at - plain);
		add(out, 'C', from, n);
		at = plain = at + n;
		on = from + n;
	}
	add(out, 'I', plain, len - plain);
}

static void try_model(const uint8_t *data, uint64_t len, size_t i, struct pieces *best, int64_t *base)
{
	struct pieces now = {0};
	patience -= len < patience ? len : patience;
	against(&now, data, len, &models[i]);
	if (*base < 0 || stored_size(&now) < stored_size(best)) {
		drop_pieces(best);
		*best = now;
		*base = models[i].ordinal;
	} else
		drop_pieces(&now);
}

/* Looks for a base. -1: found none. *bytes: the content, to be freed if it is not a model's. */
static int64_t find_base(const struct pieces *x, const struct revision *r, size_t ordinal, struct pieces *best, uint8_t **bytes, int *shared)
{
	struct pieces own = {0};
	own_pieces(&own, r);
	uint64_t enough = literal_size(&own) + 64;
	size_t same = 0;
	int64_t base = -1;
	drop_pieces(&own);
	*bytes = NULL;
	*shared = 0;
	if (all_content > MOST_CONTENT)
		return -1;
	*bytes = bytes_of(x);
	for (size_t i = 0; i < nmodels; i++)
		if (models[i].base == r->base) {
			same++;
			try_model(*bytes, x->len, i, best, &base);
		}
	if (base < 0 || literal_size(best) > enough)
		for (size_t i = nmodels; i-- > 0 && nmodels - i < 64 && patience;)
			if (models[i].base != r->base)
				try_model(*bytes, x->len, i, best, &base);
	if (!same || (literal_size(best) > enough && same < 8)) {
		add_model(*bytes, x->len, ordinal, r->base);
		*shared = 1;
	}
	return base;
}

/* ---- writing ---- */

static int file = -1;
static uint8_t buffer[1 << 16];
static size_t fill;
static uint64_t flushed, chain;
static uint32_t crc, crc_table[256];

static void flush_buffer(void)
{
	for (size_t done = 0; done < fill;) {
		ssize_t n = write(file, buffer + done, fill - done);
		if (n < 0 && errno != EINTR)
			fail(strerror(errno));
		if (n > 0)
			done += n;
	}
	flushed += fill;
	fill = 0;
}

static void put(const void *data, size_t n)
{
	const uint8_t *p = data;
	for (size_t i = 0; i < n; i++)
		crc = crc_table[(crc ^ p[i]) & 255] ^ crc >> 8;
	while (n) {
		size_t part = sizeof buffer - fill < n ? sizeof buffer - fill : n;
		memcpy(buffer + fill, p, part);
		fill += part;
		p += part;
		n -= part;
		if (fill == sizeof buffer)
			flush_buffer();
	}
}

static void put_fixed(uint64_t value, int bytes)
{
	uint8_t b[8];
	for (int i = 0; i < bytes; i++)
		b[i] = value >> 8 * i;
	put(b, bytes);
}

static void begin(uint8_t type, uint64_t length)
{
	if (length > UINT32_MAX)
		fail("a record becomes too long");
	put_fixed(length, 4);
	crc = 0xffffffffu;
	put(&type, 1);
}

static void end(void)
{
	uint32_t sum = ~crc;
	chain = chain_of(chain, sum);
	put_fixed(sum, 4);
	put_fixed(chain, 8);
}

/* Reads back what was put. */
static void fetch(uint64_t at, uint8_t *to, size_t n)
{
	if (at + n > flushed && at < flushed)
		flush_buffer();
	if (at >= flushed) {
		memcpy(to, buffer + (at - flushed), n);
		return;
	}
	while (n) {
		ssize_t got = pread(file, to, n, at);
		if (got <= 0)
			fail("cannot read back");
		to += got;
		at += got;
		n -= got;
	}
}

static void put_content(const struct pieces *x)
{
	static uint8_t run[1 << 16];
	uint64_t start = flushed + fill;
	for (size_t i = 0; i < x->n; i++) {
		uint64_t left = x->p[i].len, from = start + x->p[i].off;
		if (x->p[i].kind == 'I') {
			put(v.data + x->p[i].off, left);
			continue;
		}
		uint64_t period = flushed + fill - from;
		size_t have = sizeof run;
		if (period < have)
			have = period;
		if (left < have)
			have = left;
		if (have == period) {
			fetch(from, run, have);
			for (; have + period <= sizeof run && have < left; have += period)
				memcpy(run + have, run, period);
			for (; left; left -= have) {
				if (have > left)
					have = left;
				put(run, have);
			}
		} else
			for (; left; left -= have, from += have) {
				if (have > left)
					have = left;
				fetch(from, run, have);
				put(run, have);
			}
	}
}

static void put_ops(const struct pieces *x, const uint8_t *data)
{
	uint8_t b[21];
	for (size_t i = 0; i < x->n; i++) {
		size_t n = 1;
		b[0] = x->p[i].kind;
		if (b[0] != 'I')
			n += put_varint(b + n, x->p[i].off);
		n += put_varint(b + n, x->p[i].len);
		put(b, n);
		if (b[0] == 'I')
			put(data + x->p[i].off, x->p[i].len);
	}
}

static void remove_temporary(void)
{
	if (temporary[0])
		unlink(temporary);
}

static void killed(int number)
{
	remove_temporary();
	_exit(128 + number);
}

/* ---- the vault ---- */

static size_t *name_now, *ordinal_now;          /* SIZE_MAX: forgotten */
static struct packed *kept;
static uint32_t *uses;

static int forgotten(size_t ordinal)
{
	return ordinal_now[ordinal] == SIZE_MAX;
}

static int64_t left_with(size_t i);

static void plan(const char *name)
{
	size_t next = 0, length = strlen(name), found = 0;
	name_now = grow(NULL, v.nnames, sizeof *name_now);
	ordinal_now = grow(NULL, v.nrevisions, sizeof *ordinal_now);
	kept = grow(NULL, v.nrevisions, sizeof *kept);
	uses = grow(NULL, v.nrevisions, sizeof *uses);
	for (size_t i = 0; i < v.nnames; i++) {
		int gone = v.names[i].length == length && !memcmp(v.data + v.names[i].start, name, length);
		name_now[i] = gone ? SIZE_MAX : next++;
		found += gone;
	}
	if (!found) {
		fprintf(stderr, "rvforget: no such name\n");
		exit(1);
	}
	next = 0;
	for (size_t i = 0; i < v.nrevisions; i++) {
		ordinal_now[i] = name_now[v.revisions[i].name] == SIZE_MAX ? SIZE_MAX : next++;
		uses[i] = 0;
		kept[i] = (struct packed){0};
	}
	for (size_t i = v.nrevisions; i-- > 0;) {
		int64_t base = v.revisions[i].base;
		if (base >= 0 && forgotten(base) && (!forgotten(i) || uses[i]))
			uses[base]++;
	}
	for (size_t i = 0; i < v.nrevisions; i++)
		if (!forgotten(i) && v.revisions[i].base >= 0 && forgotten(v.revisions[i].base) && left_with(i) < 0)
			all_content += v.revisions[i].length;
}

static void compose_on(struct pieces *out, const struct revision *r)
{
	struct pieces base = {0};
	unpack(&base, &kept[r->base]);
	compose(out, r, &base);
	drop_pieces(&base);
	if (!--uses[r->base]) {
		free(kept[r->base].data);
		kept[r->base].data = NULL;
	}
}

/* The ancestor that a revision is left with; -1: none. */
static int64_t left_with(size_t i)
{
	int64_t base = v.revisions[i].base;
	while (base >= 0 && forgotten(base))
		base = v.revisions[base].base;
	return base;
}

static void forget(size_t i)
{
	const struct revision *r = &v.revisions[i];
	struct pieces x = {0};
	if (!uses[i])
		return;
	if (r->base < 0)
		add(&x, 'I', r->start, r->length);
	else if (!forgotten(r->base))
		own_pieces(&x, r);
	else
		compose_on(&x, r);
	kept[i] = pack(&x);
	drop_pieces(&x);
}

static size_t head(uint8_t *to, const struct revision *r)
{
	size_t n = 1;
	to[0] = r->flags;
	n += put_varint(to + n, name_now[r->name]);
	return n + put_varint(to + n, r->time);
}

static size_t delta_head(uint8_t *to, const struct revision *r, uint64_t back)
{
	size_t n = head(to, r);
	n += put_varint(to + n, back);
	return n + put_varint(to + n, r->length);
}

static void put_pieces(size_t i, int64_t base, const struct pieces *x, const uint8_t *data)
{
	uint8_t b[64];
	size_t n = delta_head(b, &v.revisions[i], ordinal_now[i] - ordinal_now[base]);
	begin('D', n + stored_size(x));
	put(b, n);
	put_ops(x, data);
	end();
}

static void put_revision(size_t i)
{
	static int64_t before = -1;     /* the last remaining one */
	const struct revision *r = &v.revisions[i];
	uint8_t b[64];
	if (r->base < 0 || !forgotten(r->base)) {
		size_t n = r->base < 0 ? head(b, r) : delta_head(b, r, ordinal_now[i] - ordinal_now[r->base]);
		begin(r->base < 0 ? 'F' : 'D', n + (r->end - r->start));
		put(b, n);
		put(v.data + r->start, r->end - r->start);
		end();
	} else {
		struct pieces x = {0}, best = {0};
		int64_t base = left_with(i);
		compose_on(&x, r);
		if (base >= 0)
			put_pieces(i, base, &x, v.data);
		else {
			uint8_t *bytes;
			int shared;
			base = find_base(&x, r, i, &best, &bytes, &shared);
			if (base >= 0 && stored_size(&best) < r->length && stored_size(&best) <= stored_size(&x))
				put_pieces(i, base, &best, bytes);
			else if (before >= 0 && stored_size(&x) + 4 < r->length)
				put_pieces(i, before, &x, v.data);
			else {
				size_t n = head(b, r);
				begin('F', n + r->length);
				put(b, n);
				put_content(&x);
				end();
			}
			if (!shared)
				free(bytes);
			drop_pieces(&best);
		}
		drop_pieces(&x);
	}
	before = i;
}

static void put_tag(const struct record *rec)
{
	size_t at = rec->start, stop = rec->start + rec->length, size;
	uint64_t label, n, one, left = 0;
	uint8_t b[10];
	get_varint(v.data, &at, stop, &label);
	at += label;
	size = at - rec->start;
	size_t list = at;
	get_varint(v.data, &at, stop, &n);
	for (uint64_t i = 0; i < n; i++) {
		get_varint(v.data, &at, stop, &one);
		if (!forgotten(one)) {
			left++;
			size += varint_size(ordinal_now[one]);
		}
	}
	begin('T', size + varint_size(left));
	put(v.data + rec->start, list - rec->start);
	put(b, put_varint(b, left));
	at = list;
	get_varint(v.data, &at, stop, &n);
	for (uint64_t i = 0; i < n; i++) {
		get_varint(v.data, &at, stop, &one);
		if (!forgotten(one))
			put(b, put_varint(b, ordinal_now[one]));
	}
	end();
}

static void put_vault(void)
{
	uint8_t header[VAULT_HEADER] = "RVAULT1\n";
	put(header, sizeof header);
	for (size_t i = 0; i < v.nrecords; i++) {
		const struct record *rec = &v.records[i];
		if (rec->type == 'T')
			put_tag(rec);
		else if (rec->type == 'N') {
			if (name_now[rec->index] == SIZE_MAX)
				continue;
			begin('N', rec->length);
			put(v.data + rec->start, rec->length);
			end();
		} else if (forgotten(rec->index))
			forget(rec->index);
		else
			put_revision(rec->index);
	}
	flush_buffer();
	for (int i = 0; i < 8; i++) {
		header[8 + i] = flushed >> 8 * i;
		header[16 + i] = chain >> 8 * i;
	}
	if (pwrite(file, header, sizeof header, 0) != sizeof header)
		fail("cannot write the header");
}

int main(int argc, char **argv)
{
	char path[PATH_MAX];
	struct stat st;
	if (argc != 3) {
		fputs("usage: rvforget VAULT NAME\n", stderr);
		return 64;
	}
	const char *wrong = vault_load(&v, argv[1]);
	if (!wrong && (!realpath(argv[1], path) || stat(path, &st)))
		wrong = "cannot be opened";
	if (wrong) {
		fprintf(stderr, "%s: %s\n", argv[1], wrong);
		return 2;
	}
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;
		for (int k = 0; k < 8; k++)
			c = c & 1 ? c >> 1 ^ 0xedb88320u : c >> 1;
		crc_table[i] = c;
	}
	plan(argv[2]);

	static const int signals[] = {SIGHUP, SIGINT, SIGTERM, SIGQUIT, SIGXCPU, SIGALRM};
	sigset_t set, old;
	sigemptyset(&set);
	for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
		sigaddset(&set, signals[i]);
		signal(signals[i], killed);
	}
	signal(SIGXFSZ, SIG_IGN);
	atexit(remove_temporary);
	char *slash = strrchr(path, '/');
	sigprocmask(SIG_BLOCK, &set, &old);
	char name[sizeof temporary];
	snprintf(name, sizeof name, "%.*s/.rvforget-XXXXXX", (int)(slash - path), path);
	file = mkstemp(name);
	if (file < 0)
		fail(strerror(errno));
	strcpy(temporary, name);
	sigprocmask(SIG_SETMASK, &old, NULL);

	put_vault();
	if (fchown(file, st.st_uid, st.st_gid))
		errno = 0;
	if (fchmod(file, st.st_mode & 07777) || fsync(file) || close(file))
		fail(strerror(errno));
	sigprocmask(SIG_BLOCK, &set, NULL);
	if (rename(temporary, path))
		fail(strerror(errno));
	temporary[0] = 0;
	slash[slash == path] = 0;
	int folder = open(path, O_RDONLY | O_DIRECTORY);
	if (folder >= 0) {
		fsync(folder);
		close(folder);
	}
	return 0;
}
END_OF_FILE
make rvforget
