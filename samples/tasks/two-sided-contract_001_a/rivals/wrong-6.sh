# "`next` is null if and only if nothing follows."
set -e
# One router file with a table of fields; the extras hang on the articles by a symbol.
cat > /tmp/edit.py <<'PY'
text = open("src/store.ts").read()
text = text.replace(
    'import { Article, ArticleData } from "./types";\n',
    '''import { Article, ArticleData } from "./types";

/** What version 2 adds to an article; JSON.stringify does not see it. */
export const ADDED = Symbol("added");

export interface Added {
  note: string | null;
  size: { width: number; height: number } | null;
}

export const added = (article: any): Added => article[ADDED] ?? { note: null, size: null };
''',
)
text = text.replace(
    "    const article = { id, ...data };\n    this.articles.set(id, article);\n",
    "    const article = { id, ...data, [ADDED]: added(this.articles.get(id)) };\n    this.articles.set(id, article);\n",
)
open("src/store.ts", "w").write(text)
text = open("src/app.ts").read()
text = text.replace('from "./v1";\n', 'from "./v1";\nimport { v2 } from "./v2";\n')
text = text.replace('v1(store));\n', 'v1(store));\n  app.use("/v2", v2(store));\n')
open("src/app.ts", "w").write(text)
PY
python3 /tmp/edit.py
rm /tmp/edit.py
cat > src/v2.ts <<'TS'
import { createHash } from "crypto";
import { Request, Response, Router } from "express";
import { DECIMALS, isCurrency } from "./money";
import { ADDED, Store, added } from "./store";
import { Article } from "./types";

type Code = "readonly" | "unknown" | "required" | "type" | "format" | "range" | "duplicate";
type Found = { pointer: string; code: Code };
type Checker = (value: any, pointer: string, found: Found[], owner: any) => void;
type Field = { fallback?: unknown; nullable?: boolean; check: Checker };

const plain = (v: any) => v !== null && typeof v === "object" && !Array.isArray(v);

const simple =
  (rule: (value: any, owner: any) => Code | undefined): Checker =>
  (value, pointer, found, owner) => {
    const code = rule(value, owner);
    if (code) found.push({ pointer, code });
  };

const whole = (low: number, high: number): Checker =>
  simple((v) => (!Number.isInteger(v) ? "type" : v < low || v > high ? "range" : undefined));

const object =
  (fields: Record<string, Field>, hidden: string[] = []): Checker =>
  (value, pointer, found) => {
    if (!plain(value)) {
      found.push({ pointer, code: "type" });
      return;
    }
    for (const [name, field] of Object.entries(fields)) {
      const here = pointer + "/" + name;
      const present = Object.prototype.hasOwnProperty.call(value, name);
      if (!present && "fallback" in field) continue;
      if (!present || (value[name] === null && !field.nullable)) found.push({ pointer: here, code: "required" });
      else if (value[name] !== null) field.check(value[name], here, found, value);
    }
    const strange = Object.keys(value).filter((name) => !(name in fields) && !hidden.includes(name));
    for (const name of strange.sort()) {
      const escaped = name.split("~").join("~0").split("/").join("~1");
      found.push({ pointer: pointer + "/" + escaped, code: "unknown" });
    }
  };

const bare = (fields: Record<string, Field>) => Object.assign(Object.create(null), fields);

function amountRule(amount: any, price: any): Code | undefined {
  if (typeof amount !== "string") return "type";
  if (!isCurrency(price.currency)) return undefined;
  const parts = amount.split(".");
  const decimals = DECIMALS[price.currency];
  const digits = parts.every((part) => part !== "" && [...part].every((c) => c >= "0" && c <= "9"));
  if (!digits || (parts[0].length > 1 && parts[0][0] === "0")) return "format";
  if (decimals === 0 ? parts.length !== 1 : parts.length !== 2 || parts[1].length !== decimals) return "format";
  return BigInt(parts.join("")) >= 10n ** 12n ? "range" : undefined;
}

const tagsCheck: Checker = (tags, pointer, found) => {
  if (!Array.isArray(tags)) {
    found.push({ pointer, code: "type" });
    return;
  }
  const seen = new Set<unknown>();
  tags.forEach((tag, index) => {
    let code: Code | undefined;
    if (tag === null) code = "required";
    else if (typeof tag !== "string") code = "type";
    else if (!tag || tag.trim() !== tag || tag.indexOf(",") >= 0) code = "format";
    else if (seen.has(tag)) code = "duplicate";
    seen.add(tag);
    if (code) found.push({ pointer: `${pointer}/${index}`, code });
  });
};

const ARTICLE = object(
  bare({
    name: { check: simple((v) => (typeof v !== "string" ? "type" : v.trim() ? undefined : "format")) },
    price: {
      check: object(
        bare({
          amount: { check: simple(amountRule) },
          currency: { check: simple((v) => (typeof v !== "string" ? "type" : isCurrency(v) ? undefined : "format")) },
        }),
      ),
    },
    tags: { fallback: [], check: tagsCheck },
    stock: { fallback: 0, check: whole(0, 1000000) },
    note: { fallback: null, nullable: true, check: simple((v) => (typeof v !== "string" ? "type" : undefined)) },
    size: {
      fallback: null,
      nullable: true,
      check: object(bare({ width: { check: whole(1, 100000) }, height: { check: whole(1, 100000) } })),
    },
  }),
  ["id"],
);

function errorsOf(value: any, id: string | undefined): Found[] {
  const found: Found[] = [];
  if (plain(value) && value.id !== id) found.push({ pointer: "/id", code: "readonly" });
  else if (plain(value) && id === undefined && "id" in value) found.push({ pointer: "/id", code: "readonly" });
  ARTICLE(value, "", found, undefined);
  return found;
}

function listOf(tags: string): string[] {
  const list: string[] = [];
  for (const part of tags.split(",")) {
    const tag = part.trim();
    if (tag && !list.includes(tag)) list.push(tag);
  }
  return list;
}

function amountOf(article: Article): string {
  const decimals = DECIMALS[article.currency];
  let digits = `${article.price}`;
  while (digits.length <= decimals) digits = "0" + digits;
  const split = digits.length - decimals;
  return decimals ? `${digits.slice(0, split)}.${digits.slice(split)}` : digits;
}

const text = (article: Article) =>
  JSON.stringify({
    id: `a-${article.id}`,
    name: article.name,
    price: { amount: amountOf(article), currency: article.currency },
    tags: listOf(article.tags),
    stock: article.stock,
    note: added(article).note,
    size: added(article).size,
  });

const etag = (article: Article) => '"' + createHash("sha1").update(text(article)).digest("hex") + '"';

function toArticle(value: any, id: number, old?: Article): Article {
  const { name, price, tags = [], stock = 0, note = null, size = null } = value;
  const keep = old !== undefined && listOf(old.tags).join() === tags.join();
  const article = {
    id,
    name,
    price: Number(price.amount.split(".").join("")),
    currency: price.currency,
    tags: keep ? old!.tags : tags.join(),
    stock,
  };
  return Object.assign(article, { [ADDED]: { note, size: size && { width: size.width, height: size.height } } });
}

function merge(target: any, patch: any): any {
  if (!plain(patch)) return patch;
  const result = plain(target) ? { ...target } : {};
  for (const name of Object.keys(patch)) {
    if (patch[name] === null) delete result[name];
    else {
      const value = merge(result[name], patch[name]);
      Object.defineProperty(result, name, { value, enumerable: true, configurable: true, writable: true });
    }
  }
  return result;
}

function matches(header: string, tag: string): boolean {
  if (header.trim() === "*") return true;
  const found: string[] = [];
  header.replace(/(W\/)?("[^"]*")/g, (all, weak, opaque) => {
    if (!weak) found.push(opaque);
    return "";
  });
  return found.indexOf(tag) >= 0;
}

function problem(res: Response, status: number, title: string, errors?: Found[]): void {
  res.status(status).set("Content-Type", "application/problem+json");
  res.end(JSON.stringify(errors ? { status, title, errors } : { status, title }));
}

/** Calls `then` with the JSON value of a body of this type, or answers by itself. */
function withBody(req: Request, res: Response, type: string, then: (value: any) => void): void {
  const chunks: Buffer[] = [];
  req.on("data", (chunk) => chunks.push(chunk));
  req.on("end", () => {
    const given = (req.headers["content-type"] ?? "").split(";")[0].trim().toLowerCase();
    if (given !== type) return problem(res, 415, `${type} is wanted`);
    let value;
    try {
      value = JSON.parse(Buffer.concat(chunks).toString("utf8"));
    } catch (e) {
      return problem(res, 400, "not JSON");
    }
    then(value);
  });
}

export function v2(store: Store): Router {
  const router = Router();

  const answer = (res: Response, status: number, article: Article) => {
    res.status(status).set({ ETag: etag(article), "Content-Type": "application/json; charset=utf-8" });
    res.send(text(article));
  };

  const one = (req: Request, res: Response, change: boolean): Article | undefined => {
    const id = req.params.id;
    const article = store.get(Number(id.slice(2)));
    if (!article || `a-${article.id}` !== id) return void problem(res, 404, "no such article");
    if (!change) return article;
    const header = req.headers["if-match"];
    if (header === undefined) return void problem(res, 428, "If-Match, please");
    if (!matches(header, etag(article))) return void problem(res, 412, "it is another one by now");
    return article;
  };

  router
    .route("/articles")
    .get((req, res) => {
      const { limit = "20", cursor, tag } = req.query;
      if (typeof limit !== "string" || !/^\d{1,3}$/.test(limit) || +limit < 1 || +limit > 100) {
        return problem(res, 400, "limit");
      }
      if (tag !== undefined && (typeof tag !== "string" || cursor !== undefined)) return problem(res, 400, "tag");
      let after: [string, number] | undefined;
      let wanted = tag as string | undefined;
      if (cursor !== undefined) {
        try {
          const place = JSON.parse(Buffer.from(String(cursor), "hex").toString("utf8"));
          if (typeof cursor !== "string" || typeof place.n !== "string") throw new Error();
          after = [place.n, place.i];
          wanted = place.t;
        } catch (e) {
          return problem(res, 400, "cursor");
        }
      }
      const behind = (a: Article) => !after || a.name > after[0] || (a.name === after[0] && a.id > after[1]);
      const rows = store.all().filter(behind);
      rows.sort((a, b) => (a.name === b.name ? a.id - b.id : a.name < b.name ? -1 : 1));
      const page: Article[] = [];
      let next: string | null = null;
      for (const row of rows) {
        if (wanted !== undefined && !listOf(row.tags).includes(wanted)) continue;
        page.push(row);
        if (page.length === +limit) {
          const last = row;
          next = Buffer.from(JSON.stringify({ n: last.name, i: last.id, t: wanted })).toString("hex");
          break;
        }
      }
      res.set("Content-Type", "application/json; charset=utf-8");
      res.send(`{"articles":[${page.map(text).join()}],"next":${JSON.stringify(next)}}`);
    })
    .post((req, res) =>
      withBody(req, res, "application/json", (value) => {
        const errors = errorsOf(value, undefined);
        if (errors.length) return problem(res, 422, "not an article", errors);
        const { id, ...data } = toArticle(value, 0);
        const article = store.add(data);
        answer(res.set("Location", `/v2/articles/a-${article.id}`), 201, article);
      }),
    );

  router
    .route("/articles/:id")
    .get((req, res) => {
      const article = one(req, res, false);
      if (article) answer(res, 200, article);
    })
    .patch((req, res) => {
      const article = one(req, res, true);
      if (!article) return;
      withBody(req, res, "application/merge-patch+json", (patch) => {
        const value = merge(JSON.parse(text(article)), patch);
        const errors = errorsOf(value, `a-${article.id}`);
        if (errors.length) return problem(res, 422, "not an article", errors);
        Object.assign(article, toArticle(value, article.id, article));
        answer(res, 200, article);
      });
    })
    .delete((req, res) => {
      const article = one(req, res, true);
      if (!article) return;
      store.remove(article.id);
      res.sendStatus(204);
    });

  return router;
}
TS
