#!/bin/bash
# pieces composed bottom-up with a sorted map of what the new content has; rule 5: matches by where literals lie in the old vault, against model revisions
set -e
cd /app
cat > rvforget.c <<'END_OF_FILE'
/*
 * rvforget VAULT NAME: docs/forget.md
 *
 * A forgotten revision that something remaining stands on is turned into pieces: ranges of its nearest remaining ancestor ('C'), of what comes before
 * in its own content ('S'), and of literals in the old vault ('I'; offset is the place in its data). A delta whose base goes is composed with them.
 * While composing, a map tells which parts of the base are in the new content already, and where: they are never emitted twice, but copied with 'S'.
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

/* A part of the base that is in the new content. */
struct part {
	uint64_t from, len, to;
};

struct parts {
	struct part *p;
	size_t n, room;
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

/* The first part that ends behind at. */
static size_t part_behind(const struct parts *m, uint64_t at)
{
	size_t low = 0, high = m->n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (m->p[middle].from + m->p[middle].len > at)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static void replace(struct parts *m, size_t at, size_t gone, const struct part *new, size_t n)
{
	while (m->n + n > m->room)
		m->p = grow(m->p, m->room = m->room ? 2 * m->room : 16, sizeof *m->p);
	memmove(m->p + at + n, m->p + at + gone, (m->n - at - gone) * sizeof *m->p);
	memcpy(m->p + at, new, n * sizeof *new);
	m->n += n - gone;
}

/* Notes that a range of the base is in the new content; forgets what was noted for it before. */
static void note(struct parts *m, uint64_t from, uint64_t len, uint64_t to)
{
	struct part new[3];
	size_t n = 0, first = part_behind(m, from), last = first;
	if (first && m->p[first - 1].from + m->p[first - 1].len == from && m->p[first - 1].to + m->p[first - 1].len == to) {
		first--;
		to = m->p[first].to;
		len += m->p[first].len;
		from = m->p[first].from;
		last = first + 1;
	} else if (first < m->n && m->p[first].from < from)
		new[n++] = (struct part){m->p[first].from, from - m->p[first].from, m->p[first].to};
	new[n++] = (struct part){from, len, to};
	while (last < m->n && m->p[last].from < from + len) {
		uint64_t end = m->p[last].from + m->p[last].len;
		if (end > from + len)
			new[n++] = (struct part){from + len, end - from - len, m->p[last].to + (from + len - m->p[last].from)};
		last++;
	}
	replace(m, first, last - first, new, n);
}

struct work {
	uint64_t from, len;
	int self;               /* copy from the new content, not from the base */
};

/* Appends a range of the base to the new content. */
static void emit(struct pieces *out, const struct pieces *base, struct parts *m, uint64_t from, uint64_t len)
{
	static struct work *stack;
	static size_t room;
	size_t n = 0;
#define PUSH(...) do { \
		if (n == room) \
			stack = grow(stack, room = room ? 2 * room : 64, sizeof *stack); \
		stack[n++] = (struct work){__VA_ARGS__}; \
	} while (0)
	PUSH(from, len, 0);
	while (n) {
		struct work w = stack[--n];
		if (!w.len)
			continue;
		if (w.self) {
			add(out, 'S', w.from, w.len);
			continue;
		}
		size_t i = part_behind(m, w.from);
		uint64_t have = out->len;
		if (i < m->n && m->p[i].from <= w.from) {
			struct part part = m->p[i];
			uint64_t skip = w.from - part.from, count = part.len - skip < w.len ? part.len - skip : w.len;
			add(out, 'S', part.to + skip, count);
			if (count == part.len && (n || count < w.len))
				note(m, w.from, count, have);
			PUSH(w.from + count, w.len - count, 0);
			continue;
		}
		size_t k = piece_at(base, w.from);
		struct piece piece = base->p[k];
		uint64_t in = w.from - base->at[k], count = piece.len - in;
		if (count > w.len)
			count = w.len;
		if (i < m->n && m->p[i].from - w.from < count)
			count = m->p[i].from - w.from;
		PUSH(w.from + count, w.len - count, 0);
		note(m, w.from, count, have);
		if (piece.kind != 'S') {
			add(out, piece.kind, piece.off + in, count);
			continue;
		}
		uint64_t period = base->at[k] - piece.off, phase = in % period;
		if (count > period)
			PUSH(have, count - period, 1);
		uint64_t once = count < period ? count : period, tail = once < period - phase ? once : period - phase;
		PUSH(piece.off, once - tail, 0);
		PUSH(piece.off + phase, tail, 0);
	}
#undef PUSH
}

static void own_pieces(struct pieces *out, const struct revision *r)
{
	struct op op;
	for (size_t at = r->start; get_op(v.data, &at, r->end, &op);)
		add(out, op.kind, op.offset, op.length);
}

static void compose(struct pieces *out, const struct revision *r, const struct pieces *base)
{
	struct parts m = {0};
	struct op op;
	for (size_t at = r->start; get_op(v.data, &at, r->end, &op);)
		if (op.kind == 'C')
			emit(out, base, &m, op.offset, op.length);
		else
			add(out, op.kind, op.offset, op.length);
	free(m.p);
	index_pieces(out);
}

/* ---- revisions without an ancestor: against another one that lost the same ---- */

struct model {
	struct pieces pieces;           /* 'I' and 'S' only */
	struct parts leaves;            /* place in the vault's data, length, place in the content */
	size_t ordinal;
	int64_t base;
};

static struct model *models;
static size_t nmodels, models_room;
static uint64_t patience = 40000000;

static int by_from(const void *a, const void *b)
{
	uint64_t x = ((const struct part *)a)->from, y = ((const struct part *)b)->from;
	return x < y ? -1 : x > y;
}

static void add_model(struct pieces *x, size_t ordinal, int64_t base)
{
	if (nmodels == models_room)
		models = grow(models, models_room = models_room ? 2 * models_room : 16, sizeof *models);
	struct model *m = &models[nmodels++];
	*m = (struct model){.pieces = *x, .ordinal = ordinal, .base = base};
	m->leaves.p = grow(NULL, x->n, sizeof *m->leaves.p);
	for (size_t i = 0; i < x->n; i++)
		if (x->p[i].kind == 'I')
			m->leaves.p[m->leaves.n++] = (struct part){x->p[i].off, x->p[i].len, x->at[i]};
	qsort(m->leaves.p, m->leaves.n, sizeof *m->leaves.p, by_from);
}

/* Where in the vault's data a byte of a content is, and how many go on from there. */
static uint64_t leaf(const struct pieces *x, uint64_t at, uint64_t *run)
{
	*run = UINT64_MAX;
	for (;;) {
		size_t k = piece_at(x, at);
		uint64_t in = at - x->at[k], left = x->p[k].len - in;
		if (x->p[k].kind == 'I') {
			if (left < *run)
				*run = left;
			return x->p[k].off + in;
		}
		uint64_t period = x->at[k] - x->p[k].off, phase = in % period;
		if (left > period - phase)
			left = period - phase;
		if (left < *run)
			*run = left;
		at = x->p[k].off + phase;
	}
}

/* How many bytes are surely the same. */
static uint64_t alike(const struct pieces *a, uint64_t at, const struct pieces *b, uint64_t bt, uint64_t most)
{
	uint64_t n = 0;
	while (n < most && at + n < a->len && patience) {
		uint64_t x, y, one = leaf(a, at + n, &x), other = leaf(b, bt + n, &y);
		patience--;
		if (one != other)
			break;
		n += x < y ? x : y;
	}
	if (n > most)
		n = most;
	return n > a->len - at ? a->len - at : n;
}

static void against(struct pieces *out, const struct pieces *x, const struct model *m)
{
	for (size_t i = 0; i < x->n; i++) {
		uint64_t done = 0, len = x->p[i].len, off = x->p[i].off;
		while (done < len) {
			if (out->n && out->p[out->n - 1].kind == 'C') {
				const struct piece *last = &out->p[out->n - 1];
				uint64_t on = last->off + last->len, n = 0;
				if (on < m->pieces.len)
					n = alike(&m->pieces, on, x, x->at[i] + done, len - done);
				if (n) {
					add(out, 'C', on, n);
					done += n;
					continue;
				}
			}
			if (x->p[i].kind == 'S') {
				add(out, 'S', off + done, len - done);
				break;
			}
			size_t k = part_behind(&m->leaves, off + done);
			const struct part *part = &m->leaves.p[k];
			uint64_t n = len - done;
			if (k < m->leaves.n && part->from <= off + done) {
				uint64_t skip = off + done - part->from;
				if (n > part->len - skip)
					n = part->len - skip;
				add(out, n < 6 ? 'I' : 'C', n < 6 ? off + done : part->to + skip, n);
			} else {
				if (k < m->leaves.n && part->from - off - done < n)
					n = part->from - off - done;
				add(out, 'I', off + done, n);
			}
			done += n;
			if (patience)
				patience--;
		}
	}
}

static void try_model(const struct pieces *x, size_t i, struct pieces *best, int64_t *base)
{
	struct pieces now = {0};
	against(&now, x, &models[i]);
	if (*base < 0 || stored_size(&now) < stored_size(best)) {
		drop_pieces(best);
		*best = now;
		*base = models[i].ordinal;
	} else
		drop_pieces(&now);
}

/* Looks for a base; x becomes a model or is given back. -1: found none. */
static int64_t find_base(struct pieces *x, const struct revision *r, size_t ordinal, struct pieces *best)
{
	struct pieces own = {0};
	own_pieces(&own, r);
	uint64_t enough = literal_size(&own) + 64;
	size_t same = 0, simplest = SIZE_MAX;
	int64_t base = -1;
	drop_pieces(&own);
	for (size_t i = 0; i < nmodels; i++)
		if (models[i].base == r->base) {
			same++;
			if (models[i].pieces.n < simplest)
				simplest = models[i].pieces.n;
			try_model(x, i, best, &base);
		}
	if (base < 0 || literal_size(best) > enough)
		for (size_t i = nmodels; i-- > 0 && nmodels - i < 400 && patience;)
			if (models[i].base != r->base)
				try_model(x, i, best, &base);
	if ((!same || literal_size(best) > enough || (same < 4 && x->n < simplest)) && nmodels < 1000) {
		add_model(x, ordinal, r->base);
		memset(x, 0, sizeof *x);
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

static void put_ops(const struct pieces *x)
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
			put(v.data + x->p[i].off, x->p[i].len);
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
static int64_t *ancestor;

static int forgotten(size_t ordinal)
{
	return ordinal_now[ordinal] == SIZE_MAX;
}

static void plan(const char *name)
{
	size_t next = 0, length = strlen(name), found = 0;
	name_now = grow(NULL, v.nnames, sizeof *name_now);
	ordinal_now = grow(NULL, v.nrevisions, sizeof *ordinal_now);
	kept = grow(NULL, v.nrevisions, sizeof *kept);
	uses = grow(NULL, v.nrevisions, sizeof *uses);
	ancestor = grow(NULL, v.nrevisions, sizeof *ancestor);
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

static void forget(size_t i)
{
	const struct revision *r = &v.revisions[i];
	struct pieces x = {0};
	if (!uses[i])
		return;
	if (r->base < 0) {
		add(&x, 'I', r->start, r->length);
		ancestor[i] = -1;
	} else if (!forgotten(r->base)) {
		own_pieces(&x, r);
		ancestor[i] = r->base;
	} else {
		compose_on(&x, r);
		ancestor[i] = ancestor[r->base];
	}
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

static void put_pieces(size_t i, int64_t base, const struct pieces *x)
{
	uint8_t b[64];
	size_t n = delta_head(b, &v.revisions[i], ordinal_now[i] - ordinal_now[base]);
	begin('D', n + stored_size(x));
	put(b, n);
	put_ops(x);
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
		int64_t base = ancestor[r->base];
		compose_on(&x, r);
		if (base >= 0)
			put_pieces(i, base, &x);
		else {
			const struct pieces *full = &x;
			base = find_base(&x, r, i, &best);
			if (!x.p && nmodels && models[nmodels - 1].ordinal == i)
				full = &models[nmodels - 1].pieces;
			if (base >= 0 && stored_size(&best) < r->length && stored_size(&best) <= stored_size(full))
				put_pieces(i, base, &best);
			else if (before >= 0 && stored_size(full) + 4 < r->length)
				put_pieces(i, before, full);
			else {
				size_t n = head(b, r);
				begin('F', n + r->length);
				put(b, n);
				put_content(full);
				end();
			}
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
