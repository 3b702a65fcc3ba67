set -e
# A class that knows both forms; errors come from a generator; answers leave through one function.
mkdir -p src/v2
cat > src/v2/errors.ts <<'TS'
import { DECIMALS, isCurrency } from "../money";

export type Entry = [pointer: string, code: string];
const own = (o: object, k: string) => Object.prototype.hasOwnProperty.call(o, k);
export const isObject = (v: any) => typeof v === "object" && v !== null && !Array.isArray(v);

function* strangers(o: any, at: string, known: string): Generator<Entry> {
  const names = Object.keys(o).filter((k) => !known.split(" ").includes(k));
  names.sort();
  for (const k of names) yield [`${at}/${k.replace(/[~/]/g, (c) => (c === "~" ? "~0" : "~1"))}`, "unknown"];
}

function* integer(o: any, key: string, at: string, from: number, to: number): Generator<Entry> {
  if (!own(o, key) || o[key] === null) yield [`${at}/${key}`, "required"];
  else if (typeof o[key] !== "number" || o[key] % 1 !== 0) yield [`${at}/${key}`, "type"];
  else if (o[key] < from || o[key] > to) yield [`${at}/${key}`, "range"];
}

function* price(p: any): Generator<Entry> {
  const { amount = null, currency = null } = p;
  if (amount === null) yield ["/price/amount", "required"];
  else if (typeof amount !== "string") yield ["/price/amount", "type"];
  else if (isCurrency(currency)) {
    const n = DECIMALS[currency];
    const form = n === 0 ? /^(0|[1-9]\d*)$/ : n === 2 ? /^(0|[1-9]\d*)\.\d\d$/ : /^(0|[1-9]\d*)\.\d\d\d$/;
    if (!form.test(amount)) yield ["/price/amount", "format"];
    else if (amount.replace(/\D/g, "").replace(/^0+/, "").length > 12) yield ["/price/amount", "range"];
  }
  if (currency === null) yield ["/price/currency", "required"];
  else if (typeof currency !== "string") yield ["/price/currency", "type"];
  else if (!isCurrency(currency)) yield ["/price/currency", "format"];
  yield* strangers(p, "/price", "amount currency");
}

function tagCode(tag: unknown, before: unknown[]): string | undefined {
  if (tag === null) return "required";
  if (typeof tag !== "string") return "type";
  if (tag.trim() !== tag || tag === "" || tag.includes(",")) return "format";
  return before.includes(tag) ? "duplicate" : undefined;
}

export function* errors(v: any, id?: string): Generator<Entry> {
  if (!isObject(v)) return yield ["", "type"];
  if (id === undefined ? own(v, "id") : v.id !== id) yield ["/id", "readonly"];
  if (!own(v, "name") || v.name === null) yield ["/name", "required"];
  else if (typeof v.name !== "string") yield ["/name", "type"];
  else if (!/\S/.test(v.name)) yield ["/name", "format"];
  if (!own(v, "price") || v.price === null) yield ["/price", "required"];
  else if (isObject(v.price)) yield* price(v.price);
  else yield ["/price", "type"];
  if (own(v, "tags")) {
    if (v.tags === null) yield ["/tags", "required"];
    else if (!Array.isArray(v.tags)) yield ["/tags", "type"];
    else {
      for (const [i, tag] of v.tags.entries()) {
        const code = tagCode(tag, v.tags.slice(0, i));
        if (code) yield [`/tags/${i}`, code];
      }
    }
  }
  if (own(v, "stock")) yield* integer(v, "stock", "", 0, 1e6);
  if (own(v, "note") && v.note !== null && typeof v.note !== "string") yield ["/note", "type"];
  if (own(v, "size") && v.size !== null) {
    if (isObject(v.size)) {
      yield* integer(v.size, "width", "/size", 1, 1e5);
      yield* integer(v.size, "height", "/size", 1, 1e5);
      yield* strangers(v.size, "/size", "width height");
    } else yield ["/size", "type"];
  }
  yield* strangers(v, "", "id name price tags stock note size");
}
TS
cat > src/v2/view.ts <<'TS'
import { createHash } from "crypto";
import { DECIMALS } from "../money";
import { Article, ArticleData } from "../types";

export class View {
  constructor(readonly article: Article, readonly note: string | null, readonly size: any) {}

  get tags(): string[] {
    return Array.from(new Set(this.article.tags.split(",").map((t) => t.trim()).filter(Boolean)));
  }

  get amount(): string {
    const n = DECIMALS[this.article.currency];
    const all = "0".repeat(n) + this.article.price;
    const front = all.slice(0, all.length - n).replace(/^0+(?=\d)/, "");
    return n ? `${front}.${all.slice(-n)}` : front;
  }

  toJSON() {
    const { id, name, currency, stock } = this.article;
    const price = { amount: this.amount, currency };
    return { id: `a-${id}`, name, price, tags: this.tags, stock, note: this.note, size: this.size };
  }

  get etag(): string {
    return `"${createHash("md5").update(JSON.stringify(this)).digest("base64")}"`;
  }

  /** What version 1 keeps of a value that has no errors; the same tags keep their spelling. */
  static data(value: any, before?: View): ArticleData {
    const tags: string[] = value.tags ?? [];
    const old = before?.tags;
    const same = old !== undefined && old.length === tags.length && old.every((t, i) => t === tags[i]);
    return {
      name: value.name,
      price: parseInt(value.price.amount.replace(".", ""), 10),
      currency: value.price.currency,
      tags: same ? before!.article.tags : tags.join(","),
      stock: value.stock ?? 0,
    };
  }
}

export function patched(target: any, patch: any): any {
  const isObject = (v: any) => typeof v === "object" && v !== null && !Array.isArray(v);
  if (!isObject(patch)) return patch;
  const entries = new Map<string, any>(isObject(target) ? Object.entries(target) : []);
  Object.entries(patch).forEach(([key, value]) =>
    value === null ? entries.delete(key) : entries.set(key, patched(entries.get(key), value)),
  );
  return Object.fromEntries(entries);
}
TS
cat > src/v2/index.ts <<'TS'
import express, { Request, RequestHandler, Response, Router } from "express";
import { Store } from "../store";
import { errors } from "./errors";
import { patched, View } from "./view";

const TYPES = { POST: "application/json", PATCH: "application/merge-patch+json" } as Record<string, string>;

function fail(res: Response, status: number, title: string, more: object = {}) {
  res.status(status).type("application/problem+json").send(Buffer.from(JSON.stringify({ status, title, ...more })));
}

export function v2(store: Store): Router {
  const sizes = new Map<number, any>();
  const notes = new Map<number, string | null>();
  const router = Router();

  const view = (id: number): View | undefined => {
    const article = store.get(id);
    return article && new View(article, notes.get(id) ?? null, sizes.get(id) ?? null);
  };
  const keep = (id: number, value: any) => {
    notes.set(id, value.note ?? null);
    sizes.set(id, value.size ? { width: value.size.width, height: value.size.height } : null);
    return view(id)!;
  };

  const exists: RequestHandler = (req, res, next) => {
    const [, digits] = /^a-([1-9]\d*|0)$/.exec(req.params.id) ?? [];
    res.locals.view = digits && view(+digits);
    if (res.locals.view) next();
    else fail(res, 404, "no such article");
  };

  const unchanged: RequestHandler = (req, res, next) => {
    const header = req.header("if-match");
    if (header === undefined) return fail(res, 428, "If-Match is needed");
    const strong = new Set<string>();
    for (const [, weak, tag] of header.matchAll(/(W\/)?("[^"]*")/g)) if (!weak) strong.add(tag);
    if (header.trim() === "*" || strong.has(res.locals.view.etag)) next();
    else fail(res, 412, "changed in between");
  };

  const parsed: RequestHandler[] = [
    (req, res, next) => {
      const given = (req.header("content-type") ?? "").replace(/\s*;.*/, "").trim().toLowerCase();
      if (given === TYPES[req.method]) next();
      else fail(res, 415, "another content type is needed");
    },
    express.raw({ type: () => true }),
    (req, res, next) => {
      try {
        res.locals.value = JSON.parse(Buffer.isBuffer(req.body) ? req.body.toString() : "");
      } catch {
        return fail(res, 400, "not JSON");
      }
      next();
    },
  ];

  const checked: RequestHandler = (req, res, next) => {
    const before: View | undefined = res.locals.view;
    if (before) res.locals.value = patched(JSON.parse(JSON.stringify(before)), res.locals.value);
    const found = [...errors(res.locals.value, before && "a-" + before.article.id)];
    if (found.length === 0) return next();
    fail(res, 422, "errors", { errors: found.map(([pointer, code]) => ({ pointer, code })) });
  };

  const show = (res: Response, shown: View) => res.set("ETag", shown.etag).json(shown);

  router.get("/articles/:id", exists, (req, res) => show(res, res.locals.view));

  router.post("/articles", ...parsed, checked, (req, res) => {
    const { value } = res.locals;
    const { id } = store.add(View.data(value));
    show(res.status(201).location(`/v2/articles/a-${id}`), keep(id, value));
  });

  router.patch("/articles/:id", exists, unchanged, ...parsed, checked, (req, res) => {
    const { value, view: before } = res.locals;
    const { id } = before.article;
    Object.assign(store.get(id)!, View.data(value, before));
    show(res, keep(id, value));
  });

  router.delete("/articles/:id", exists, unchanged, (req, res) => {
    store.remove(res.locals.view.article.id);
    res.status(204).end();
  });

  router.get("/articles", (req: Request, res: Response) => {
    const asked = new URLSearchParams(req.originalUrl.split("?")[1] ?? "");
    for (const name of ["limit", "cursor", "tag"]) {
      if (asked.getAll(name).length > 1) return fail(res, 400, `two of ${name}`);
    }
    const limit = asked.get("limit") ?? "20";
    if (!/^([1-9]\d?|100)$/.test(limit)) return fail(res, 400, "limit");
    let tag = asked.get("tag");
    let place: any = null;
    if (asked.has("cursor")) {
      if (tag !== null) return fail(res, 400, "cursor and tag");
      try {
        place = JSON.parse(decodeURIComponent(escape(atob(asked.get("cursor")!.split(".").join("+")))));
        tag = place.tag;
        if (!Number.isInteger(place.id)) throw new Error();
      } catch {
        return fail(res, 400, "cursor");
      }
    }
    const views = store
      .all()
      .map((article) => view(article.id)!)
      .filter((v) => tag === null || v.tags.indexOf(tag) >= 0)
      .filter(({ article: { name, id } }) => !place || name > place.name || (name === place.name && id > place.id))
      .sort((v, w) => (v.article.name < w.article.name ? -1 : v.article.name > w.article.name ? 1 : v.article.id - w.article.id));
    const page = views.slice(0, +limit);
    let next = null;
    if (views.length > page.length) {
      const { name, id } = page[page.length - 1].article;
      next = btoa(unescape(encodeURIComponent(JSON.stringify({ name, id, tag })))).split("+").join(".");
    }
    res.json({ articles: page, next });
  });

  return router;
}
TS
python3 - <<'PY'
text = open("src/app.ts").read()
text = text.replace('from "./v1";\n', 'from "./v1";\nimport { v2 } from "./v2";\n')
text = text.replace('v1(store));\n', 'v1(store));\n  app.use("/v2", v2(store));\n')
open("src/app.ts", "w").write(text)
PY
