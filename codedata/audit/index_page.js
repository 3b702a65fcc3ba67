// Show the page of audits. index_page.py makes `data` and the blocks, and says what they hold.

const tasks = await block("rows");
const n = tasks.length;
const COLOURS = { failed: "failed", "not checked": "unfinished", review: "review", passed: "passed",
  "no case": "none" };
const rank = result => data.results.indexOf(result);
const byWorst = (a, b) => rank(a.result) - rank(b.result);
const isOpenQuestion = check => rank(check.result) < rank("passed");
const findings = task => task.checks.filter(isOpenQuestion).toSorted(byWorst);
const resultOf = check => `${check.name}: ${check.result}`;
const folderOf = task => !task.folder ? "as it was audited"
  : task.folder.startsWith("cannot") ? "cannot be read" : task.folder;
const badge = (result, text = result) => h("span", { class: `badge ${COLOURS[result] ?? ""}` },
  isolated(text));
const secondsOf = task => task.checks.reduce((sum, one) => sum + one.seconds, 0);
const time = seconds => seconds < 120 ? `${number(seconds, 1)} s` : `${number(seconds / 60, 1)} min`;
const percent = share => `${number(100 * share, 1)}\u00a0%`;

/** Return [killed, tried] of a task's variants; null where there are none. */
function killed(task) {
  const { tried, killed } = task.checks.find(one => one.name === "strength")?.figures ?? {};
  return tried > 0 && Number.isFinite(killed) ? [killed, tried] : null;
}

// the overview ------------------------------------------------------------------------------------

/** Make a number of tasks, which shows them where there are some. */
const shower = (count, changes) => count ? h("button", { type: "button", class: "link",
  title: "Show these tasks", click: () => showTasks(changes) }, number(count))
  : h("span", { class: "quiet" }, "0");

/** Show the tasks that these filters alone leave. */
function showTasks(changes) {
  list.change({ ...Object.fromEntries(["q", ...filters.map(one => one.key)].map(key => [key, ""])),
    ...changes });
  jump("tasks");
}

function overview() {
  const of = test => tasks.filter(test).length;
  const figures = [["tasks audited", number(n)], ...data.results.map(result => [
    [h("span", { class: `swatch ${COLOURS[result]}` }), result],
    shower(of(task => task.worst === result), { result })]),
  ["audited as they are", number(of(task => !task.folder))]];
  return section("overview", "Overview",
    data.n_broken > 0 && h("div", { class: "notice", role: "note" },
      h("strong", {}, `${counted(data.n_broken, "audit")} cannot be read:`),
      h("ul", {}, data.broken.map(one => h("li", {}, isolated(one))))),
    h("p", { class: "lead" }, "A task counts by the worst result of its checks. “review” is a question "
      + "for a reader: a variant that is still rewarded may be wrong, or equal in meaning."),
    h("dl", { class: "numbers" }, figures.map(([name, value]) =>
      h("div", {}, h("dt", {}, name), h("dd", {}, value)))),
    n > 0 && h("div", { class: "cards" },
      h("div", { class: "card" }, h("h3", {}, "Checks by result, in tasks"), checks()),
      h("div", { class: "card" }, h("h3", {}, "Of all that was tried"), shares())));
}

function checks() {
  const names = [...new Set(tasks.flatMap(task => task.checks.map(check => check.name)))];
  const count = value => tasks.filter(task => task.checks.some(one => resultOf(one) === value)).length;
  return plainTable("Checks", [["", ""], ...data.results.map(result => [
    [h("span", { class: `swatch ${COLOURS[result]}` }), result], "number"])],
  names.map(name => [isolated(name, { class: "mono" }), ...data.results.map(result =>
    shower(count(`${name}: ${result}`), { check: `${name}: ${result}` }))]));
}

const shares = () => plainTable("Shares", [["", ""], ["", "number"], ["share", "number"],
  ["95 % interval", "number"]], data.shares.map(({ title, part, whole, interval }) => [title,
  whole ? `${number(part)} of ${number(whole)}` : h("span", { class: "quiet" }, "not tried"),
  whole ? percent(part / whole) : "–", interval ? interval.map(percent).join(" – ") : "–"]));

// the table ---------------------------------------------------------------------------------------

const column = (key, value, more = {}) => ({ key, title: key, classes: `c-${key}`,
  value: i => value(tasks[i]), cell: i => isolated(value(tasks[i])), ...more });

const filters = [
  { key: "kind", title: "Kind", of: i => tasks[i].kind },
  { key: "result", title: "Result", of: i => tasks[i].worst },
  { key: "check", title: "Check", of: i => tasks[i].checks.map(resultOf) },
  { key: "folder", title: "Folder", of: i => folderOf(tasks[i]) }];

const list = listing({
  n, noun: "task", label: "Tasks", searches: "Search ids, kinds, reasons, evidence",
  columns: [
    column("task", task => task.id, { cell: i => [
      isolated(tasks[i].id, { class: "name" }),
      h("span", { class: "quiet second" }, tasks[i].folder && [badge("review", folderOf(tasks[i])), " "],
        isolated(findings(tasks[i]).map(one => one.why).find(Boolean) ?? ""))] }),
    column("kind", task => task.kind.replaceAll("_", " ")),
    column("result", task => rank(task.worst), { cell: i => badge(tasks[i].worst) }),
    column("findings", task => findings(task).length, { falls: true,
      hint: "Checks that failed, were not made, or need a reader",
      cell: i => findings(tasks[i]).map(one => [badge(one.result, one.name), " "]) }),
    column("killed", task => killed(task) && killed(task)[0] / killed(task)[1], {
      classes: "c-killed number", hint: "Wrong variants that were killed, of those tried",
      cell: i => killed(tasks[i])?.map(value => number(value)).join(" of ") ?? "–" }),
    column("seconds", secondsOf, { classes: "c-seconds number", falls: true,
      cell: i => number(secondsOf(tasks[i]), 1) }),
  ],
  filters,
  text: i => [tasks[i].id, tasks[i].kind, ...tasks[i].checks.flatMap(one =>
    [one.name, one.why, ...one.evidence])].join("\n"),
  open: i => opened.open(i) });

// no empty room below a few tasks
list.table.parentElement.style.setProperty("max-height", `calc(2.5rem + ${n} * 46px)`);


// one task ----------------------------------------------------------------------------------------

const part = (title, ...content) => h("section", { class: "part" }, h("h3", {}, title), content);
const code = text => h("div", { class: "code" }, longText(text, "text"));
const command = text => h("pre", { class: "text command", title: "A click selects all of it" }, text);

/** Return a diff as pairs of lines, [left, right], each {at, text, is} or null. */
function pairsOf(diff) {
  const pairs = [], old = [], fresh = [];
  let left = 0, right = 0;
  const flush = () => {
    for (let k = 0; k < Math.max(old.length, fresh.length); k++)
      pairs.push([old[k] ?? null, fresh[k] ?? null]);
    old.length = fresh.length = 0;
  };
  for (const line of diff.slice(Math.max(0, diff.search(/^@@/m))).replace(/\n$/, "").split("\n")) {
    const at = line.match(/^@@ -(\d+)\S* \+(\d+)/), text = line.slice(1);
    if (line[0] === "-") old.push({ at: left++, text, is: "old" });
    else if (line[0] === "+") fresh.push({ at: right++, text, is: "new" });
    else if (line[0] !== "\\") {
      flush();
      if (at) [left, right] = [Number(at[1]), Number(at[2])];
      else pairs.push([{ at: left++, text }, { at: right++, text }]);
    }
  }
  flush();
  return pairs;
}

/** Make a line of one side; what differs from the line beside it is marked. */
function side(line, other, place = "") {
  if (!line) return h("div", { class: `line empty ${place}` });
  let from = 0, to = 0;
  if (other && line.is) {
    const [a, b] = [line.text, other.text], most = Math.min(a.length, b.length);
    while (from < most && a[from] === b[from]) from++;
    while (to < most - from && a[a.length - 1 - to] === b[b.length - 1 - to]) to++;
  }
  const end = line.text.length - to, isPart = other && line.is && end > from;
  return h("div", { class: `line ${line.is ?? ""} ${place}` }, h("span", { class: "at" }, number(line.at)),
    h("bdi", {}, isPart ? [line.text.slice(0, from), h("mark", {}, line.text.slice(from, end)),
      line.text.slice(end)] : line.text));
}

const VERDICTS = { wrong: "failed", equal: "passed", "not said": "review" };   // of a model: its badge

const survivor = one => {
  const pairs = pairsOf(one.diff);
  return h("div", { class: "survivor" }, h("p", {}, isolated(`${one.path}:${one.line}`, { class: "mono" }),
    " ", badge("", one.operator), one.verdict && [" ", badge(VERDICTS[one.verdict], one.verdict)]),
  one.verdict && h("p", {}, one.quote && [h("q", {}, isolated(one.quote)), " "], isolated(one.why)),
  one.quote && !one.gold_keeps_it && h("p", { class: "notice" }, "The gold itself breaks it."),
  h("div", { class: "diff" },
    h("h5", {}, "Gold"), h("h5", { class: "right" }, "Variant"),
    pairs.map(([gold, variant]) => [side(gold, variant), side(variant, gold, "right")])));
};

function survivors(tries) {
  const places = Map.groupBy(tries, one => one.place);
  return [...places].map(([, ones], k) => h("div", { class: "place" },
    h("h4", {}, `Place ${k + 1} of ${places.size}: `
      + `${counted(ones.length, ones[0].path.startsWith("cheat-") ? "script" : "variant")} still rewarded`
      + (ones.every(one => one.unrun) ? ", in lines that no test runs" : "")),
    ones.map(survivor)));
}

const checkPart = (check, tries) => folded([isolated(check.name, { class: "role mono" }),
  badge(check.result), isolated(check.why || check.words, { class: "start" }),
  h("span", { class: "size" }, time(check.seconds))], () => [
  check.why && h("p", {}, isolated(check.why)),
  check.words && h("p", { class: "quiet" }, isolated(check.words)),
  check.evidence.length > 0 && code(check.evidence.join("\n")),
  command(check.command), ...survivors(tries)].filter(Boolean), "message", isOpenQuestion(check));

const filePart = ({ path, text, size }) => folded([isolated(path, { class: "mono start-path" }),
  h("span", { class: "size" }, text === null ? `${number(size)} bytes, no text`
    : `${number(size)} characters`)], () => [text === null ? h("p", {}, "It is no text.") : code(text),
  size > data.max_chars && text !== null && h("p", { class: "quiet" },
    `The first ${number(data.max_chars)} of ${number(size)} characters; its file has all.`)]
  .filter(Boolean), "message");

function inFull(task, full) {
  const facts = [["result", badge(task.worst)], ["kind", task.kind || NONE],
    ["content", task.content], ["seconds", number(secondsOf(task), 1)]];
  return [
    task.folder && h("p", { class: "notice" }, "Its folder ", isolated(task.folder), "."),
    h("dl", { class: "facts" }, facts.map(([name, value]) => h("div", {}, h("dt", {}, name),
      h("dd", {}, value.nodeType ? value : isolated(value))))),
    part("Checks", task.checks.toSorted(byWorst).map(check =>
      checkPart(check, full?.tries[check.name] ?? []))),
    full ? full.files.length > 0 && part("Files", full.files.map(filePart),
      full.files.length === data.max_files && h("p", { class: "quiet" },
        `Its first ${number(data.max_files)} files.`))
      : h("p", { class: "notice" }, "This page has no room for the survivors and files of this task: "
        + `it holds those of ${number(data.n_details)} of ${counted(n, "task")}.`)];
}

const opened = reading({ list, key: "task", ids: tasks.map(task => task.id), title: i => isolated(tasks[i].id),
  body: async i => inFull(tasks[i], hasBlock(`task-${i}`) ? await block(`task-${i}`) : null) });

/** j and k go to the next and the previous task, in the table and in a task; / begins to search. */
function press(event) {
  const by = { j: 1, k: -1 }[event.key];
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select")) return;
  if (event.key === "/" && !reader.open) {
    event.preventDefault();
    list.search.focus();
  } else if (by && reader.open) {
    if (opened.step.can(by)) opened.step(by);
  } else if (by && document.activeElement !== list.table) list.table.focus();
  else if (by) list.table.dispatchEvent(new KeyboardEvent("keydown",
    { key: by > 0 ? "ArrowDown" : "ArrowUp" }));
}

const parts = [overview(), n > 0 && section("tasks", "Tasks", h("p", { class: "lead" },
  "The worst first. Keys: j next, k previous, Enter opens a task, Esc closes it, / searches."),
list.element)].filter(Boolean);
document.getElementById("main").replaceChildren(...parts);
head(document.title, parts.map(one => [one.id, one.querySelector("h2").textContent]));
addEventListener("keydown", press);
await opened.follow();
performance.mark("ready");
