import { readFileSync } from "fs";
import { Article, ArticleData } from "./types";

export class Store {
  private articles = new Map<number, Article>();
  private lastId = 0;

  static load(path: string): Store {
    const store = new Store();
    for (const article of JSON.parse(readFileSync(path, "utf8")) as Article[]) {
      store.articles.set(article.id, article);
      store.lastId = Math.max(store.lastId, article.id);
    }
    return store;
  }

  all(): Article[] {
    return [...this.articles.values()].sort((a, b) => a.id - b.id);
  }

  get(id: number): Article | undefined {
    return this.articles.get(id);
  }

  add(data: ArticleData): Article {
    const article = { id: ++this.lastId, ...data };
    this.articles.set(article.id, article);
    return article;
  }

  replace(id: number, data: ArticleData): Article {
    const article = { id, ...data };
    this.articles.set(id, article);
    return article;
  }

  remove(id: number): boolean {
    return this.articles.delete(id);
  }
}
