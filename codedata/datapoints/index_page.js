// Show the page of terminal tasks. index_page.py makes `data` and the blocks, and says what they
// hold.

const tasks = await block("tasks");
const n = tasks.length;
const LEVELS = ["easy", "medium", "hard", "extremely_hard"];
const OUTCOMES = { passed: "good", failed: "bad", "not checked": "quiet" };
const FAILED = "failed checks", PASSED = "all checks passed", UNKNOWN = "not validated";

const checksOf = task => task.found?.checks ?? [];
const having = (task, status) => checksOf(task).filter(one => one.status === status).length;
const total = (all, value) => all.reduce((sum, one) => sum + (value(one) ?? 0), 0);
const badge = status => h("span", { class: `badge ${data.statuses[status] ?? ""}` },
  isolated(status || NONE));

function duration(seconds) {
  if (typeof seconds !== "number") return "–";
  if (seconds < 120) return `${number(seconds, 1)} s`;
  return seconds < 7200 ? `${number(seconds / 60, 1)} min` : `${number(seconds / 3600, 1)} h`;
}

/** Return the words by which a task is filtered: outcome of its checks, and which have failed. */
function outcomes(task) {
  if (!task.found) return [UNKNOWN];
  const failed = checksOf(task).filter(one => one.status === "failed").map(one => one.name);
  if (failed.length) return [FAILED, ...failed.map(name => `failed: ${name}`)];
  return [having(task, "passed") === checksOf(task).length ? PASSED : "some not checked"];
}

// the overview ------------------------------------------------------------------------------------

function overview() {
  const found = tasks.map(task => task.found).filter(Boolean);
  const seconds = total(found, one => one.seconds), engine = total(found, one => one.engine_s);
  const count = name => number(tasks.filter(task => outcomes(task).includes(name)).length);
  const figures = {
    tasks: number(n),
    ...Object.fromEntries(Object.keys(data.statuses).map(status =>
      [status, number(tasks.filter(task => task.status === status).length)])),
    [PASSED]: count(PASSED), [FAILED]: count(FAILED), [UNKNOWN]: count(UNKNOWN),
    validation: duration(seconds),
    "of that in the engine": seconds ? `${number(100 * engine / seconds)} %` : "–" };
  return section("overview", "Overview",
    data.n_broken > 0 && h("div", { class: "notice", role: "note" },
      h("strong", {}, `${counted(data.n_broken, "folder")} cannot be read:`),
      h("ul", {}, data.broken.map(one => h("li", {}, isolated(one))))),
    h("p", { class: "lead" }, "An approved task lies in task/, and is exported as it was proven. After "
      + "an edit of more than its labels it has to be proven again. Seconds are those of the checks."),
    h("dl", { class: "numbers" }, Object.entries(figures).map(([name, value]) =>
      h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    data.gaps && h("p", { class: "quiet" }, "No task here has the ", isolated(data.gaps), "."));
}

/** Return a number of tasks; unless it is 0, as a button that shows these tasks. */
const shower = (count, changes) => count ? h("button", { type: "button", class: "link",
  title: "Show these tasks", click: () => showTasks(changes) }, number(count)) : "0";

function categories() {
  const statuses = Object.entries(data.statuses), sums = new Map();
  for (const { category, status } of tasks) {
    if (!sums.has(category)) sums.set(category, new Map());
    sums.get(category).set(status, (sums.get(category).get(status) ?? 0) + 1);
  }
  const rows = [...sums].sort(([a], [b]) => collator.compare(a, b)).map(([category, sum]) => [
    isolated(category || NONE), ...statuses.map(([status]) =>
      shower(sum.get(status), { category: category || NONE, status }))]);
  return plainTable("Categories", [["", ""], ...statuses.map(([status, colour]) =>
    [[h("span", { class: `swatch ${colour}` }), status], "number"])], rows);
}

function checks() {
  const sums = new Map();
  for (const { name, status, seconds } of tasks.flatMap(checksOf)) {
    if (!sums.has(name)) sums.set(name, { all: 0, passed: 0, failed: 0, seconds: 0 });
    const sum = sums.get(name);
    sum.all++;
    sum[status]++;
    sum.seconds += seconds;
  }
  return sums.size ? plainTable("Checks", [["", ""], ["passed", "number"], ["failed", "number"],
    ["not checked", "number"], ["time a task", "number"]], [...sums].map(([name, sum]) => [
    isolated(name, { class: "mono" }), number(sum.passed),
    shower(sum.failed, { checks: `failed: ${name}` }),
    number(sum.all - sum.passed - sum.failed), duration(sum.seconds / sum.all)]))
    : h("p", { class: "quiet" }, "No task is validated in its current state.");
}

/** Show the tasks that match these filters, and clear all other filters. */
function showTasks(changes) {
  if (reader.open) reader.close();
  list.change({ ...Object.fromEntries(["q", ...filters.map(one => one.key)].map(key => [key, ""])),
    ...changes });
  jump("tasks");
}

const costs = () => data.costs.length > 0 && section("costs", "Costs",
  h("p", { class: "lead" }, "Every call under dp/, from the ledgers."),
  plainTable("Costs", [["stage", ""], ["model", "words"], ["calls", "number"],
    ["tokens in", "number"], ["tokens out", "number"], ["time", "number"], ["cost", "number"]],
  data.costs.map(one => [isolated(one.stage), isolated(one.model), number(one.calls),
    number(one.tokens_in), number(one.tokens_out), duration(one.seconds), isolated(one.text)])));

// the table ---------------------------------------------------------------------------------------

function checksCell(task) {
  if (!task.found) return h("span", { class: "quiet" }, UNKNOWN);
  const all = checksOf(task).length, passed = having(task, "passed");
  return h("span", { class: passed === all ? "good" : "bad" }, `${passed} of ${all}`);
}

const reviewCell = texts => texts.length > 0 && h("span", { class: "quiet" },
  `${number(texts.length)}: `, isolated(texts.join("; ")));

const column = (key, value, more = {}) => ({ key, title: key, classes: `c-${key}`,
  value: i => value(tasks[i]), cell: i => isolated(value(tasks[i])), ...more });
const numbers = (key, value, shown) => column(key, value, { classes: "c-number number",
  falls: true, cell: i => shown(value(tasks[i])) });

const filters = [
  { key: "status", title: "Status", of: i => tasks[i].status },
  { key: "category", title: "Category", of: i => tasks[i].category },
  { key: "tag", title: "Tag", of: i => tasks[i].tags },
  { key: "difficulty", title: "Difficulty", of: i => tasks[i].difficulty },
  { key: "language", title: "Language", of: i => tasks[i].languages },
  { key: "checks", title: "Checks", of: i => outcomes(tasks[i]) },
  { key: "seed", title: "Seed", of: i => tasks[i].seed }];

const list = listing({
  n, noun: "task", label: "Tasks", searches: "Search ids, prompts, categories, tags",
  columns: [
    column("task", task => task.id, { cell: i => [isolated(tasks[i].id, { class: "name" }),
      isolated(tasks[i].prompt, { class: "prompt" })] }),
    column("status", task => task.status, { cell: i => badge(tasks[i].status) }),
    column("category", task => task.category),
    column("tags", task => task.tags.join(", ")),
    column("difficulty", task => LEVELS.indexOf(task.difficulty), {
      cell: i => isolated(tasks[i].difficulty) }),
    column("languages", task => task.languages.join(", ")),
    column("checks", task => task.found && having(task, "passed"), {
      hint: "Checks that passed", falls: true, cell: i => checksCell(tasks[i]) }),
    numbers("seconds", task => task.found?.seconds, value => number(value, 1)),
    column("review", task => task.found?.review.length, { title: "for review", falls: true,
      cell: i => reviewCell(tasks[i].found?.review ?? []) }),
  ],
  filters,
  text: i => [tasks[i].id, tasks[i].prompt, tasks[i].category, ...tasks[i].tags,
    ...tasks[i].languages, tasks[i].seed].join("\n"),
  open: i => opened.open(i) });

// no empty room below a few tasks
list.table.parentElement.style.setProperty("max-height", `calc(2.5rem + ${n} * 46px)`);

// one task ----------------------------------------------------------------------------------------

const part = (title, ...content) => h("section", { class: "part" }, h("h3", {}, title), content);
const listed = texts => h("ul", { class: "listed" }, texts.map(one => h("li", {}, isolated(one))));
const factList = pairs => h("dl", { class: "facts" }, pairs.map(([name, value]) =>
  h("div", {}, h("dt", {}, isolated(name)), h("dd", {}, value?.nodeType ? value
    : isolated(value)))));

function lineage(task, pairs) {
  const others = tasks.filter(one => task.seed && one.seed === task.seed).length - 1;
  const all = [...pairs, ...task.draft ? [["draft", fileLink("./", task.draft)]] : []];
  return all.length > 0 && part("Lineage", factList(all), others > 0 && h("button",
    { type: "button", class: "link", click: () => showTasks({ seed: task.seed }) },
    `Show it and ${counted(others, "other task")} of this seed`));
}

function textPart(name, [text, chars], classes = "code") {
  return part(name, h("div", { class: classes }, longText(text, "text")),
    chars > data.max_chars && h("p", { class: "quiet" },
      `The first ${number(data.max_chars)} of ${number(chars)} characters; the file has all.`));
}

const checkRows = checks => plainTable("Checks", [["check", ""], ["", ""], ["seconds", "number"],
  ["why, and evidence", "words"]], checks.map(one => [isolated(one.name, { class: "mono" }),
  h("span", { class: OUTCOMES[one.status] }, isolated(one.status)), number(one.seconds, 1),
  [isolated(one.why), one.evidence.length > 0 && h("div", { class: "code" },
    longText(one.evidence.join("\n"), "text"))]]));

function inFull(task, full) {
  const known = [["status", badge(task.status)], ["category", task.category || NONE],
    ["tags", task.tags.join(", ") || NONE], ["difficulty", task.difficulty || NONE],
    ["languages", task.languages.join(", ") || NONE], ["content", task.content],
    ["reason", task.reason], ["licence", task.licence]];
  const facts = factList(known.filter(([, value]) => value));
  const { found } = task;
  const checked = [found?.review.length > 0 && part("For review", listed(found.review)),
    part("Checks", found ? [checkRows(found.checks), h("p", { class: "quiet" },
      `${duration(found.seconds)}, of that ${duration(found.engine_s)} in calls of the engine; `,
      "base image ", isolated(found.base_image))]
      : h("p", { class: "quiet" }, "This task is not validated in its current state."))];
  if (!full) return [facts, checked, h("p", { class: "notice" }, "This page has no room for more "
    + `of this task: it holds ${number(data.n_details)} of ${counted(n, "task")} in full.`)];
  const shown = (path, ...how) => textPart(path, full.texts[path], ...how);
  return [facts, shown("instruction.md", "prose"), checked,
    lineage(task, full.lineage),
    h("div", { class: "sides" }, shown("environment/Dockerfile"),
      full.weights.length ? part("Tests and their weights", plainTable("Weights",
        [["test", ""], ["weight", "number"]], full.weights.map(([name, weight]) =>
          [isolated(name, { class: "mono" }), isolated(weight)])))
        : shown("tests/config.json")),
    h("div", { class: "sides" }, shown("tests/test_outputs.py"),
      shown("solution/solve.sh")),
    part(`environment/: ${counted(full.n_files, "file")}`, full.files.length > 0 && plainTable("Files",
      [["file", ""], ["bytes", "number"]], full.files.map(([name, size]) =>
        [isolated(name, { class: "mono" }), number(size)])),
    full.files.length < full.n_files && h("p", { class: "quiet" },
      `The first ${number(full.files.length)}.`))];
}

const opened = reading({ list, key: "task", ids: tasks.map(task => task.id), title: i => isolated(tasks[i].id),
  body: async i => inFull(tasks[i], hasBlock(`task-${i}`) ? await block(`task-${i}`) : null) });

const parts = [overview(), n > 0 && section("tasks", "Tasks", list.element), n > 0 && section(
  "counts", "Categories and checks", h("div", { class: "cards" },
    h("div", { class: "card" }, h("h3", {}, "Tasks by category and status"), categories()),
    h("div", { class: "card" }, h("h3", {}, "What the checks found"), checks()))), costs()]
  .filter(Boolean);
document.getElementById("main").replaceChildren(...parts);
head(document.title, parts.map(one => [one.id, one.querySelector("h2").textContent]));
await opened.follow();
performance.mark("ready");
