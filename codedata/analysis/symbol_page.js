// Show the page of an analysis. page.py makes `data` and the blocks, and says what they hold.

const [symbols, files, tests] = await Promise.all(["symbols", "files", "tests"].map(block));
const n = symbols.id.length, isStatic = data.source === "static";
const pathOf = i => files[symbols.file[i]][0];
const placeOf = i => `${pathOf(i)}:${symbols.line[i]}`;
const percent = share => `${number(100 * share, 1)} %`;
const scoreText = i => symbols.score[i] === null ? "–" : number(symbols.score[i], isStatic ? 2 : 0);
const testsOf = new Map();   // symbol: indexes of the tests that ran it

const shower = i => typeof i === "number"
  ? h("button", { type: "button", class: "link mono", click: () => opened.open(i) }, isolated(symbols.id[i]))
  : isolated(i, { class: "mono" });

// the overview --------------------------------------------------------------------------------------------------------

function overview() {
  const facts_ = { ...data.base_commit && { commit: data.base_commit }, ...data.measured };
  const faults = Object.entries(data.faults);
  return section("overview", "Overview",
    h("p", { class: "lead" }, isolated(data.repo), ": ", counted(n, "symbol"), " in ",
      counted(files.length, "file"), ", ", counted(tests.names.length, "test"), ". ", isStatic
        ? "A score is estimated from calls in the source, which reach more than a test runs: 0.8 less with each step."
        : "A score is the number of tests that ran the function: those that passed each time and are not flaky. "
          + "Callers and callees come from the source; how many tests ran both ends is measured."),
    isStatic && h("p", { class: "notice" }, h("strong", {}, "Static: "), isolated(data.reason || "no test was run")),
    data.without_edges.length > 0 && h("p", { class: "lead" },
      `Without callers and callees, which are found in Python alone: ${data.without_edges.join(", ")}.`),
    h("div", { class: "cards" },
      h("div", { class: "card" }, h("h3", {}, "Languages"), plainTable("Languages", [["", ""], ["files", "number"],
        ["lines", "number"], ["symbols", "number"]], Object.entries(data.languages).map(([name, one]) =>
        [isolated(name), number(one.files), number(one.lines), number(one.entities)]))),
      h("div", { class: "card" }, h("h3", {}, "What was measured, and how"), factList(Object.entries(facts_)))),
    faults.length > 0 && folded(`${counted(faults.length, "file")} not, or not wholly, analysed`, () =>
      plainTable("Faults", [["file", "mono"], ["", ""]], faults.map(pair => pair.map(one => isolated(one))))));
}

const factList = pairs => h("dl", { class: "facts" }, pairs.map(([name, value]) =>
  [h("dt", {}, isolated(name.replaceAll("_", " "))), h("dd", {}, value?.nodeType ? value : isolated(inWords(value)))]));

function inWords(value) {
  if (Array.isArray(value)) return value.map(inWords).join("; ");
  return value && typeof value === "object"
    ? Object.entries(value).map(([name, one]) => `${name} ${inWords(one)}`).join(", ") : String(value);
}

function filesPart() {
  const order = files.map((_, i) => i).sort((a, b) => (files[a][3] ?? 2) - (files[b][3] ?? 2) || a - b);
  const covered = share => share === null ? "–" : [h("span", { class: "bar-of", "aria-hidden": "true" },
    h("span", { style: { width: `${100 * share}%` } })), percent(share)];
  return section("files", "Files", h("p", { class: "lead" }, isStatic
    ? "Nothing was run, so no line is known to be covered."
    : "The covered share of the statements of each measured file, the least first."),
  folded(counted(files.length, "file"), () => plainTable("Files", [["file", ""], ["language", ""],
    ["lines", "number"], ["symbols", "number"], ["covered", "number"]], order.map(i => [
    h("button", { type: "button", class: "link mono", click: () => search(files[i][0]) }, isolated(files[i][0])),
    files[i][1], number(files[i][2]), number(files[i][4]), covered(files[i][3])])), "", files.length <= 200));
}

function search(path) {
  list.change({ q: path });
  jump("symbols");
}

// the symbols ---------------------------------------------------------------------------------------------------------

const list = listing({
  n, noun: "symbol", label: "Symbols", searches: "Search names and paths",
  columns: [
    { key: "score", title: isStatic ? "score" : "tests", classes: "score number", falls: true,
      hint: isStatic ? "Estimated from the calls in the source" : "Passing tests that ran it",
      value: i => symbols.score[i], cell: i => h("span", { class: isStatic && "static" }, scoreText(i)) },
    { key: "name", title: "symbol", classes: "name mono", value: i => symbols.name[i],
      cell: i => isolated(symbols.name[i]) },
    { key: "kind", title: "kind", classes: "kind", value: i => symbols.kind[i], cell: i => symbols.kind[i] },
    { key: "place", title: "place", classes: "place mono", value: placeOf, cell: i => isolated(placeOf(i)) },
    ...["callers", "callees"].map(key => ({ key, title: key, classes: "calls number", falls: true,
      value: i => symbols[key][i], cell: i => number(symbols[key][i]) }))],
  filters: [
    { key: "kind", title: "Kind", of: i => symbols.kind[i] },
    { key: "part", title: "Part", options: [["hotspot", "with a score"], ["none", "without one"], ["test", "tests"]],
      of: i => symbols.is_test[i] ? "test" : symbols.score[i] === null ? "none" : "hotspot" }],
  text: i => symbols.id[i], open: i => opened.open(i) });

// one symbol ----------------------------------------------------------------------------------------------------------

/** Return the indexes of the tests that ran a symbol. */
function ranBy(i) {
  if (!testsOf.has(i)) {
    const sets = new Set(tests.sets.flatMap((one, k) => one.includes(i) ? [k] : []));
    testsOf.set(i, tests.set.flatMap((set, test) => sets.has(set) ? [test] : []));
  }
  return testsOf.get(i);
}

const part = (title, ...content) => h("section", { class: "part" }, h("h3", {}, title), content);

function calls(title, edges, total) {
  return part(`${title}: ${number(total)}`, edges.length > 0 && plainTable(title,
    [["symbol", ""], ["kind", ""], ["", "quiet"], ["tests of both", "number"]],
    edges.map(([other, kind, certainty, both]) => [shower(other), kind, certainty, number(both)])),
  edges.length < total && h("p", { class: "quiet" }, "Some stand here several times, or are left out."));
}

function sourceOf(text, { first, last }) {
  const lines = text.split("\n").slice(first - 1, last);
  const all = lines.join("\n"), shown = all.slice(0, CHARS_PER_CLICK);
  return h("div", { class: "code source" }, h("pre", { class: "text lines" },
    Array.from({ length: shown.split("\n").length }, (_, k) => first + k).join("\n")),
  h("div", { class: "wide" }, h("pre", { class: "text" }, shown)),
  shown.length < all.length && h("p", { class: "quiet" }, `The first ${number(CHARS_PER_CLICK)} characters.`));
}

function testList(i) {
  if (isStatic) return part("Tests", h("p", { class: "quiet" }, "Nothing was run: the analysis is static."));
  const line = test => `${tests.names[test]}  ${tests.status[test]}${tests.flaky[test] ? ", flaky" : ""}`;
  const ran = ranBy(i);
  return part(`Tests that ran it: ${number(ran.length)}`,
    ran.length > 0 && h("div", { class: "code" }, longText(ran.map(line).join("\n"), "text tests")));
}

function inFull(i, file) {
  const one = file?.symbols[i];
  const score = `${scoreText(i)}${isStatic ? " (static: from the calls in the source)" : " passing tests"}`;
  return [factList([["kind", symbols.kind[i] + (symbols.is_test[i] ? ", a test" : "")], ["place", placeOf(i)],
    ["score", symbols.score[i] === null ? "none" : score],
    ...one ? [["runs at import", one.at_import ? "yes" : "no"]] : []]),
  one ? [part("Source", sourceOf(file.text, one)), h("div", { class: "sides" },
    calls("Callers", one.callers, symbols.callers[i]), calls("Callees", one.callees, symbols.callees[i]))]
    : h("p", { class: "notice" }, "Its source and its calls are not in this page, which holds those of "
      + `${counted(data.n_sources, "file")}.`),
  testList(i)];
}

const opened = reading({ list, key: "symbol", ids: symbols.id, title: i => isolated(symbols.id[i], { class: "mono" }),
  body: async i => {
    const name = `file-${symbols.file[i]}`;
    return inFull(i, hasBlock(name) ? await block(name) : null);
  } });

const parts = [overview(), section("symbols", "Symbols", list.element), filesPart()];
document.getElementById("main").replaceChildren(...parts);
head(document.title, parts.map(one => [one.id, one.querySelector("h2").textContent]));
if (!address.get().sort) address.set({ sort: "-score" });
await opened.follow();
performance.mark("ready");
