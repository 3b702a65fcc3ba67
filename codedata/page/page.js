// Define what all pages share: data and blocks, elements, long texts, a table of many rows, a reader, the colours.
// A page's own script follows in the same module. Data becomes text nodes and attributes, never markup.

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

const chart = name => document.getElementById(`chart-${name}`)?.content.cloneNode(true) ?? null;

/** Make a chart with its heading and the meanings of its colours: [[colour, meaning], …]. */
function figure(name, heading, keys = []) {
  const drawn = chart(name);
  return drawn && h("figure", {}, h("figcaption", {}, heading), drawn, keys.length > 0 && h("ul", { class: "keys" },
    keys.map(([colour, meaning]) => h("li", {}, h("span", { class: `swatch ${colour}` }), isolated(meaning)))));
}

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
    if (element.open && !inside.childElementCount) inside.append(...[make()].flat());
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
const NONE = "(none)";  // where a row has no value to filter by

/**
 * A table of `n` rows of which only those that are seen exist, with filters, search and sorting, all of it in the
 * address.
 *
 * columns: {key, title, hint, classes, cell: i => node, value: i => what it is sorted by, falls: sorted from the top}
 * filters: {key, title, any, options: [[value, title]], of: (i, state) => value or values, with: [keys `of` looks at]}
 *          without `of` it is a setting of others; `of` without `options` takes them from the rows
 * text: i => what is searched; open: (i, position) => …
 */
function listing({ n, noun, columns, filters, text, open, label, searches }) {
  const state = { q: "", sort: "", ...Object.fromEntries(filters.map(filter => [filter.key, ""])) };
  const texts = [], values = new Map();
  let shown = [], active = 0;

  // what is chosen

  const valuesOf = filter => {
    const key = (filter.with ?? []).map(name => state[name]).join("\n");
    if (values.get(filter.key)?.key !== key)
      values.set(filter.key, { key, of: Array.from({ length: n }, (_, i) =>
        [filter.of(i, state)].flat().map(value => value || NONE)) });
    return values.get(filter.key).of;
  };
  const textOf = i => texts[i] ??= text(i).toLowerCase();
  const tests = filters.filter(filter => filter.of);
  for (const filter of tests.filter(filter => !filter.options))
    filter.options = [...new Set(valuesOf(filter).flat())].sort(collator.compare).map(value => [value, value]);

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
    const column = columns.find(one => one.key === key && one.value);
    if (column) {
      const keys = new Map(shown.map(i => [i, column.value(i)]));
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
  const headOf = column => h("th", { scope: "col", class: column.classes }, column.value
    ? h("button", { type: "button", title: column.hint, "aria-label": column.hint, click: () => sortBy(column) },
      column.title, arrow())
    : h("span", { title: column.hint }, column.title));
  const heads = new Map(columns.map(column => [column.key, headOf(column)]));
  const table = h("table", { role: "grid", tabindex: 0, "aria-label": label, keydown: press },
    h("colgroup", {}, columns.map(column => h("col", { class: column.classes }))),
    h("thead", {}, h("tr", { role: "row", "aria-rowindex": 1 }, [...heads.values()])), body);
  const frame = h("div", { class: "rows", scroll: () => requestAnimationFrame(paint) }, table);
  const nothing = h("p", { class: "nothing", hidden: true }, `No ${noun} is like that. `,
    h("button", { type: "button", click: clear }, "Clear the filters"));

  const rowHeight = () => parseFloat(getComputedStyle(table).getPropertyValue("--row")) || 44;

  function paint() {
    const height = rowHeight();
    const first = Math.max(0, Math.floor(frame.scrollTop / height) - SPARE_ROWS);
    const last = Math.min(shown.length, Math.ceil((frame.scrollTop + frame.clientHeight) / height) + SPARE_ROWS);
    above.style.height = `${first * height}px`;
    below.style.height = `${(shown.length - last) * height}px`;
    const rows = [];
    for (let at = first; at < last; at++) {
      const attributes = { id: `row-${at}`, role: "row", "aria-rowindex": at + 2, "data-at": at };
      rows.push(h("tr", { ...attributes, "aria-selected": String(at === active) }, columns.map(column =>
        h("td", { role: "gridcell", class: column.classes }, column.cell(shown[at])))));
    }
    body.replaceChildren(above, ...rows, below);
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

  const count = h("output", { class: "count", "aria-live": "polite" });
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
    count.textContent = shown.length === n ? counted(n, noun) : `${number(shown.length)} of ${counted(n, noun)}`;
    clearing.hidden = !state.q && filters.every(filter => !state[filter.key]);
    nothing.hidden = shown.length > 0;
    frame.hidden = !shown.length;
    table.setAttribute("aria-rowcount", shown.length + 1);
    for (const column of columns.filter(column => column.value)) {
      const sorted = state.sort === column.key ? "ascending" : state.sort === `-${column.key}` ? "descending" : "none";
      heads.get(column.key).setAttribute("aria-sort", sorted);
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

  function clear() {
    search.value = "";
    change(Object.fromEntries([["q", ""], ...filters.map(filter => [filter.key, ""])]));
    search.focus();
  }

  function sortBy(column) {
    const ways = column.falls ? [`-${column.key}`, column.key, ""] : [column.key, `-${column.key}`, ""];
    change({ sort: ways[(ways.indexOf(state.sort) + 1) % ways.length] });
  }

  /** Take the state from the address; values that are unknown are left out. */
  function follow() {
    const wanted = address.get();
    const before = JSON.stringify(state);
    state.q = wanted.q ?? "";
    const sorts = columns.filter(column => column.value).flatMap(column => [column.key, `-${column.key}`]);
    state.sort = sorts.includes(wanted.sort) ? wanted.sort : "";
    for (const filter of filters)
      state[filter.key] = filter.options.some(([value]) => value === wanted[filter.key]) ? wanted[filter.key] : "";
    search.value = state.q;
    if (before !== JSON.stringify(state) || !body.childElementCount) update();
  }

  const more = h("details", { class: "filters" }, h("summary", {}, "Filters"), h("div", { class: "choices" },
    filters.map(filter => h("label", { for: `filter-${filter.key}` }, h("span", {}, filter.title),
      selects.get(filter.key)))));
  more.open = matchMedia("(min-width: 720px)").matches;
  const element = h("div", { class: "listing" }, h("div", { class: "tools" },
    h("label", { class: "search", for: "search" }, h("span", { class: "hidden" }, "Search"), search), count, clearing),
  more, frame, nothing);
  return { element, follow, change, search, table,
    shown: () => shown, focus: () => table.focus({ preventScroll: true }),
    select: i => { const at = shown.indexOf(i); if (at >= 0) go(at); } };
}

const collator = new Intl.Collator("en", { numeric: true });

// the reader: one thing in full, over the page ------------------------------------------------------------------------

const reader = document.getElementById("reader");

/** Show something over the page. `title` and `body` are nodes; `step(±1)` goes to the next or back, if step.can(±1);
 * `close()` is called when it was closed. */
function read({ title, body, position, step, close }) {
  const button = (name, hint, by) => h("button", { type: "button", title: hint, "aria-label": hint,
    disabled: !step.can(by), click: () => step(by) }, name);
  const heading = h("h2", { id: "reader-title", tabindex: -1 }, title);
  reader.replaceChildren(h("div", { class: "bar" }, heading, h("span", { class: "position" }, position),
    button("←", "Previous (←)", -1), button("→", "Next (→)", 1),
    h("button", { type: "button", class: "close", title: "Close (Esc)", click: () => reader.close() }, "Close")),
  h("div", { class: "content" }, body));
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

/** Read the row that the address names in `key`: of a listing() whose rows have these ids, title(i) and body(i), a promise. `forget` is
 * called when the reader was closed; by default the address names no row then. Return { follow, open, step }: follow() does what the
 * address says, open(i) reads a row, step(±1) is that of the row that is read. */
function reading({ list, key, ids, title, body, forget = () => address.set({ [key]: null }) }) {
  let opened = null;
  const found = { follow, open, step: null };
  async function follow() {
    list.follow();
    const wanted = address.get()[key], i = wanted ? ids.indexOf(wanted) : -1;
    if (i < 0 && reader.open) reader.close();
    if (i < 0 || i === opened) return;
    opened = i;
    list.select(i);
    const at = list.shown().indexOf(i), next = by => at < 0 ? undefined : list.shown()[at + by];
    const step = by => { address.set({ [key]: ids[next(by)] }); follow(); };
    step.can = by => next(by) !== undefined;
    found.step = step;
    const inFull = await body(i);
    if (opened === i) read({ title: title(i), body: inFull, step, close,   // else another one was opened meanwhile
      position: at < 0 ? "" : `${number(at + 1)} of ${number(list.shown().length)}` });
  }
  function open(i) {
    address.set({ [key]: ids[i] }, true);
    follow();
  }
  function close() {
    opened = null;
    forget();
    if (!document.activeElement.closest("input, select")) list.focus();   // who types already goes on
  }
  addEventListener("popstate", follow);
  addEventListener("hashchange", follow);
  return found;
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
