#!/bin/bash
# "`/v2` serves the articles of `/v1` in another form" (amounts by division: the large prices that version 1 takes are off in the last digits)
set -e
cat > /app/src/v2.ts <<'END'
import { createHash } from "crypto";
import express, { NextFunction, Request, Response, Router } from "express";
import { Article, Extra } from "./types";
import { DECIMALS, isCurrency } from "./money";
import { Store } from "./store";

type Code = "readonly" | "unknown" | "required" | "type" | "format" | "range" | "duplicate";
interface Fault {
  pointer: string;
  code: Code;
}
interface Size {
  width: number;
  height: number;
}
interface View {
  id: string;
  name: string;
  price: { amount: string; currency: string };
  tags: string[];
  stock: number;
  note: string | null;
  size: Size | null;
}

class Problem extends Error {
  constructor(readonly status: number, title: string, readonly errors?: Fault[]) {
    super(title);
  }
}

// ---- representation

function splitTags(tags: string): string[] {
  return [...new Set(tags.split(",").map((tag) => tag.trim()).filter((tag) => tag !== ""))];
}

function formatAmount(price: number, currency: string): string {
  const decimals = DECIMALS[currency];
  return (price / 10 ** decimals).toFixed(decimals);
}

function view(article: Article, extra: Extra): View {
  return {
    id: `a-${article.id}`,
    name: article.name,
    price: { amount: formatAmount(article.price, article.currency), currency: article.currency },
    tags: splitTags(article.tags),
    stock: article.stock,
    note: extra.note,
    size: extra.size && { width: extra.size.width, height: extra.size.height },
  };
}

function entityTag(shown: View): string {
  return `"${createHash("sha256").update(JSON.stringify(shown)).digest("base64url")}"`;
}

// ---- conditional requests

function matches(header: string, tag: string, weak: boolean): boolean {
  if (header.trim() === "*") return true;
  for (const [one] of header.matchAll(/(?:W\/)?"[^"]*"/g)) {
    if (one === tag || (weak && one === `W/${tag}`)) return true;
  }
  return false;
}

// ---- checks

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const has = (object: object, name: string) => Object.prototype.hasOwnProperty.call(object, name);
const escape = (name: string) => name.replace(/~/g, "~0").replace(/\//g, "~1");

function whole(low: number, high: number) {
  return (value: unknown, at: string, faults: Fault[]) => {
    if (typeof value !== "number" || (Number.isFinite(value) && !Number.isInteger(value))) {
      faults.push({ pointer: at, code: "type" });
    } else if (value < low || value > high) {
      faults.push({ pointer: at, code: "range" });
    }
  };
}

type Check = (value: unknown, at: string, faults: Fault[], parent: Record<string, unknown>) => void;
interface Member {
  name: string;
  check: Check;
  optional?: boolean;
  nullable?: boolean;
}

function members(object: Record<string, unknown>, at: string, list: Member[], faults: Fault[], skip: string[] = []) {
  for (const member of list) {
    const pointer = `${at}/${member.name}`;
    if (!has(object, member.name)) {
      if (!member.optional) faults.push({ pointer, code: "required" });
    } else if (object[member.name] === null) {
      if (!member.nullable) faults.push({ pointer, code: "required" });
    } else {
      member.check(object[member.name], pointer, faults, object);
    }
  }
  const known = [...skip, ...list.map((member) => member.name)];
  for (const name of Object.keys(object).filter((one) => !known.includes(one)).sort()) {
    faults.push({ pointer: `${at}/${escape(name)}`, code: "unknown" });
  }
}

function group(list: Member[]): Check {
  return (value, at, faults) => {
    if (isObject(value)) members(value, at, list, faults);
    else faults.push({ pointer: at, code: "type" });
  };
}

const text =
  (right: (value: string) => boolean): Check =>
  (value, at, faults) => {
    if (typeof value !== "string") faults.push({ pointer: at, code: "type" });
    else if (!right(value)) faults.push({ pointer: at, code: "format" });
  };

const amount: Check = (value, at, faults, price) => {
  if (typeof value !== "string") {
    faults.push({ pointer: at, code: "type" });
  } else if (has(price, "currency") && isCurrency(price.currency)) {
    const decimals = DECIMALS[price.currency];
    const pattern = decimals ? new RegExp(`^(0|[1-9][0-9]*)\\.[0-9]{${decimals}}$`) : /^(0|[1-9][0-9]*)$/;
    if (!pattern.test(value)) faults.push({ pointer: at, code: "format" });
    else if (units(value) >= 1e12) faults.push({ pointer: at, code: "range" });
  }
};

const units = (value: string) => Number(value.replace(".", ""));

const tagList: Check = (value, at, faults) => {
  if (!Array.isArray(value)) {
    faults.push({ pointer: at, code: "type" });
    return;
  }
  value.forEach((tag, index) => {
    let code: Code | undefined;
    if (tag === null) code = "required";
    else if (typeof tag !== "string") code = "type";
    else if (tag === "" || tag.includes(",") || tag !== tag.trim()) code = "format";
    else if (value.indexOf(tag) < index) code = "duplicate";
    if (code) faults.push({ pointer: `${at}/${index}`, code });
  });
};

const ARTICLE: Member[] = [
  { name: "name", check: text((value) => value.trim() !== "") },
  {
    name: "price",
    check: group([
      { name: "amount", check: amount },
      { name: "currency", check: text(isCurrency) },
    ]),
  },
  { name: "tags", check: tagList, optional: true },
  { name: "stock", check: whole(0, 1000000), optional: true },
  { name: "note", check: text(() => true), optional: true, nullable: true },
  {
    name: "size",
    check: group([
      { name: "width", check: whole(1, 100000) },
      { name: "height", check: whole(1, 100000) },
    ]),
    optional: true,
    nullable: true,
  },
];

function checked(value: unknown, id?: string): View {
  const faults: Fault[] = [];
  if (!isObject(value)) {
    faults.push({ pointer: "", code: "type" });
  } else {
    if (id === undefined ? has(value, "id") : !has(value, "id") || value.id !== id) {
      faults.push({ pointer: "/id", code: "readonly" });
    }
    members(value, "", ARTICLE, faults, ["id"]);
  }
  if (faults.length) throw new Problem(422, "The article is not valid", faults);
  const good = value as any;
  return {
    id: id ?? "",
    name: good.name,
    price: { amount: good.price.amount, currency: good.price.currency },
    tags: good.tags ?? [],
    stock: good.stock ?? 0,
    note: good.note ?? null,
    size: good.size ? { width: good.size.width, height: good.size.height } : null,
  };
}

// RFC 7396
function merge(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const result = new Map<string, unknown>(isObject(target) ? Object.entries(target) : []);
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) result.delete(name);
    else result.set(name, merge(result.get(name), value));
  }
  return Object.fromEntries(result);
}

// ---- lists

function after(article: Article, name: string, id: number): boolean {
  return article.name > name || (article.name === name && article.id > id);
}

const writeCursor = (parts: [string, number, string | null]) =>
  Buffer.from(JSON.stringify(parts)).toString("base64url");

function readCursor(cursor: string): [string, number, string | null] {
  try {
    const parts = JSON.parse(Buffer.from(cursor, "base64url").toString());
    if (
      Array.isArray(parts) && parts.length === 3 && typeof parts[0] === "string" && Number.isSafeInteger(parts[1]) &&
      (parts[2] === null || typeof parts[2] === "string") && writeCursor(parts as any) === cursor
    ) {
      return parts as any;
    }
  } catch {
    // falls through
  }
  throw new Problem(400, "The cursor is not one of this service");
}

// ---- routes

export function v2(store: Store): Router {
  const router = Router();

  const show = (res: Response, status: number, value: unknown, type = "application/json") => {
    const body = Buffer.from(JSON.stringify(value));
    res.status(status);
    res.setHeader("Content-Type", type);
    res.setHeader("Content-Length", body.length);
    res.end(body);
  };

  // the body first, so that from the condition to the change nothing else comes between
  const body = (req: Request, res: Response, next: NextFunction) =>
    express.raw({ type: () => true, limit: "8mb" })(req, res, (err?: unknown) => {
      res.locals.bodyError = err;
      next();
    });

  const parsed = (req: Request, res: Response, type: string): unknown => {
    const given = (req.headers["content-type"] ?? "").split(";")[0].trim().toLowerCase();
    if (given !== type) throw new Problem(415, `The content type has to be ${type}`);
    if (res.locals.bodyError) throw new Problem(res.locals.bodyError.status ?? 400, "The body cannot be read");
    try {
      return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(Buffer.isBuffer(req.body) ? req.body : Buffer.alloc(0)));
    } catch {
      throw new Problem(400, "The body is not JSON");
    }
  };

  const find = (req: Request): Article => {
    const match = /^a-(0|[1-9][0-9]*)$/.exec(req.params.id);
    const article = match ? store.get(Number(match[1])) : undefined;
    if (!article || `a-${article.id}` !== req.params.id) throw new Problem(404, "There is no such article");
    return article;
  };

  const condition = (req: Request, tag: string) => {
    const header = req.headers["if-match"];
    if (header === undefined) throw new Problem(428, "If-Match is missing");
    if (!matches(header, tag, false)) throw new Problem(412, "The article has changed");
  };

  router.get("/articles/:id", (req, res) => {
    const article = find(req);
    const shown = view(article, store.extra(article.id));
    const tag = entityTag(shown);
    res.setHeader("ETag", tag);
    const header = req.headers["if-none-match"];
    if (header !== undefined && matches(header, tag, true)) res.status(304).end();
    else show(res, 200, shown);
  });

  router.get("/articles", (req, res) => {
    const query = new URLSearchParams(req.originalUrl.split("?").slice(1).join("?"));
    const names = [...query.keys()];
    if (new Set(names).size < names.length) throw new Problem(400, "A parameter stands there twice");
    const limit = query.get("limit") ?? "20";
    if (!/^([1-9][0-9]?|100)$/.test(limit)) throw new Problem(400, "limit has to be from 1 to 100");
    let tag = query.get("tag");
    let from: [string, number] | undefined;
    const cursor = query.get("cursor");
    if (cursor !== null) {
      if (tag !== null) throw new Problem(400, "The cursor has a tag of its own");
      const [name, id, kept] = readCursor(cursor);
      from = [name, id];
      tag = kept;
    }
    const follow = store
      .all()
      .filter((one) => (tag === null || splitTags(one.tags).includes(tag)) && (!from || after(one, ...from)))
      .sort((a, b) => (after(a, b.name, b.id) ? 1 : -1));
    const page = follow.slice(0, Number(limit));
    const last = page[page.length - 1];
    show(res, 200, {
      articles: page.map((one) => view(one, store.extra(one.id))),
      next: follow.length > page.length ? writeCursor([last.name, last.id, tag]) : null,
    });
  });

  const fields = (shown: View) => ({
    name: shown.name,
    price: units(shown.price.amount),
    currency: shown.price.currency,
    tags: shown.tags.join(","),
    stock: shown.stock,
  });

  router.post("/articles", body, (req, res) => {
    const wanted = checked(parsed(req, res, "application/json"));
    const article = store.add(fields(wanted));
    store.setExtra(article.id, { note: wanted.note, size: wanted.size });
    const shown = view(article, store.extra(article.id));
    res.setHeader("ETag", entityTag(shown));
    res.setHeader("Location", `/v2/articles/${shown.id}`);
    show(res, 201, shown);
  });

  router.patch("/articles/:id", body, (req, res) => {
    const article = find(req);
    const before = view(article, store.extra(article.id));
    condition(req, entityTag(before));
    const wanted = checked(merge(before, parsed(req, res, "application/merge-patch+json")), before.id);
    if (JSON.stringify(wanted) !== JSON.stringify(before)) {
      const { id, ...data } = article;
      const sameTags = JSON.stringify(wanted.tags) === JSON.stringify(before.tags);
      store.replace(id, { ...data, ...fields(wanted), tags: sameTags ? article.tags : wanted.tags.join(",") });
      store.setExtra(id, { note: wanted.note, size: wanted.size });
    }
    const shown = view(store.get(article.id)!, store.extra(article.id));
    res.setHeader("ETag", entityTag(shown));
    show(res, 200, shown);
  });

  router.delete("/articles/:id", body, (req, res) => {
    const article = find(req);
    condition(req, entityTag(view(article, store.extra(article.id))));
    store.remove(article.id);
    res.status(204).end();
  });

  router.use(() => {
    throw new Problem(404, "There is no such path");
  });
  router.use((err: any, req: Request, res: Response, next: NextFunction) => {
    const status = err instanceof URIError ? 404 : err.status ?? 500;
    const title = status < 500 ? err.message : "Internal error";
    show(res, status, { status, title, ...(err.errors && { errors: err.errors }) }, "application/problem+json");
  });
  return router;
}
END
cd /app
python3 - <<'END'
def edit(path, *pairs):
    text = open(path).read()
    for old, new in pairs:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    open(path, "w").write(text)


edit("src/types.ts", ("export type ArticleData", """// What only version 2 knows
export interface Extra {
  note: string | null;
  size: { width: number; height: number } | null;
}

export type ArticleData"""))
edit("src/store.ts",
     ("import { Article, ArticleData }", "import { Article, ArticleData, Extra }"),
     ("  private lastId = 0;", "  private extras = new Map<number, Extra>();\n  private lastId = 0;"),
     ("    return this.articles.delete(id);", "    this.extras.delete(id);\n    return this.articles.delete(id);"),
     ("  add(data", """  extra(id: number): Extra {
    return this.extras.get(id) ?? { note: null, size: null };
  }

  setExtra(id: number, extra: Extra): void {
    this.extras.set(id, extra);
  }

  add(data"""))
edit("src/app.ts",
     ('import { v1 } from "./v1";', 'import { v1 } from "./v1";\nimport { v2 } from "./v2";'),
     ('  app.use("/v1", v1(store));', '  app.use("/v1", v1(store));\n  app.use("/v2", v2(store));'))
END
