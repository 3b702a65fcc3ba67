import { createApp } from "./app";
import { Store } from "./store";

const store = Store.load(process.env.CATALOGUE_DATA ?? "data/articles.json");
const server = createApp(store).listen(Number(process.env.PORT ?? 8080), "127.0.0.1", () => {
  console.log("ready");
});
process.on("SIGTERM", () => {
  server.close();
  server.closeAllConnections();
});
