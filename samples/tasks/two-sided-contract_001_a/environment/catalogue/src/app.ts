import express, { Express, NextFunction, Request, Response } from "express";
import { Store } from "./store";
import { v1 } from "./v1";

export function createApp(store: Store): Express {
  const app = express();
  app.disable("x-powered-by");
  app.use("/v1", v1(store));
  app.use((req: Request, res: Response) => {
    res.status(404).json({ error: "no such path" });
  });
  app.use((err: any, req: Request, res: Response, next: NextFunction) => {
    const status = err.status ?? 500;
    res.status(status).json({ error: status < 500 ? err.message : "internal error" });
  });
  return app;
}
