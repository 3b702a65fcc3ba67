set -e
python3 - <<'PY'
path = "src/store.ts"
text = open(path).read()
text = text.replace(
    'import { Article, ArticleData } from "./types";\n\n',
    '''import { Article, ArticleData, Extras } from "./types";

const NO_EXTRAS: Extras = { note: null, size: null };

''',
)
text = text.replace(
    "  private lastId = 0;\n",
    "  // What only version 2 knows\n  private extras = new Map<number, Extras>();\n  private lastId = 0;\n",
)
text = text.replace(
    "  remove(id: number): boolean {\n",
    '''  getExtras(id: number): Extras {
    return this.extras.get(id) ?? NO_EXTRAS;
  }

  setExtras(id: number, extras: Extras): void {
    this.extras.set(id, extras);
  }

  remove(id: number): boolean {
    this.extras.delete(id);
''',
)
open(path, "w").write(text)
path = "src/app.ts"
text = open(path).read()
text = text.replace('import { v1 } from "./v1";\n', 'import { v1 } from "./v1";\nimport { v2 } from "./v2";\n')
text = text.replace('  app.use("/v1", v1(store));\n', '  app.use("/v1", v1(store));\n  app.use("/v2", v2(store));\n')
open(path, "w").write(text)
PY
cat >> src/types.ts <<'TS'

export interface Extras {
  note: string | null;
  size: { width: number; height: number } | null;
}
TS
cat >> src/money.ts <<'TS'

export function toAmount(price: number, currency: string): string {
  const decimals = DECIMALS[currency];
  if (!decimals) return String(price);
  const digits = String(price).padStart(decimals + 1, "0");
  return digits.slice(0, -decimals) + "." + digits.slice(-decimals);
}

export function isAmount(amount: string, currency: string): boolean {
  const decimals = DECIMALS[currency];
  return new RegExp(`^(0|[1-9][0-9]*)${decimals ? `\\.[0-9]{${decimals}}` : ""}$`).test(amount);
}

export function toPrice(amount: string): number {
  return Number(amount.replace(".", ""));
}
TS
cat > src/article2.ts <<'TS'
import { isAmount, isCurrency, toAmount, toPrice } from "./money";
import { Article, ArticleData, Extras } from "./types";

export interface Article2 extends Extras {
  id: string;
  name: string;
  price: { amount: string; currency: string };
  tags: string[];
  stock: number;
}

export interface Problem {
  pointer: string;
  code: string;
}

export function represent(article: Article, extras: Extras): Article2 {
  const tags = article.tags.split(",").map((tag) => tag.trim());
  return {
    id: "a-" + article.id,
    name: article.name,
    price: { amount: toAmount(article.price, article.currency), currency: article.currency },
    tags: [...new Set(tags)].filter((tag) => tag !== ""),
    stock: article.stock,
    note: extras.note,
    size: extras.size && { width: extras.size.width, height: extras.size.height },
  };
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

const has = (object: object, key: string) => Object.prototype.hasOwnProperty.call(object, key);

/** RFC 7396 */
export function mergePatch(target: unknown, patch: unknown): unknown {
  if (!isObject(patch)) return patch;
  const result = new Map(isObject(target) ? Object.entries(target) : []);
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) result.delete(key);
    else result.set(key, mergePatch(result.get(key), value));
  }
  return Object.fromEntries(result);
}

function wholeNumber(value: unknown, from: number, to: number): string | null {
  if (!Number.isInteger(value)) return "type";
  return (value as number) < from || (value as number) > to ? "range" : null;
}

/** All errors of an article; `id` is the one that it has to have, or undefined for none. */
export function check(body: unknown, id?: string): Problem[] {
  const problems: Problem[] = [];
  const report = (pointer: string, code: string | null) => {
    if (code) problems.push({ pointer, code });
  };
  if (!isObject(body)) return [{ pointer: "", code: "type" }];

  const member = (
    object: Record<string, unknown>,
    base: string,
    key: string,
    optional: boolean,
    nullable: boolean,
    test: (value: any, pointer: string) => string | null | void,
  ) => {
    const pointer = `${base}/${key}`;
    if (!has(object, key)) {
      if (!optional) report(pointer, "required");
    } else if (object[key] === null) {
      if (!nullable) report(pointer, "required");
    } else {
      report(pointer, test(object[key], pointer) ?? null);
    }
  };
  const unknown = (object: Record<string, unknown>, base: string, known: string[]) => {
    const names = Object.keys(object).filter((key) => !known.includes(key));
    for (const name of names.sort()) {
      report(`${base}/${name.replace(/~/g, "~0").replace(/\//g, "~1")}`, "unknown");
    }
  };

  if (id === undefined ? has(body, "id") : body.id !== id) report("/id", "readonly");
  member(body, "", "name", false, false, (name) => {
    if (typeof name !== "string") return "type";
    return name.trim() === "" ? "format" : null;
  });
  member(body, "", "price", false, false, (price, base) => {
    if (!isObject(price)) return "type";
    member(price, base, "amount", false, false, (amount) => {
      if (typeof amount !== "string") return "type";
      if (!isCurrency(price.currency)) return null;
      if (!isAmount(amount, price.currency)) return "format";
      return toPrice(amount) >= 1e12 ? "range" : null;
    });
    member(price, base, "currency", false, false, (currency) => {
      if (typeof currency !== "string") return "type";
      return isCurrency(currency) ? null : "format";
    });
    unknown(price, base, ["amount", "currency"]);
  });
  member(body, "", "tags", true, false, (tags, base) => {
    if (!Array.isArray(tags)) return "type";
    tags.forEach((tag, i) => {
      let code = null;
      if (tag === null) code = "required";
      else if (typeof tag !== "string") code = "type";
      else if (tag === "" || tag !== tag.trim() || tag.includes(",")) code = "format";
      else if (tags.indexOf(tag) < i) code = "duplicate";
      report(`${base}/${i}`, code);
    });
  });
  member(body, "", "stock", true, false, (stock) => wholeNumber(stock, 0, 1000000));
  member(body, "", "note", true, true, (note) => (typeof note === "string" ? null : "type"));
  member(body, "", "size", true, true, (size, base) => {
    if (!isObject(size)) return "type";
    for (const key of ["width", "height"]) {
      member(size, base, key, false, false, (value) => wholeNumber(value, 1, 100000));
    }
    unknown(size, base, ["width", "height"]);
  });
  unknown(body, "", ["id", "name", "price", "tags", "stock", "note", "size"]);
  return problems;
}

/** What a checked article is in version 1 and beside it; `before` keeps its spelling of the tags. */
export function split(body: any, before?: Article): [ArticleData, Extras] {
  const tags: string[] = body.tags ?? [];
  const shown = before && represent(before, { note: null, size: null }).tags;
  const same = shown && JSON.stringify(shown) === JSON.stringify(tags);
  const data = {
    name: body.name,
    price: toPrice(body.price.amount),
    currency: body.price.currency,
    tags: same ? before!.tags : tags.join(","),
    stock: body.stock ?? 0,
  };
  return [data, { note: body.note ?? null, size: body.size ?? null }];
}
TS
cat > src/v2.ts <<'TS'
import { createHash } from "crypto";
import express, { NextFunction, Request, Response, Router } from "express";
import { check, mergePatch, Problem, represent, split } from "./article2";
import { Store } from "./store";
import { Article } from "./types";

class Failure extends Error {
  constructor(readonly status: number, message: string, readonly errors?: Problem[]) {
    super(message);
  }
}

/** The entity tags of a header, weak ones with their W/ */
const entityTags = (header: string) => header.match(/(W\/)?"[^"]*"/g) ?? [];

function body(req: Request, type: string): unknown {
  if (!req.is(type)) throw new Failure(415, `the body has to be ${type}`);
  try {
    return JSON.parse(typeof req.body === "string" ? req.body : "");
  } catch {
    throw new Failure(400, "the body is not JSON");
  }
}

function parameter(req: Request, name: string): string | undefined {
  const value = req.query[name];
  if (value !== undefined && typeof value !== "string") {
    throw new Failure(400, `${name} stands there more than once`);
  }
  return value;
}

interface Place {
  name: string;
  id: number;
  tag: string | null;
}

function readCursor(text: string): Place {
  try {
    const [name, id, tag] = JSON.parse(Buffer.from(text, "base64url").toString());
    if (typeof name === "string" && Number.isInteger(id)) return { name, id, tag };
  } catch {
    // falls through
  }
  throw new Failure(400, "no such cursor");
}

const writeCursor = ({ name, id, tag }: Place) =>
  Buffer.from(JSON.stringify([name, id, tag])).toString("base64url");

const compare = (a: { name: string; id: number }, b: { name: string; id: number }) =>
  a.name < b.name ? -1 : a.name > b.name ? 1 : a.id - b.id;

export function v2(store: Store): Router {
  const router = Router();
  router.use(express.text({ type: ["application/json", "application/merge-patch+json"] }));

  const show = (article: Article) => represent(article, store.getExtras(article.id));
  const tagOf = (article: Article) =>
    `"${createHash("sha256").update(JSON.stringify(show(article))).digest("base64url")}"`;

  const send = (res: Response, article: Article) => {
    res.set("ETag", tagOf(article)).json(show(article));
  };

  const find = (req: Request): Article => {
    const match = /^a-(0|[1-9][0-9]*)$/.exec(req.params.id);
    const article = match && store.get(Number(match[1]));
    if (!article) throw new Failure(404, "no such article");
    return article;
  };

  const findToChange = (req: Request): Article => {
    const article = find(req);
    const header = req.get("If-Match");
    if (header === undefined) throw new Failure(428, "If-Match is missing");
    if (header.trim() !== "*" && !entityTags(header).includes(tagOf(article))) {
      throw new Failure(412, "the article has changed");
    }
    return article;
  };

  router.get("/articles", (req, res) => {
    const limitText = parameter(req, "limit") ?? "20";
    const limit = Number(limitText);
    if (!/^[0-9]+$/.test(limitText) || limit < 1 || limit > 100) {
      throw new Failure(400, "limit is a number from 1 to 100");
    }
    const cursor = parameter(req, "cursor");
    const asked = parameter(req, "tag");
    if (cursor !== undefined && asked !== undefined) {
      throw new Failure(400, "a cursor has its own tag");
    }
    const place = cursor === undefined ? null : readCursor(cursor);
    const tag = place ? place.tag : asked ?? null;
    const following = store
      .all()
      .filter((article) => !place || compare(article, place) > 0)
      .filter((article) => tag === null || show(article).tags.includes(tag))
      .sort(compare);
    const page = following.slice(0, limit);
    const last = page[page.length - 1];
    res.json({
      articles: page.map(show),
      next: following.length > page.length ? writeCursor({ name: last.name, id: last.id, tag }) : null,
    });
  });

  router.get("/articles/:id", (req, res) => send(res, find(req)));

  router.post("/articles", (req, res) => {
    const wanted = body(req, "application/json");
    const problems = check(wanted);
    if (problems.length) throw new Failure(422, "the article has errors", problems);
    const [data, extras] = split(wanted);
    const article = store.add(data);
    store.setExtras(article.id, extras);
    res.status(201).location(`/v2/articles/a-${article.id}`);
    send(res, article);
  });

  router.patch("/articles/:id", (req, res) => {
    const article = findToChange(req);
    const before = show(article);
    const wanted = mergePatch(before, body(req, "application/merge-patch+json"));
    const problems = check(wanted, before.id);
    if (problems.length) throw new Failure(422, "the article has errors", problems);
    const [data, extras] = split(wanted, article);
    store.setExtras(article.id, extras);
    if (JSON.stringify(before) !== JSON.stringify(represent({ id: article.id, ...data }, extras))) {
      store.replace(article.id, data);
    }
    send(res, store.get(article.id)!);
  });

  router.delete("/articles/:id", (req, res) => {
    store.remove(findToChange(req).id);
    res.status(204).end();
  });

  router.use(() => {
    throw new Failure(404, "no such path");
  });

  router.use((err: any, req: Request, res: Response, next: NextFunction) => {
    const status = err.status ?? 500;
    const title = status < 500 ? err.message : "internal error";
    res.status(status).type("application/problem+json");
    res.send(JSON.stringify({ status, title, errors: err.errors }));
  });

  return router;
}
TS
