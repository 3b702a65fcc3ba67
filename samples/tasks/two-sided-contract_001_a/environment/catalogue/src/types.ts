export interface Article {
  id: number;
  name: string;
  price: number; // in the smallest unit of the currency
  currency: string;
  tags: string; // with commas between them
  stock: number;
}

export type ArticleData = Omit<Article, "id">;
