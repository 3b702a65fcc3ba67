import express, { Request, Response, Router } from "express";
import { isCurrency } from "./money";
import { Store } from "./store";
import { ArticleData } from "./types";

function check(body: any): ArticleData | string {
  if (typeof body !== "object" || body === null) return "body is not an object";
  const { name, price, currency, tags = "", stock = 0 } = body;
  if (typeof name !== "string" || name.trim() === "") return "name is missing";
  if (!Number.isSafeInteger(price) || price < 0) return "price is not a number of cents";
  if (!isCurrency(currency)) return "currency is not known";
  if (typeof tags !== "string") return "tags is not a string";
  if (!Number.isSafeInteger(stock) || stock < 0) return "stock is not a number";
  return { name, price, currency, tags, stock };
}

function number(value: unknown, fallback: number): number {
  const n = Number(value ?? fallback);
  return Number.isSafeInteger(n) && n >= 0 ? n : fallback;
}

export function v1(store: Store): Router {
  const router = Router();
  router.use(express.json());

  const find = (req: Request, res: Response) => {
    const article = store.get(Number(req.params.id));
    if (!article) res.status(404).json({ error: "no such article" });
    return article;
  };

  router.get("/articles", (req, res) => {
    const all = store.all();
    const offset = number(req.query.offset, 0);
    const limit = number(req.query.limit, 50);
    res.json({ total: all.length, articles: all.slice(offset, offset + limit) });
  });

  router.get("/articles/:id", (req, res) => {
    const article = find(req, res);
    if (article) res.json(article);
  });

  router.post("/articles", (req, res) => {
    const data = check(req.body);
    if (typeof data === "string") return res.status(400).json({ error: data });
    res.status(201).json(store.add(data));
  });

  router.put("/articles/:id", (req, res) => {
    const article = find(req, res);
    if (!article) return;
    const data = check(req.body);
    if (typeof data === "string") return res.status(400).json({ error: data });
    res.json(store.replace(article.id, data));
  });

  router.delete("/articles/:id", (req, res) => {
    const article = find(req, res);
    if (!article) return;
    store.remove(article.id);
    res.status(204).end();
  });

  return router;
}
