
// Draw a page: its sections, made of blocks, and the table of its rows. builder.py and blocks.py say what `data` and
// the compressed blocks hold. Data becomes text nodes and attributes, never markup.

// data ----------------------------------------------------------------------------------------------------------------

const data = JSON.parse(document.getElementById("data").textContent);
const inflated = new Map();

const hasBlock = name => document.getElementById(`block-${name}`) !== null;

/** Return a value that build() was given as a block. It is inflated when it is first asked for. */
function block(name) {
  if (!inflated.has(name)) inflated.set(name, inflate(document.getElementById(`block-${name}`).textContent));
  return inflated.get(name);
}

async function inflate(base64) {
  const characters = atob(base64), bytes = new Uint8Array(characters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = characters.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

/** Show on the page what went wrong: a reader does not look into the console. */
function trouble(what) {
  if (String(what).startsWith("ResizeObserver")) return;   // a frame later it is painted all the same
  document.getElementById("main").prepend(h("p", { class: "notice", role: "alert" },
    `This page cannot be shown whole: ${what}`));
}

addEventListener("error", event => trouble(event.message));
addEventListener("unhandledrejection", event => trouble(event.reason));

// elements ------------------------------------------------------------------------------------------------------------

/** Make an element. Attributes: a function listens, an object under `style` sets properties; null and false are
 * left out. */
function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name, value);
    else if (name === "style") Object.entries(value).forEach(([key, of]) => element.style.setProperty(key, of));
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat(Infinity).filter(child => child !== null && child !== undefined && child !== false));
  return element;
}

/** Wrap text from outside in <bdi>: text that runs from right to left must not turn what is around it. */
const isolated = (text, attributes = {}) => h("bdi", attributes, String(text));

/** Make a link to a file beside the page. */
const fileLink = (from, path) => h("a", { href: from + path.split("/").map(encodeURIComponent).join("/") },
  isolated(path));

const number = (value, digits = 0) => value === null || value === undefined ? "–" : value.toLocaleString("en-US",
  { minimumFractionDigits: digits, maximumFractionDigits: digits, signDisplay: "negative" });   // no "-0.00"
const counted = (n, noun) => `${number(n)} ${noun}${n === 1 ? "" : "s"}`;

/** Make a table to read. Columns are [title, class], rows lists of cells. The first cell names its row; "" is as
 * above. */
function plainTable(caption, columns, rows, foot = null) {
  const line = cells => h("tr", { class: cells[0] === "" && "on" }, cells.map((cell, i) => h(i ? "td" : "th", {
    scope: i ? null : "row", class: columns[i][1] }, cell)));
  return h("div", { class: "wide" }, h("table", { class: "plain" },
    h("caption", { class: "hidden" }, caption),
    h("thead", {}, h("tr", {}, columns.map(([title, classes]) => h("th", { scope: "col", class: classes }, title)))),
    h("tbody", {}, rows.map(cells => line(cells))), foot && h("tfoot", {}, line(foot))));
}

function section(id, title, ...content) {
  return h("section", { id, "aria-labelledby": `${id}-title` },
    h("h2", { id: `${id}-title`, tabindex: -1 }, title), content);
}

// blocks --------------------------------------------------------------------------------------------------------------

const TAGS = new Set(["p", "div", "section", "strong", "h3", "ul", "li", "details", "summary"]);

/** Draw a block: a text, a number, a list of blocks, or { kind, … }. A kind that is not in KINDS is an element with its
 * classes and its `body`: "p.lead". */
function draw(block) {
  if (Array.isArray(block)) return block.map(draw);
  if (typeof block === "number") return number(block);
  if (typeof block === "string") return isolated(block);
  if (!block || block instanceof Node) return block;
  if (Object.hasOwn(KINDS, block.kind)) return KINDS[block.kind](block);
  const [tag, ...classes] = block.kind.split(".");
  if (!TAGS.has(tag)) throw new Error(`${block.kind} is no kind of block`);
  return h(tag, { class: classes.join(" ") }, draw(block.body));
}

const { noun, colours = {}, grid } = data.table;
const filters = data.table.filters.map(one => ({ title: one.key[0].toUpperCase() + one.key.slice(1), ...one }));
const quiet = text => h("span", { class: "quiet" }, text);
const swatch = value => [colours[value] && h("span", { class: `swatch ${colours[value]}` }), isolated(value)];
const badge = (text, value = text) => h("span", { class: `badge ${colours[value] ?? "grey"}` }, isolated(text || NONE));
const legend = keys => h("ul", { class: "keys" }, keys.map(([colour, meaning]) =>
  h("li", {}, h("span", { class: `swatch ${colour}` }), isolated(meaning))));
const part = (title, ...content) => h("section", { class: "part" }, title && h("h3", {}, isolated(title)), content);
const code = text => h("div", { class: "code" }, longText(text, "text"));
const patch = text => h("div", { class: "code" }, h("pre", { class: "text" }, text.split(/(?<=\n)/).map(line =>
  h("span", { class: { "+": "new", "-": "old" }[line[0]] }, line))));
const factList = pairs => h("dl", { class: "facts" }, pairs.map(([name, value]) =>
  h("div", {}, h("dt", {}, draw(name)), h("dd", {}, draw(value ?? "–")))));
const points = value => number(value, 2);
const percent = share => `${number(100 * share, 1)}\u00a0%`;
const inALine = text => text.slice(0, 300).trim().replace(/\s+/g, " ");

function duration(seconds) {
  if (typeof seconds !== "number") return "–";
  if (seconds < 60) return `${number(seconds, 1)} s`;
  return seconds < 3600 ? `${number(seconds / 60, 1)} min` : `${number(seconds / 3600, 1)} h`;
}

/** Make the **important** parts of a sentence bold. */
const strong = text => text.split("**").map((one, k) => k % 2 ? h("strong", { class: "bad" }, one)
  : isolated(one.replace(/\*([^*]+)\*/g, "$1")));

/** Tint a score: the stronger, the further it is from a draw. */
function tinted(value) {
  const share = value === null || value === undefined ? 0 : Math.min(60, Math.abs(value - 50) * 1.6);
  return h("span", { class: `tint ${value >= 50 ? "blue" : "amber"}`, style: { "--share": `${share}%` } },
    number(value, 1));
}

/** What is drawn of each kind of block. */
const KINDS = {
  listing: () => [h("p", { class: "lead" }, "Sort by the head of a column. Keys: arrows or j and k move, Enter opens "
    + `one, Esc closes it, / searches. The page holds ${nInFull() === rows.length ? `every ${noun}`
      : `${number(nInFull())} of ${counted(rows.length, noun)}`} in full.`),
  grid && data.table.columns.some(one => one.kind === "squares") && legend(Object.values(grid.letters)), list.element],
  /** A table to read. `align` has a letter for each column: r (numbers), w (words), p (points, tinted), l. */
  table({ caption, columns, rows, align }) {
    const isUsed = (of => (_, i) => of.some(cells => cells[i] !== ""))(rows);
    [columns, align, ...rows] = [columns, [...align], ...rows].map(line => line.filter(isUsed));
    const drawn = (cell, i) => align[i] === "p" && Number.isFinite(parseFloat(cell)) ? tinted(parseFloat(cell))
      : draw(cell ?? "–");
    const isSummed = align.includes("p") && rows.at(-1)?.[0] === "all";
    return plainTable(caption, columns.map((title, i) => [draw(title), { r: "number", p: "number", w: "words" }[align[i]]]),
      rows.slice(0, isSummed ? -1 : undefined).map(cells => cells.map(drawn)), isSummed && rows.at(-1).map(drawn));
  },
  text: ({ text, body }) => h("p", { class: "lead" }, strong(text ?? body)),
  row: ({ id }) => h("a", { href: `#${noun}=${encodeURIComponent(id)}` }, isolated(id)),
  duration: ({ seconds }) => duration(seconds),
  /** The number of rows that pass some filters, as a button that shows them. */
  count({ filters, text }) {
    const n = list.count(filters);
    return n ? h("button", { type: "button", class: "link", title: `Show these ${noun}s`, click: () => showRows(filters) },
      text ? isolated(text) : number(n)) : quiet("0");
  },
  /** How many rows have which value of a filter, the most frequent first. */
  counts({ key, title }) {
    const values = list.optionsOf(key).filter(value => value !== NONE);
    const rows = values.map(value => [value, list.count({ [key]: value })]).sort((a, b) => b[1] - a[1]);
    return rows.length ? plainTable(title, [[title, ""], [`${noun}s`, "number"]], rows.map(([text, n]) =>
      [KINDS.count({ text, filters: { [key]: text } }), number(n)]))
      : h("p", {}, `No ${title} were found in the ${noun}s as they are.`);
  },
  costs({ costs }) {
    const sum = key => costs.reduce((total, one) => total + one[key], 0);
    const all = { ...Object.fromEntries(["n_calls", "tokens_in", "tokens_out", "seconds"].map(key => [key, sum(key)])),
      stage: "all", model: "", text: "$0" };
    const usd = sum("cost_usd"), isAll = costs.every(one => !one.n_unpriced);
    if (usd > 0) all.text = `${isAll ? "" : "at least "}$${number(usd, usd >= 1 ? 2 : 4)}`;
    else if (!isAll) all.text = "unknown";
    const lines = [...costs, all].map(one => [isolated(one.stage), isolated(one.model), number(one.n_calls),
      number(one.tokens_in), number(one.tokens_out), duration(one.seconds),
      one.n_calls ? duration(one.seconds / one.n_calls) : "–", isolated(one.text)]);
    return plainTable("Costs and time", [["stage", ""], ["model", "words"], ["calls", "number"], ["tokens in", "number"],
      ["tokens out", "number"], ["time", "number"], ["a call", "number"], ["cost", "number"]], lines.slice(0, -1), lines.at(-1));
  },

  // charts

  /** How the verdicts fall: a bar for each judge, or each metric. */
  shares({ title, by }) {
    const names = grid[by], letters = Object.keys(grid.letters).filter(letter => letter !== "-");
    const bars = names.map((name, at) => {
      const counts = new Map(letters.map(letter => [letter, 0]));
      for (const { verdicts } of rows)
        for (let k = 0; k < verdicts.length; k++)
          if ((by === "judges" ? Math.floor(k / grid.metrics.length) : k % grid.metrics.length) === at && verdicts[k] !== "-")
            counts.set(verdicts[k], counts.get(verdicts[k]) + 1);
      const all = Math.max(1, [...counts.values()].reduce((sum, one) => sum + one));
      return [isolated(short(name)), h("div", { class: "split" }, letters.map(letter => counts.get(letter) > 0 && piece(
        grid.letters[letter][0], counts.get(letter), `${name}, ${grid.letters[letter][1]}: ${percent(counts.get(letter) / all)}`)))];
    });
    return h("figure", { class: "bars" }, h("figcaption", {}, isolated(title)), bars,
      legend(letters.map(letter => grid.letters[letter])));
  },
  /** How many rows have which score: columns of five points, each in the colours of its buckets. */
  scores() {
    const columns = Array.from({ length: 20 }, () => new Map());
    for (const { score, bucket } of rows) if (score !== null) {
      const column = columns[Math.min(19, Math.floor(score / 5))];
      column.set(bucket, (column.get(bucket) ?? 0) + 1);
    }
    const most = Math.max(1, ...columns.map(column => [...column.values()].reduce((sum, one) => sum + one, 0)));
    return h("figure", {}, h("figcaption", {}, `How many ${noun}s have which score; at most ${number(most)}`),
      h("div", { class: "columns" }, columns.map((column, at) => h("div", { class: "column" },
        [...column].map(([bucket, n]) => h("span", { class: colours[bucket] ?? "grey", title: `${5 * at}–${5 * at + 5}, `
          + `${bucket || noun}: ${number(n)}`, style: { height: `${100 * n / most}%` } })),
        at % 4 === 0 && h("span", { class: "at" }, `${5 * at}–${5 * at + 5}`)))));
  },

  // a duel

  interval: ({ duel }) => interval(duel.margin, ...duel.interval, [0, duel.win_margin]),
  buckets({ ranges }) {
    const sizes = Object.entries(ranges).map(([name, scores]) => [name, scores, list.count({ bucket: name })]);
    const without = sizes.reduce((left, [, , size]) => left - size, rows.length);
    return [h("div", { class: "split", "aria-hidden": "true" }, sizes.filter(([, , size]) => size).map(
      ([name, , size]) => piece(colours[name], size, name))),
    h("ul", { class: "buckets" }, sizes.map(([name, scores, size]) => h("li", {},
      h("button", { type: "button", title: `Show these ${noun}s`, click: () => showRows({ bucket: name }) },
        h("span", { class: `swatch ${colours[name]}` }), h("strong", {}, number(size)), ` ${name}`,
        quiet([rows.length ? `${percent(size / rows.length)}, ` : "", `score ${scores}`]))))),
    without > 0 && h("p", { class: "quiet small" }, `${counted(without, "turn")} without a verdict: in no bucket.`)];
  },
  /** Two sides of a turn: [name, text] each. */
  sides: ({ title, sides, isCode }) => part(title, h("div", { class: "sides" }, sides.map(([name, text], k) =>
    h("div", { class: `side ${k ? "blue" : "amber"}` }, h("h4", {}, isolated(name)),
      isCode ? code(text) : fencedText(text))))),
  /** Texts that unfold: [title, text, whether it is a program's output, whether it is open] each. */
  texts({ title, texts }) {
    const all = texts.map(([role, text, isOutput, isOpen]) => folded([isolated(role, { class: "role" }),
      isolated(inALine(text), { class: "start" }), h("span", { class: "size" }, counted(text.length, "character"))],
    () => fencedText(text, isOutput), "message", isOpen));
    const unfold = isOpen => () => all.forEach(one => { one.open = isOpen; });
    return h("section", { class: "part" }, title && h("div", { class: "row" }, h("h3", {}, isolated(title)),
      h("button", { type: "button", click: unfold(true) }, "Unfold all"),
      h("button", { type: "button", click: unfold(false) }, "Fold all")), all);
  },
  /** Findings of a program or a judge, as lines of their fields. */
  findings: ({ title, findings }) => part(title, h("ul", { class: "listed" }, findings.map(finding => h("li", {},
    Object.entries(finding).filter(([, value]) => value !== "" && value !== null).map(([key, value], k) =>
      [k > 0 && " · ", isolated(key), ": ", isolated(typeof value === "object" ? JSON.stringify(value) : value)]))))),
  refused: ({ tries }) => part("Refused, and asked for again", tries.map(one => h("article", { class: "reply" },
    fencedText(one.turn), one.defence && h("p", {}, isolated(one.defence)), h("ul", { class: "listed" },
      one.findings.map(finding => h("li", {}, isolated(finding.kind), ": ", isolated(finding.quote), " · ",
        isolated(finding.why))))))),
  /** Verdicts: rows of [judge, what they are, letters, the letters that count]. */
  verdicts({ rows, scores }) {
    const chip = (letter, isTurned) => h("span", { class: `chip ${grid.letters[letter][0]} ${isTurned ? "outlined" : ""}`,
      title: isTurned && "changes with the order: counts as a draw" }, grid.letters[letter][1]);
    return part("Verdicts", plainTable("Verdicts", [["judge", ""], ["", "quiet"], ...grid.metrics.map(metric => [metric, ""])],
      rows.map(([judge, label, letters, counting]) => [judge && isolated(judge), isolated(label), ...grid.metrics.map((_, k) =>
        chip(letters[k] ?? "-", letters[k] !== "t" && counting[k] === "t"))]), scores && ["score", "", ...scores.map(tinted)]),
    rows.some(([, , letters, counting]) => letters !== counting && counting.includes("t"))
      && legend([["outlined", "changes with the order: counts as a draw"]]));
  },
  replies: ({ replies }) => part("What the judges wrote", replies.map(reply)),

  // a task

  checks: ({ checks }) => checks.length > 0 && part("Checks", checks.map(check)),
  /** How many rows have which values of two filters; with `of`, how many of them pass these filters, too. */
  cross({ title, down, across, of }) {
    const [all, values] = [down, across].map(key => list.optionsOf(key).filter(value => value !== NONE));
    const share = filters => of && `${list.count({ ...filters, ...of })} of ${list.count(filters)}`;
    const cell = filters => KINDS.count({ filters, text: share(filters) });
    return [plainTable(title, [["", ""], ...values.map(value => [swatch(value), "number"])], all.slice(0, MAX_CROSS).map(
      value => [isolated(value), ...values.map(one => cell({ [down]: value, [across]: one }))])),
    all.length > MAX_CROSS && quiet(`The first ${MAX_CROSS} of ${number(all.length)}.`)];
  },
  /** Files: {path, text or null, size}. */
  files: ({ files, isOpen }) => h("div", { class: isOpen ? "files" : "" }, files.map(({ path, text, size }) => folded([
    isolated(path, { class: "mono start-path" }), h("span", { class: "size" }, text === null
      ? `${number(size)} bytes, no text` : counted(size, "character"))],
  () => [text === null ? h("p", {}, "It is no text.")
    : path.endsWith(".md") ? fencedText(text) : path.endsWith(".patch") ? patch(text) : code(text), text !== null && size > text.length
    && quiet(`The first ${number(text.length)} of ${number(size)} characters; the file has all.`)], "message", isOpen))),
  file: ({ path }) => fileLink("", path),
  /** A text of ours, with links to cards as in Markdown. */
  linked: ({ text }) => text.split(/\[\w+\]\((.+?README\.md)\)/).map((part, i) => i % 2 ? fileLink("", part) : part),

  // an attempt

  /** Steps of a trajectory in the form of ATIF, out of `n`. System prompt, thoughts and outputs are folded. */
  trajectory({ steps, n }) {
    const told = steps.find(({ source }) => source === "user"), each = value => [value ?? []].flat();
    const named = value => Object.entries(value ?? {}).map(([key, one]) => `${key}: ${wordsOf(one)}`).join("\n");
    const texts = steps.flatMap(step => [
      ["thought", step.reasoning_content],
      [step.source, step.message, false, step === told || step.source === "agent"],
      ...each(step.tool_calls).map(call => [call.function_name, named(call.arguments) || "()", true, true]),
      ...each(step.observation?.results).map(one => ["output", one.content, true]),
    ].filter(([, text]) => text).map(([role, text, ...more]) =>
      [`${step.step_id} ${role}`.slice(0, 24), wordsOf(text), ...more]));
    return KINDS.texts({ title: `Trajectory: ${number(steps.length)} of ${counted(n, "step")}`, texts });
  },
};

const MAX_CROSS = 500;   // rows of a table of counts
const wordsOf = value => typeof value === "string" ? value : JSON.stringify(value);
const short = name => name.slice(name.lastIndexOf("/") + 1);
const piece = (colour, size, title) => h("span", { class: colour, title, style: { "flex-grow": size } });

/** Draw a value and its interval on a line with marks. */
function interval(value, low, high, marks) {
  const ends = [value, low, high, ...marks], room = Math.max(0.08 * (Math.max(...ends) - Math.min(...ends)), 0.5);
  const from = Math.min(...ends) - room, width = Math.max(...ends) + room - from;
  const at = one => `${100 * (one - from) / width}%`;
  return h("figure", {}, h("figcaption", {}, `Margin and its interval, in points; at least ${marks[1]} wanted`),
    h("div", { class: "interval blue", role: "img", "aria-label": `${points(value)}, from ${points(low)} to ${points(high)}` },
      [...new Set(marks)].map(mark => h("span", { class: "mark", style: { left: at(mark) } }, String(mark))),
      h("span", { class: "span", title: `${points(low)} to ${points(high)}`,
        style: { left: at(low), width: `${100 * (high - low) / width}%` } }),
      h("span", { class: "point", title: points(value), style: { left: at(value) } })));
}

const nInFull = () => document.querySelectorAll("[id^=block-row-]").length;

function reply(entry) {
  const isNumber = value => typeof value === "number";
  const { tokens_in, tokens_out, cost_usd } = entry.usage ?? {};   // a person may have edited all of it
  const facts = [isNumber(entry.seconds) && duration(entry.seconds),
    isNumber(tokens_in) && isNumber(tokens_out) && `${number(tokens_in)} → ${number(tokens_out)} tokens`,
    isNumber(cost_usd) && `$${number(cost_usd, 4)}`, entry.attempt > 1 && `attempt ${entry.attempt}`,
    entry.truncated && "cut at the token limit", !grid.judges.includes(entry.judge) && "not in the panel now"].filter(Boolean);
  return h("article", { class: "reply" },
    h("p", {}, h("strong", {}, isolated(entry.judge)), `, ${entry.order.replace("_", " ")}`,
      h("span", { class: "quiet small" }, facts.map(fact => ` · ${fact}`))),
    entry.error ? h("p", { class: "bad" }, "No verdict: ", isolated(entry.error))
      : !entry.codes && h("p", { class: "bad" }, "No verdict could be read."),
    entry.reason && h("div", { class: "prose" }, longText(String(entry.reason), "text")),
    entry.raw && folded(h("span", { class: "quiet small" }, "Raw reply"), () => longText(String(entry.raw), "text"), "raw"));
}

/** Make a check of a task: its record, with the result in words where it has figures. */
function check({ name, result, why, words = "", evidence, seconds, command, tries = [] }) {
  return folded([isolated(name, { class: "role mono" }), badge(result), isolated(why || words, { class: "start" }),
    h("span", { class: "size" }, duration(seconds))], () => [
    why && h("p", {}, isolated(why)), words && h("p", { class: "quiet" }, isolated(words)),
    evidence.length > 0 && code(evidence.join("\n")),
    command && h("pre", { class: "text command", title: "A click selects all of it" }, command),
    ...survivors(tries)].filter(Boolean), "message", !["passed", "no case"].includes(result));
}

function survivors(tries) {
  const places = Map.groupBy(tries, one => one.place);
  return [...places].map(([, ones], k) => h("div", { class: "place" },
    h("h4", {}, `Place ${k + 1} of ${places.size}: `
      + `${counted(ones.length, ones[0].path.startsWith("cheat-") ? "script" : "variant")} still rewarded`
      + (ones.every(one => one.unrun) ? ", in lines that no test runs" : "")),
    ones.map(survivor)));
}

const survivor = one => {
  const pairs = pairsOf(one.diff);
  return h("div", { class: "survivor" }, h("p", {}, isolated(`${one.path}:${one.line}`, { class: "mono" }),
    " ", badge(one.operator, ""), one.verdict && [" ", badge(one.verdict)]),
  one.verdict && h("p", {}, one.quote && [h("q", {}, isolated(one.quote)), " "], isolated(one.why)),
  one.is_wrong_gold && h("p", { class: "notice" }, "The gold itself breaks it."),
  h("div", { class: "diff" },
    h("h5", {}, "Gold"), h("h5", { class: "right" }, "Variant"),
    pairs.map(([gold, variant]) => [side(gold, variant), side(variant, gold, "right")])));
};

// a diff, its sides beside each other ---------------------------------------------------------------------------------

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

// long texts ----------------------------------------------------------------------------------------------------------

const MAX_SHOWN = { chars: 3000, lines: 45 };
const CHARS_PER_CLICK = 200_000;   // a megabyte in one line takes a browser seconds

/** Show a text as it is, cut where it is long, with a button for the rest. */
function longText(text, classes) {
  const pre = h("pre", { class: classes, tabindex: -1 });
  let end = cutAt(text);
  pre.textContent = text.slice(0, end);
  if (end === text.length) return pre;
  const more = h("button", { type: "button", class: "more", click: () => {
    end = Math.min(text.length, end + CHARS_PER_CLICK);
    pre.textContent = text.slice(0, end);
    if (end === text.length) {
      more.remove();
      pre.focus();
    } else name();
  } });
  const name = () => {
    more.textContent = text.length - end <= CHARS_PER_CLICK ? `Show all ${number(text.length)} characters`
      : `Show ${number(CHARS_PER_CLICK)} more of ${number(text.length)} characters`;
  };
  name();
  return [pre, more];
}

function cutAt(text) {
  let end = -1;
  for (let n = 0; n < MAX_SHOWN.lines; n++) {
    end = text.indexOf("\n", end + 1);
    if (end < 0 || end > MAX_SHOWN.chars) break;
  }
  end = end < 0 || end > MAX_SHOWN.chars ? MAX_SHOWN.chars : end;
  return end + 400 >= text.length ? text.length : end;   // nobody is asked for a last line
}

/** Show a text with its fenced blocks set off. This is for reading: a harness may parse it otherwise. */
function fencedText(text, isOutput = false) {
  const parts = [];
  const prose = (from, to) => text.slice(from, to).trim() && parts.push(
    h("div", { class: isOutput ? "output" : "prose" }, longText(text.slice(from, to).trim(), "text")));
  const code = (language, from, to) => parts.push(h("div", { class: "code" },
    h("div", { class: "language" }, isolated(language || "code")),
    longText(text.slice(from, Math.max(from, to)), "text")));
  let done = 0, inside = null;   // inside: {language, from} of the block whose end is looked for
  for (let at = 0; at <= text.length;) {
    const end = text.indexOf("\n", at) < 0 ? text.length : text.indexOf("\n", at);
    const fence = text.startsWith("```", at) && text.slice(at + 3, Math.min(end, at + 60)).trim();
    if (inside && fence === "") {
      prose(done, inside.fence);
      code(inside.language, inside.from, at - 1);
      done = end + 1;
      inside = null;
    } else if (!inside && fence !== false && !fence.includes("`")) {
      inside = { language: fence, fence: at, from: end + 1 };
    }
    at = end + 1;
  }
  prose(done, text.length);   // also a block without an end
  return parts;
}

/** Make a folded part whose content is made when it is first unfolded. */
function folded(summary, make, classes, isOpen = false) {
  const inside = h("div", { class: "inside" });
  const element = h("details", { class: classes, toggle: () => {
    if (element.open && !inside.childElementCount) inside.append(...[make()].flat(Infinity).filter(Boolean));
  } }, h("summary", {}, summary), inside);
  element.open = isOpen;
  return element;
}

// the address, behind the # -------------------------------------------------------------------------------------

const address = {
  get: () => Object.fromEntries(new URLSearchParams(location.hash.slice(1))),
  /** Change some keys; null removes one. With `step` the browser's Back leads here again. */
  set(changes, step = false) {
    const kept = Object.entries({ ...address.get(), ...changes }).filter(([, value]) => value);
    const hash = `#${new URLSearchParams(kept)}`;
    if (hash === (location.hash || "#")) return;
    if (step) history.pushState({ step }, "", hash);
    else history.replaceState(history.state, "", hash);
  },
};

// a table of many rows ------------------------------------------------------------------------------------------------

const SPARE_ROWS = 8;   // above and below what is seen
const TAIL = 12;        // characters of a name that are never cut: ids differ at their end
const NONE = "(none)";  // where a row has no value to filter by

/** What is drawn in a cell, by the kind of its column. */
const CELLS = {
  text: value => isolated(Array.isArray(value) ? value.join(", ") : value),
  number: (value, { digits }) => number(value, digits ?? (Number.isInteger(value) ? 0 : 3)),
  points: value => number(value),
  badge: value => badge(value),
  ratio: ([part, all]) => `${number(part)} of ${number(all)}`,
  name: (value, { mono }, row) => [h("bdi", { class: "name" },
    h("span", {}, value.slice(0, -TAIL)), value.slice(-TAIL)),
  h("span", { class: `second ${mono ? "mono" : ""}` }, isolated(inALine(row.second)))],
  score: (value, { digits }, row) => h("span", { class: "score" }, h("span", { class: `swatch ${colours[row.bucket]}` }),
    number(value, digits), row.edited === "edited" && h("span", { class: "bad", title: "edited: not what the verdicts give" }, "*")),
  squares(letters) {
    const words = grid.judges.map((judge, j) => `${judge}: ${grid.metrics.map((metric, k) =>
      `${metric} ${grid.letters[letters[j * grid.metrics.length + k]][1]}`).join(", ")}`).join("\n");
    return h("span", { class: "squares", role: "img", "aria-label": words, title: words },
      [...letters].map(letter => h("i", { class: grid.letters[letter][0] })));
  },
  links: paths => paths.map((path, k) => [k > 0 && ", ", fileLink(data.table.up ?? "../", path)]),
};

/** By what a column is sorted where it is not by its value. */
const SORTED_BY = { ratio: ([part, all]) => part / all, text: one => Array.isArray(one) ? one.join(", ") : one };

const FALLING = new Set(["number", "points", "score", "ratio"]);   // sorted from the top at first
const isMissing = value => value === null || value === undefined || value === ""
  || (Array.isArray(value) && !value.length);
const cellOf = (row, column) => isMissing(row[column.key]) ? quiet(column.missing ?? "–")
  : CELLS[column.kind ?? "text"](row[column.key], column, row);

function sortKey(row, { key, kind = "text", order }) {
  const value = row[key];
  if (isMissing(value)) return null;
  return order ? order.indexOf(value) : SORTED_BY[kind]?.(value) ?? value;
}

/** Return the values of a filter of squares: those of a judge or all, on a metric or all. */
function verdictsIn(letters, { judge, metric }) {
  const { judges, metrics } = grid;
  const chosen = [...letters].filter((_, at) => (!judge || judges[Math.floor(at / metrics.length)] === judge)
    && (!metric || metrics[at % metrics.length] === metric));
  const isRead = chosen.filter(letter => letter !== "-");
  if (!isRead.length) return ["-"];
  const won = isRead.filter(letter => letter === "c").length, lost = isRead.filter(letter => letter === "r").length;
  return [won > lost ? "c" : won < lost ? "r" : "d", isRead.includes("t") && "t",
    isRead.length < chosen.length && "-", won && lost && "split"].filter(Boolean);
}

/** Return all texts of blocks, to be searched. */
function textsIn(block) {
  if (typeof block !== "object" || block === null) return [String(block ?? "")];
  return Object.entries(block).filter(([key]) => key !== "kind").flatMap(([, value]) => textsIn(value));
}

/** Make the table of the page's rows, of which only those that are seen exist, with filters, search and sorting, all
 * of it in the address. `open(i)` is called for a row that is chosen. */
function listing({ columns: all, searches }, open) {
  const n = rows.length, columns = all.filter(({ key, place }) => place !== "facts" && !rows.every(row => isMissing(row[key])));
  const state = { q: "", sort: "", ...Object.fromEntries(filters.map(filter => [filter.key, ""])) };
  const texts = [], values = new Map();
  let shown = [], active = 0;

  // what is chosen

  const valuesOf = filter => {
    const key = (filter.with ?? []).map(name => state[name]).join("\n");
    if (values.get(filter.key)?.key !== key)
      values.set(filter.key, { key, of: rows.map(row => {
        const found = filter.grid ? verdictsIn(row[filter.grid], state) : [row[filter.key]].flat();
        return found.length ? found.map(value => value || NONE) : [NONE];
      }) });
    return values.get(filter.key).of;
  };
  const sorted = columns.filter(({ kind }) => !["squares", "links"].includes(kind));
  const textOf = i => texts[i] ??= textsIn(rows[i]).join("\n").toLowerCase();
  /** Compare values of a key in the order of its column, or by the alphabet. */
  const byOrder = key => {
    const order = all.find(column => column.key === key)?.order ?? [];
    const rank = value => order.includes(value) ? order.indexOf(value) : order.length;
    return (a, b) => rank(a) - rank(b) || collator.compare(a, b);
  };
  const filterOf = key => filters.find(filter => filter.key === key);
  const optionsOf = key => filterOf(key) ? [...new Set(valuesOf(filterOf(key)).flat())].sort(byOrder(key)) : [];
  const tests = filters.filter(filter => !filter.setting);
  for (const filter of tests.filter(filter => !filter.options))
    filter.options = optionsOf(filter.key).map(value => [value, value]);

  /** Return how many rows pass these filters. */
  function count(wanted) {
    const columns = Object.entries(wanted).map(([key, value]) => [valuesOf(filterOf(key)), value]);
    return rows.filter((_, i) => columns.every(([of, value]) => of[i].includes(value))).length;
  }

  function choose() {
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const counts = new Map(tests.map(filter => [filter.key, new Map()]));
    const columnsOf = tests.map(filter => [filter, state[filter.key], valuesOf(filter), counts.get(filter.key)]);
    shown = [];
    for (let i = 0; i < n; i++) {
      if (!words.every(word => textOf(i).includes(word))) continue;
      const failed = columnsOf.filter(([, wanted, of]) => wanted && !of[i].includes(wanted));
      if (!failed.length) shown.push(i);
      // an option's number: the rows there would be with it, all other filters as they are
      if (failed.length < 2) for (const [, , of, count] of failed.length ? failed : columnsOf)
        for (const value of of[i]) count.set(value, (count.get(value) ?? 0) + 1);
    }
    const [, falls, key] = state.sort.match(/^(-?)(.+)$/) ?? [];
    const column = sorted.find(one => one.key === key);
    if (column) {
      const keys = new Map(shown.map(i => [i, sortKey(rows[i], column)]));
      const compare = (a, b) => typeof a === "number" && typeof b === "number" ? a - b : collator.compare(a, b);
      const missing = i => keys.get(i) === null || keys.get(i) === undefined;
      shown.sort((a, b) => missing(a) - missing(b) || (missing(a) ? 0
        : (falls ? -1 : 1) * compare(keys.get(a), keys.get(b))) || a - b);
    }
    return counts;
  }

  // what is seen

  const body = h("tbody"), above = h("tr", { class: "pad" }, h("td")), below = h("tr", { class: "pad" }, h("td"));
  const arrow = () => h("span", { class: "arrow", "aria-hidden": "true" });
  const classOf = ({ kind = "text", room = "all" }) => `k-${kind} in-${room}`;
  const headOf = column => h("th", { scope: "col", class: classOf(column) }, sorted.includes(column)
    ? h("button", { type: "button", title: column.hint, "aria-label": column.hint, click: () => sortBy(column) },
      column.title, arrow())
    : h("span", { title: column.hint }, column.title));
  const heads = new Map(columns.map(column => [column.key, headOf(column)]));
  const table = h("table", { role: "grid", tabindex: 0, "aria-label": `${noun}s`, keydown: press },
    h("colgroup", {}, columns.map(column => h("col", { class: classOf(column), style: { width: column.width ?? "" } }))),
    h("thead", {}, h("tr", { role: "row", "aria-rowindex": 1 }, [...heads.values()])), body);
  const frame = h("div", { class: "rows", scroll: () => requestAnimationFrame(paint),
    style: { "max-height": `calc(2.5rem + ${n} * 46px)` } }, table);   // no empty room below a few rows
  const nothing = h("p", { class: "nothing", hidden: true }, `No ${noun} is like that. `,
    h("button", { type: "button", click: clear }, "Clear the filters"));

  const rowHeight = () => parseFloat(getComputedStyle(table).getPropertyValue("--row")) || 44;

  function paint() {
    const height = rowHeight();
    const first = Math.max(0, Math.floor(frame.scrollTop / height) - SPARE_ROWS);
    const last = Math.min(shown.length, Math.ceil((frame.scrollTop + frame.clientHeight) / height) + SPARE_ROWS);
    above.style.height = `${first * height}px`;
    below.style.height = `${(shown.length - last) * height}px`;
    const lines = [];
    for (let at = first; at < last; at++) {
      const attributes = { id: `row-${at}`, role: "row", "aria-rowindex": at + 2, "data-at": at };
      lines.push(h("tr", { ...attributes, "aria-selected": String(at === active) }, columns.map(column =>
        h("td", { role: "gridcell", class: classOf(column) }, cellOf(rows[shown[at]], column)))));
    }
    body.replaceChildren(above, ...lines, below);
    if (active >= first && active < last) table.setAttribute("aria-activedescendant", `row-${active}`);
    else table.removeAttribute("aria-activedescendant");
  }

  function go(to) {
    active = Math.max(0, Math.min(shown.length - 1, to));
    const height = rowHeight(), room = frame.clientHeight - table.tHead.offsetHeight;
    if (active * height < frame.scrollTop) frame.scrollTop = active * height;
    else if ((active + 1) * height > frame.scrollTop + room) frame.scrollTop = (active + 1) * height - room;
    paint();
  }

  function press(event) {
    if (event.target !== table || event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(frame.clientHeight / rowHeight()) - 2);
    const to = { ArrowDown: active + 1, ArrowUp: active - 1, PageDown: active + page, PageUp: active - page, Home: 0,
      End: shown.length - 1 }[event.key];
    if (to !== undefined) go(to);
    else if ((event.key === "Enter" || event.key === " ") && shown.length) open(shown[active]);
    else return;
    event.preventDefault();
  }

  body.addEventListener("click", event => {
    const row = event.target.closest("tr[data-at]");
    if (!row || String(getSelection())) return;   // somebody marks a text
    active = Number(row.dataset.at);
    table.focus({ preventScroll: true });
    open(shown[active]);
  });
  new ResizeObserver(() => paint()).observe(frame);

  // the tools above it

  const found = h("output", { class: "count", "aria-live": "polite" });
  let later = 0;
  const search = h("input", { type: "search", id: "search", placeholder: searches, autocomplete: "off",
    spellcheck: "false", input: () => {
      clearTimeout(later);
      later = setTimeout(() => change({ q: search.value }), 120);
    } });
  const selects = new Map(filters.map(filter => [filter.key, h("select", { id: `filter-${filter.key}`,
    change: event => change({ [filter.key]: event.target.value }) })]));
  const clearing = h("button", { type: "button", class: "clear", click: clear }, "Clear");

  function fill(counts) {
    for (const filter of filters) {
      const select = selects.get(filter.key), found = counts.get(filter.key);
      const options = [["", filter.any ?? "any"], ...filter.options];
      if (select.options.length !== options.length) select.replaceChildren(...options.map(() => h("option")));
      options.forEach(([value, title], at) => {
        const option = select.options[at];
        option.value = value;
        option.textContent = value && found ? `${title} (${number(found.get(value) ?? 0)})` : title;
        option.disabled = Boolean(value && found && !found.get(value) && state[filter.key] !== value);
      });
      select.value = state[filter.key];
      select.classList.toggle("chosen", state[filter.key] !== "");
    }
  }

  function update() {
    const counts = choose();
    fill(counts);
    if (search !== document.activeElement) search.value = state.q;
    found.textContent = shown.length === n ? counted(n, noun) : `${number(shown.length)} of ${counted(n, noun)}`;
    clearing.hidden = !state.q && filters.every(filter => !state[filter.key]);
    nothing.hidden = shown.length > 0;
    frame.hidden = !shown.length;
    table.setAttribute("aria-rowcount", shown.length + 1);
    for (const column of sorted) {
      const way = state.sort === column.key ? "ascending" : state.sort === `-${column.key}` ? "descending" : "none";
      heads.get(column.key).setAttribute("aria-sort", way);
    }
    active = 0;
    frame.scrollTop = 0;
    paint();
  }

  function change(changes) {
    Object.assign(state, changes);
    address.set(Object.fromEntries(Object.keys(changes).map(key => [key, state[key]])));
    update();
  }

  /** Choose by these filters alone. */
  const only = changes => change({ ...Object.fromEntries(["q", ...filters.map(one => one.key)].map(key => [key, ""])),
    ...changes });

  function clear() {
    search.value = "";
    only({});
    search.focus();
  }

  function sortBy(column) {
    const ways = FALLING.has(column.kind) ? [`-${column.key}`, column.key, ""] : [column.key, `-${column.key}`, ""];
    change({ sort: ways[(ways.indexOf(state.sort) + 1) % ways.length] });
  }

  /** Take the state from the address; values that are unknown are left out. */
  function follow() {
    const wanted = address.get();
    const before = JSON.stringify(state);
    state.q = wanted.q ?? "";
    const sorts = sorted.flatMap(column => [column.key, `-${column.key}`]);
    state.sort = sorts.includes(wanted.sort) ? wanted.sort : "";
    for (const filter of filters)
      state[filter.key] = filter.options.some(([value]) => value === wanted[filter.key]) ? wanted[filter.key] : "";
    search.value = state.q;
    if (before !== JSON.stringify(state) || !body.childElementCount) update();
  }

  const more = h("details", { class: "filters" }, h("summary", {}, "Filters"), h("div", { class: "choices" },
    filters.map(({ key, title, options, least = 0 }) => h("label", { for: `filter-${key}`,
      hidden: options.length < least || options.every(([value]) => value === NONE) },
    h("span", {}, title), selects.get(key)))));
  more.open = matchMedia("(min-width: 720px)").matches;
  const element = h("div", { class: "listing" }, h("div", { class: "tools" },
    h("label", { class: "search", for: "search" }, h("span", { class: "hidden" }, "Search"), search), found, clearing),
  more, frame, nothing);
  return { element, follow, only, count, optionsOf, search, table,
    shown: () => shown, select: i => { const at = shown.indexOf(i); if (at >= 0) go(at); } };
}

const collator = new Intl.Collator("en", { numeric: true });

// the reader: one thing in full, over the page ------------------------------------------------------------------------

const reader = document.getElementById("reader");

let kept = null;   // what stays beside whatever is read next

/** Show something over the page. `title` and `body` are nodes; `step(±1)` goes to the next or back, if step.can(±1);
 * `close()` is called when it was closed. */
function read({ title, body, position, step, close }) {
  const button = (name, hint, by) => h("button", { type: "button", title: hint, "aria-label": hint,
    disabled: !step.can(by), click: () => step(by) }, name);
  const heading = h("h2", { id: "reader-title", tabindex: -1 }, title);
  const pane = h("div", { class: "content" }, h("h3", {}, title.cloneNode(true)), body);
  const keep = h("button", { type: "button", class: "keep", "aria-pressed": `${kept !== null}`, title: "Keep this beside "
    + "what is read next", click: () => {
    if (kept !== pane) kept?.remove();
    kept = kept ? null : pane;
    keep.ariaPressed = `${kept !== null}`;
  } }, "Keep");
  reader.replaceChildren(h("div", { class: "bar" }, heading, h("span", { class: "position" }, position), keep,
    button("←", "Previous (←)", -1), button("→", "Next (→)", 1),
    h("button", { type: "button", class: "close", title: "Close (Esc)", click: () => reader.close() }, "Close")),
  h("div", { class: "panes" }, kept, pane));
  reader.onclose = close;
  reader.onkeydown = event => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!by || event.ctrlKey || event.metaKey || event.altKey || event.target.closest(".wide, input, select")) return;
    event.preventDefault();
    if (step.can(by)) step(by);
  };
  if (!reader.open) reader.showModal();
  reader.scrollTop = 0;
  heading.focus();
}

// the address names the row that is read, by the noun of rows
let opened = null;
let step = null;   // step(±1) goes to the next or back

/** Do what the address says: choose rows, and read one. */
async function follow() {
  list.follow();
  const wanted = address.get()[noun], i = ids.findIndex(id => `/${id}`.endsWith(`/${wanted}`));
  if (i < 0 && reader.open) reader.close();
  if (i < 0 || i === opened) return;
  opened = i;
  list.select(i);
  const at = list.shown().indexOf(i), next = by => at < 0 ? undefined : list.shown()[at + by];
  step = by => { address.set({ [noun]: ids[next(by)] }); follow(); };
  step.can = by => next(by) !== undefined;
  const body = await inFull(i);
  if (opened === i) read({ title: isolated(ids[i]), body, step, close: closed,   // else another one was opened meanwhile
    position: at < 0 ? "" : `${number(at + 1)} of ${number(list.shown().length)}` });
}

async function inFull(i) {
  const facts = data.table.columns.filter(column => column.place !== "table"
    && (column.missing || !isMissing(rows[i][column.key]))).map(column =>
    [column.title, cellOf(rows[i], column)]);
  const isWhole = hasBlock(`row-${i}`);
  return [factList(facts), draw(isWhole ? await block(`row-${i}`) : rows[i].short),
    !isWhole && h("p", { class: "notice" }, `This page has no room for more of this ${noun}: it holds ${number(nInFull())} `
      + `of ${counted(rows.length, noun)} in full. The rest is in its files.`)];
}

function open(i) {
  address.set({ [noun]: ids[i] }, true);
  follow();
}

function closed() {
  opened = null;
  if (address.get()[noun] && history.state?.step) history.back();
  else address.set({ [noun]: null });
  if (!document.activeElement.closest("input, select")) list.table.focus({ preventScroll: true });
}

/** Show the rows that pass these filters alone. */
function showRows(filters) {
  address.set({ [noun]: null });
  if (reader.open) reader.close();
  list.only(filters);
  jump(`${noun}s`);
}

/** j and k go to the next and the previous row, in the table and in the reader; / begins to search. */
function press(event) {
  const by = { j: 1, k: -1 }[event.key];
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select")) return;
  if (event.key === "/" && !reader.open) {
    event.preventDefault();
    list.search.scrollIntoView({ block: "center" });
    list.search.focus({ preventScroll: true });
  } else if (by && reader.open) {
    if (step.can(by)) step(by);
  } else if (by && document.activeElement !== list.table) list.table.focus();
  else if (by) list.table.dispatchEvent(new KeyboardEvent("keydown", { key: by > 0 ? "ArrowDown" : "ArrowUp" }));
}

reader.addEventListener("click", event => event.target === reader && reader.close());   // beside it

// the frame of a page -------------------------------------------------------------------------------------------------

/** Fill the head of the page: its title, links to its sections, the choice of colours. */
function head(title, sections) {
  const themes = h("select", { "aria-label": "Colours", change: () => theme(themes.value) },
    [["", "System"], ["light", "Light"], ["dark", "Dark"]].map(([value, name]) => h("option", { value }, name)));
  themes.value = theme();
  document.getElementById("top").replaceChildren(h("h1", {}, title), h("nav", { "aria-label": "Sections" },
    sections.map(([id, name]) => h("button", { type: "button", click: () => jump(id) }, name))), themes);
}

function jump(id) {
  document.getElementById(id).scrollIntoView();
  document.getElementById(`${id}-title`).focus({ preventScroll: true });
}

/** Set or return the colours: "", "light" or "dark". The browser keeps them where it keeps anything for files. */
function theme(wanted) {
  try {
    if (wanted !== undefined) localStorage.setItem("theme", wanted);
    wanted ??= localStorage.getItem("theme") ?? "";
  } catch {
    wanted ??= "";
  }
  document.documentElement.dataset.theme = wanted;
  return wanted;
}

theme();

// all of it -----------------------------------------------------------------------------------------------------------

const rows = await block("rows");
const ids = rows.map(row => row.id);
const list = listing(data.table, open);
document.getElementById("main").replaceChildren(...data.sections.map(({ id, title, body }) =>
  section(id, title, draw(body))));
head(document.title, data.sections.map(({ id, title }) => [id, title]));
if (rows.length) {
  addEventListener("keydown", press);
  addEventListener("popstate", follow);
  addEventListener("hashchange", follow);
  await follow();
}
performance.mark("ready");
