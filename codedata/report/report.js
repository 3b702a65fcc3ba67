// Show the page of a duel. html_page.py makes `data` and the block "turns", and says what they hold.

const turns = await block("turns");
const { rival, metrics, panel, duel } = data;
const n = data.n_turns, isBoth = duel.order === "both";

// The codes of verdicts, as verdict_codes.py gives them.
const CODE_NAMES = { c: "challenger", r: rival, d: "draw", t: "changes with the order", "-": "not read" };
const COLOURS = { c: "challenger", r: "rival", d: "draw", t: "turned", "-": "unread" };
const READ = ["c", "r", "d", ...isBoth ? ["t"] : []];
const KEYS = READ.map(code => [COLOURS[code], CODE_NAMES[code]]);

const fieldOf = field => i => turns[field][i];
const repoOf = fieldOf("repo"), languageOf = fieldOf("language"), bucketOf = fieldOf("bucket");
const stepOf = { rival: fieldOf("rival"), challenger: fieldOf("challenger") };
const codesOf = (i, j) => turns.verdicts[i].slice(j * metrics.length, (j + 1) * metrics.length);
const commandOf = (i, side) => turns.commands[i][side];
const CHECKED_FIELDS = ["leaks", "injections"]
  .filter(field => turns[field].some(one => one !== null));
const findingsIn = (field, i) => turns[field][i] ?? [];
const FOUND_FIELDS = CHECKED_FIELDS.filter(field => turns[field].some(one => one?.length));
const countFindings = i => CHECKED_FIELDS.reduce((sum, field) => sum + findingsIn(field, i).length, 0);
const kindOf = finding => String(finding.kind || "other");

const short = name => name.slice(name.lastIndexOf("/") + 1);
const judgeName = name => isolated(short(name), { title: name });
const orderName = order => order === "challenger_first" ? "challenger first" : `${rival} first`;
const points = value => number(value, 2);
const percent = share => `${number(100 * share, 1)} %`;
const titled = text => text[0].toUpperCase() + text.slice(1);
const inALine = text => text.slice(0, 300).trim().replace(/\s+/g, " ");
const names = list => list.map(name => [name, name]);

// the overview --------------------------------------------------------------------------------------------------------

function overview() {
  const asked = `${counted(panel.length, "judge")} compared the two answers ${isBoth ? "in both orders" : "once"}`;
  return section("overview", "Overview",
    data.note && h("p", { class: "notice" }, data.note),
    h("p", { class: "lead" }, rival === "king"
      ? "The king answered each turn from the conversation alone; the challenger also knew the pull request that "
        + "solved the task. "
      : "The challenger, who knew the pull request that solved the task, is put against the data set’s own turn. ",
    `${asked}, not knowing whose is which. A score is the challenger’s: 100, it won everything; 50, a draw. `
    + "Buckets go by score: a turn that the challenger narrowly won is in defeat, too."),
    data.noise && h("p", { class: "notice" }, h("strong", {}, "Noise: "), `the verdicts are ${data.noise}.`),
    data.doubts.map(doubt => h("p", { class: "notice" }, h("strong", {}, "Doubtful: "), `${doubt}.`)),
    data.is_outdated && h("p", { class: "notice" },
      "The duel was decided on other verdicts than the records hold now: run validate.py."),
    h("div", { class: "cards" }, h("div", { class: "stack" }, verdict(), countsCard()),
      h("div", { class: "stack" }, buckets())));
}

function verdict() {
  const [low, high] = duel.interval ?? [];
  const numbers = duel.margin !== null && [
    ["margin", points(duel.margin), "big"], ["challenger", points(duel.challenger_score)],
    [rival, points(duel[`${rival}_score`])],
    duel.interval && ["95 % interval", `${points(low)} to ${points(high)}`],
  ].filter(Boolean);
  return h("div", { class: "card" },
    h("p", { class: `outcome ${duel.accepted ? "good" : "bad"}` },
      h("span", { "aria-hidden": "true" }, duel.accepted ? "✓" : "✗"), duel.accepted ? "Accepted" : "Not accepted"),
    duel.accepted
      ? h("p", {}, `The challenger leads by ${points(duel.margin)} points, at least ${duel.win_margin} wanted, and the `
        + "lead is more than chance.")
      : h("ul", { class: "listed" }, duel.reasons.map(reason => h("li", {}, isolated(reason)))),
    numbers && h("dl", { class: "numbers" }, numbers.map(([name, value, classes]) =>
      h("div", { class: classes }, h("dt", {}, name), h("dd", {}, value)))),
    figure("margin", `Margin and its interval, in points; at least ${duel.win_margin} wanted`),
    numbers && h("p", { class: "quiet small" },
      `LCB ${points(200 * duel.lcb)} points of margin; more than 0 is wanted. `,
      `It is the ${duel.gate_alpha} quantile of the margins of ${number(duel.resamples)} resamples of the `,
      `${counted(duel.instances, "instance")}, seed ${duel.seed}. A turn without a verdict counts as lost.`));
}

function buckets() {
  const drawn = figure("scores", "How many turns have which score");
  if (!data.buckets.length) return drawn && h("div", { class: "card" }, drawn);
  const without = n - data.buckets.reduce((sum, bucket) => sum + bucket.turns, 0);
  return h("div", { class: "card" }, h("h3", {}, "Buckets"),
    h("div", { class: "split", "aria-hidden": "true" }, data.buckets.filter(bucket => bucket.turns).map(bucket =>
      h("span", { class: bucket.name, style: { "flex-grow": bucket.turns } }))),
    h("ul", { class: "buckets" }, data.buckets.map(bucket => h("li", {},
      h("button", { type: "button", title: "Show these turns", click: () => showTurns({ bucket: bucket.name }) },
        h("span", { class: `swatch ${bucket.name}` }), h("strong", {}, number(bucket.turns)), ` ${bucket.name}`,
        h("span", { class: "quiet" }, n ? `${percent(bucket.turns / n)}, ` : "", `score ${bucket.scores}`))))),
    without > 0 && h("p", { class: "quiet small" }, `${counted(without, "turn")} without a verdict: in no bucket.`),
    drawn);
}

function countsCard() {
  return data.counts.length > 0 && h("div", { class: "card later" }, h("h3", {}, "Which turns count"),
    plainTable("Which turns count", [["", ""], ["turns", "number"]],
      data.counts.map(([kind, count]) => [isolated(kind.replaceAll("`", "")), count])));
}

/** Make a button that shows the turns that it names. */
const shower = (text, changes) => h("button", { type: "button", class: "link", title: "Show these turns",
  click: () => showTurns(changes) }, isolated(text));

/** Tint a score: the stronger, the further it is from a draw. */
function tinted(value) {
  const share = value === null || value === undefined ? 0 : Math.min(60, Math.abs(value - 50) * 1.6);
  return h("span", { class: `tint ${value >= 50 ? "challenger" : "rival"}`, style: { "--share": `${share}%` } },
    number(value, 1));
}

// the panel, what was found, costs ------------------------------------------------------------------------------------

function judges() {
  const rows = panel.map(name => [isolated(name), tinted(duel.judges[name].score),
    percent(duel.judges[name].parse_rate),
    ...metrics.map(metric => tinted(duel.judges[name].metrics[metric]))]);
  const all = ["all", tinted(duel.challenger_score), percent(duel.parsed_frac),
    ...metrics.map(metric => tinted(duel.metrics[metric]))];
  const drawn = [figure("judges", "Verdicts of each judge", KEYS), figure("metrics", "Verdicts on each metric", KEYS)];
  return section("panel", "Panel",
    h("p", { class: "lead" }, "The challenger’s scores by judge; 50 is a draw.", isBoth && " A verdict that changes "
      + "with the order in which the answers are shown counts as a draw."),
    plainTable("Judges", [["judge", ""], ["score", "number"], ["verdicts read", "number"],
      ...metrics.map(metric => [metric, "number"])], rows, rows.length > 1 ? all : null),
    h("div", { class: "cards" }, drawn.filter(Boolean).map(one => h("div", { class: "card" }, one))),
    duel.panel?.judges && howTheyJudge(duel.panel),
    data.notes.map(([heading, lines]) => [h("h3", {}, heading),
      lines.map(line => typeof line === "string" ? h("p", { class: "lead" }, strong(line))
        : noteTable(heading, line))]));
}

/** Make the **important** parts of a text bold. */
const strong = text => text.split("**").map((part, k) => k % 2 ? h("strong", { class: "bad" }, part) : isolated(part));

const noteTable = (heading, [columns, rows, align]) => plainTable(heading,
  columns.map((name, k) => [name, align[k] === "r" ? "number" : ""]), rows.map(row => row.map(strong)));

/** Show what the verdicts tell about the judges themselves. */
function howTheyJudge({ judges: found, alpha }) {
  const quiet = text => h("span", { class: "quiet" }, text);
  const share = (one, factor = 100, digits = 1, unit = " %") => one ? [number(factor * one.value, digits), unit,
    quiet(` ${number(factor * one.low, digits)} to ${number(factor * one.high, digits)}`)] : "–";
  const sameFamily = one => one.kin_of ? [
    quiet(`same family as ${one.kin_of.map(side => `the ${side}’s`).join(" and ")} model`), h("br"),
    share(one.beside_the_others?.difference, 1, 1, "")] : "";
  const columns = [["judge", ""], ["changes with the order", "number"], ["prefers the first", "number"],
    ["versus other judges", "words"], ["replies", "number"],
    ["failed or unread", "number"], ["retries", "number"], ["time-outs", "number"]];
  const rows = panel.filter(name => found[name]).map(name => [name, found[name]]).map(([name, one]) => [
    judgeName(name), share(one.changes_with_order), share(one.prefers_first),
    sameFamily(one), number(one.calls.replies), number(one.calls.errors + one.calls.unread),
    number(one.calls.retries + one.calls.throttled), number(one.calls.timeouts)]);
  const agree = ["Krippendorff’s alpha", ...metrics.map(metric => number(alpha[metric], 2))];
  return [h("h3", {}, "How the judges judge"), plainTable("How the judges judge", columns, rows),
    h("p", { class: "lead" }, data.panel_note),
    agree.some((one, k) => k && one !== "–") && plainTable("Agreement of the judges",
      [["agreement of the judges", ""], ...metrics.map(metric => [metric, "number"])], [agree])];
}

/** Count the findings in the answers by kind. There is no section for what was not checked. */
function findings() {
  if (!CHECKED_FIELDS.length) return null;
  return section("findings", titled(CHECKED_FIELDS.join(" and ")), CHECKED_FIELDS.map(field => {
    const kinds = new Map();
    for (const ofTurn of turns[field].filter(Boolean))
      for (const kind of new Set(ofTurn.map(kindOf))) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
    const rows = [...kinds].sort((a, b) => b[1] - a[1])
      .map(([kind, count]) => [shower(kind, { [field]: kind }), number(count)]);
    return rows.length ? plainTable(field, [[field, ""], ["turns", "number"]], rows)
      : h("p", {}, `No ${field} were found in the turns as they are.`);
  }));
}

function duration(seconds) {
  if (seconds < 60) return `${number(seconds, 1)} s`;
  return seconds < 3600 ? `${number(seconds / 60, 1)} min` : `${number(seconds / 3600, 1)} h`;
}

function costs() {
  const sum = key => data.costs.reduce((total, one) => total + one[key], 0);
  const usd = sum("cost_usd"), isAll = data.costs.every(one => !one.n_unpriced);
  const columns = [["stage", ""], ["model", "words"], ["calls", "number"], ["tokens in", "number"],
    ["tokens out", "number"], ["time", "number"], ["a call", "number"], ["cost", "number"]];
  const line = (stage, model, one, cost) => [stage, model, number(one.calls), number(one.tokens_in),
    number(one.tokens_out), duration(one.seconds), one.calls ? duration(one.seconds / one.calls) : "–", cost];
  const all = Object.fromEntries(["calls", "tokens_in", "tokens_out", "seconds"].map(key => [key, sum(key)]));
  const known = `${isAll ? "" : "at least "}$${number(usd, usd >= 1 ? 2 : 4)}`;
  const whole = usd > 0 ? known : isAll ? "$0" : "unknown";
  return data.costs.length > 0 && section("costs", "Costs and time",
    h("p", { class: "lead" }, "Every call under this root, from the ledgers. The time is that of the calls one after "
      + "the other; they ran many at a time."),
    plainTable("Costs and time", columns,
      data.costs.map(one => line(isolated(one.stage), isolated(one.model), one, isolated(one.text))),
      line("all", "", all, whole)));
}

// the table of turns --------------------------------------------------------------------------------------------------

/** Return the values of the filter "verdict": of a judge or the panel, on a metric or on all. */
function verdictOf(i, { judge, metric }) {
  const at = metrics.indexOf(metric);
  const codes = panel.flatMap((name, j) => judge && name !== judge ? []
    : [...codesOf(i, j)].filter((_, k) => at < 0 || k === at));
  const read = codes.filter(code => code !== "-");
  if (!read.length) return ["-"];
  const won = read.filter(code => code === "c").length, lost = read.filter(code => code === "r").length;
  return [won > lost ? "c" : won < lost ? "r" : "d", read.includes("t") && "t", read.length < codes.length && "-",
    won && lost && "split"].filter(Boolean);
}

/** Draw all verdicts on a turn as squares: a column for each judge, a row for each metric. */
function squares(i) {
  const words = panel.map((name, j) => `${short(name)}: ${[...codesOf(i, j)]
    .map((code, k) => `${metrics[k]} ${CODE_NAMES[code]}`).join(", ")}`).join("\n");
  return h("span", { class: "squares", role: "img", "aria-label": words, title: words },
    [...turns.verdicts[i]].map(code => h("i", { class: COLOURS[code] })));
}

const badge = name => name ? h("span", { class: `badge ${name}` }, name) : h("span", { class: "quiet" }, "–");

const columns = [
  { key: "score", title: "score", classes: "c-score number", falls: true, value: i => turns.score[i],
    cell: i => h("span", { class: "score" }, h("span", { class: `swatch ${bucketOf(i)}` }), number(turns.score[i], 1),
      turns.edited[i] && h("span", { class: "bad", title: "edited: not what the verdicts give" }, "*")) },
  data.buckets.length && { key: "bucket", title: "bucket", classes: "c-bucket", cell: i => badge(bucketOf(i)),
    value: i => data.buckets.findIndex(bucket => bucket.name === bucketOf(i)) },
  { key: "name", title: "turn", classes: "c-turn", value: i => turns.name[i],
    cell: i => [isolated(turns.name[i], { class: "name" }), isolated(inALine(commandOf(i, 1)), { class: "command" })] },
  { key: "repo", title: "repository", classes: "c-repo", value: repoOf,
    cell: i => isolated(repoOf(i), { title: repoOf(i) }) },
  { key: "language", title: "language", classes: "c-language", value: languageOf, cell: i => isolated(languageOf(i)) },
  { key: "step", title: "step", hint: `what ${rival} does → what the challenger does`, classes: "c-step",
    value: i => `${stepOf.rival(i)} ${stepOf.challenger(i)}`,
    cell: i => [isolated(stepOf.rival(i)), " → ", isolated(stepOf.challenger(i))] },
  FOUND_FIELDS.length && { key: "found", title: "found", hint: FOUND_FIELDS.join(" and "), classes: "c-found number",
    falls: true, value: countFindings, cell: i => countFindings(i) || "" },
  { key: "verdicts", title: "verdicts", hint: "one column for each judge, one row for each metric",
    classes: "c-verdicts", cell: squares },
  ...metrics.map((metric, k) => ({ key: metric, title: `${metric.slice(0, 4)}.`, hint: metric, falls: true,
    classes: "c-metric number", value: i => turns.metrics[i][k], cell: i => number(turns.metrics[i][k]) })),
].filter(Boolean);

const filters = [
  data.buckets.length && { key: "bucket", title: "Bucket", of: bucketOf, options: names(
    [...data.buckets.map(bucket => bucket.name), ...turns.bucket.includes("") ? [NONE] : []]) },
  { key: "verdict", title: "Verdict", of: verdictOf, with: ["judge", "metric"],
    options: [...READ.map(code => [code, CODE_NAMES[code]]), ["split", "for both sides"], ["-", CODE_NAMES["-"]]] },
  { key: "judge", title: "… of the judge", any: "all together", options: panel.map(name => [name, short(name)]) },
  { key: "metric", title: "… on the metric", any: "all together", options: names(metrics) },
  { key: "language", title: "Language", of: languageOf },
  { key: "repo", title: "Repository", of: repoOf },
  { key: "rival", title: `The ${rival}’s step`, of: stepOf.rival },
  { key: "challenger", title: "The challenger’s step", of: stepOf.challenger },
  turns.repeats.some(one => one.length) && { key: "repeats", title: "Repeats or stalls",
    of: i => turns.repeats[i].length ? turns.repeats[i] : NONE },
  ...FOUND_FIELDS.map(field => ({ key: field, title: titled(field),
    of: i => findingsIn(field, i).length ? findingsIn(field, i).map(kindOf) : NONE })),
  turns.edited.some(Boolean) && { key: "edited", title: "Score", of: i => turns.edited[i] ? "edited" : "as judged" },
].filter(Boolean);

const list = n > 0 && listing({ n, noun: "turn", label: "Turns", columns, filters, open: i => opened.open(i),
  searches: "Search names, repositories, commands",
  text: i => [turns.name[i], turns.instance[i], repoOf(i), commandOf(i, 0), commandOf(i, 1)].join("\n") });

function showTurns(changes) {
  if (list) list.change(changes);
  jump("turns");
}

function table() {
  if (!list) return section("turns", "Turns", h("p", {}, "No turn is judged yet."));
  const keys = [...KEYS, ["unread", CODE_NAMES["-"]]];
  return section("turns", "Turns",
    h("p", { class: "lead" }, "Sort by the head of a column. With the table in focus: arrows to move, Enter to open a "
      + "turn, Esc to close it; / to search. The page holds ", data.n_details === n ? "every turn in full."
      : `${number(data.n_details)} of ${counted(n, "turn")} in full; the others name their files.`),
    h("ul", { class: "keys" }, keys.map(([colour, meaning]) =>
      h("li", {}, h("span", { class: `swatch ${colour}` }), meaning))),
    list.element);
}

// one turn ------------------------------------------------------------------------------------------------------------

const opened = list && reading({ list, key: "turn", ids: turns.name, title: i => isolated(turns.name[i]),
  body: async i => hasBlock(`turn-${i}`) ? inFull(i, await block(`turn-${i}`)) : inShort(i),
  forget: () => address.get().turn && (history.state?.step ? history.back() : address.set({ turn: null })) });

function facts(i) {
  const files = turns.files[i].map(folder => `${folder}/${turns.name[i]}.json`);
  const listed = [
    ["score", h("strong", {}, number(turns.score[i], 1)), turns.edited[i] && " (edited: not what the verdicts give)"],
    data.buckets.length && ["bucket", badge(bucketOf(i))],
    ["instance", isolated(turns.instance[i])], ["repository", isolated(repoOf(i))],
    ["language", isolated(languageOf(i))],
    files.length && ["files", files.map((path, k) => [k > 0 && ", ", fileLink("../", path)])]];
  return [h("dl", { class: "facts" }, listed.filter(Boolean).map(([name, ...value]) =>
    h("div", {}, h("dt", {}, name), h("dd", {}, value)))), steps(i)];
}

/** Show both steps, one below the other. */
const steps = i => plainTable("Steps", [["", ""], ["step", ""], ["characters", "number"], ["", "quiet"]],
  [[rival, stepOf.rival(i)], ["challenger", stepOf.challenger(i)]].map(([name, step], side) => [name, isolated(step),
    number(turns.chars[i][side]), turns.repeats[i].includes(name) ? "repeats or stalls" : ""]));

const part = (title, ...content) => h("section", { class: "part" }, h("h3", {}, title), content);

function findingsOf(i) {
  const line = finding => h("li", {}, Object.entries(finding).filter(([, value]) => value !== "" && value !== null)
    .map(([key, value], k) => [k > 0 && " · ", isolated(key), ": ",
      isolated(typeof value === "object" ? JSON.stringify(value) : value)]));
  return CHECKED_FIELDS.filter(field => findingsIn(field, i).length).map(field =>
    part(titled(field), h("ul", { class: "listed" }, findingsIn(field, i).map(line))));
}

function chip(code, isTurned) {
  return h("span", { class: `chip ${COLOURS[code]} ${isTurned ? "outlined" : ""}`,
    title: isTurned && "changes with the order: counts as a draw" }, code === "t" ? "changes" : CODE_NAMES[code]);
}

/** Show verdicts as a grid. `rowsOf(name, j)` returns a judge's rows: [label, five codes] each. */
function grid(i, rowsOf) {
  const rows = panel.flatMap((name, j) => rowsOf(name, j).map(([label, codes], k) => [
    k ? "" : judgeName(name), label,
    ...metrics.map((_, m) => chip(codes[m] ?? "-", codes[m] !== "t" && codesOf(i, j)[m] === "t"))]));
  return plainTable("Verdicts", [["judge", ""], ["", "quiet"], ...metrics.map(metric => [metric, ""])], rows,
    turns.score[i] === null ? null : ["score", "", ...metrics.map((_, k) => tinted(turns.metrics[i][k]))]);
}

const sides = content => h("div", { class: "sides" }, [rival, "challenger"].map((name, side) =>
  h("div", { class: `side ${side ? "challenger" : "rival"}` }, h("h4", {}, name), content(name, side))));

function inShort(i) {
  const cut = text => text.length === data.searched_chars && h("p", { class: "quiet small" },
    `The first ${number(data.searched_chars)} characters.`);
  return [facts(i), findingsOf(i), part("Verdicts", grid(i, (_, j) => [["counts as", codesOf(i, j)]])),
    part("Commands", sides((_, side) => [h("div", { class: "code" }, longText(commandOf(i, side) || "(none)", "text")),
      cut(commandOf(i, side))])),
    h("p", { class: "notice" }, "The history, the answers and the raw replies of this turn are in its files: the "
      + `page holds those of ${number(data.n_details)} of ${counted(n, "turn")}.`)];
}

function inFull(i, full) {
  const asked = name => {
    const entries = full.judges.filter(entry => entry.judge === name);
    return entries.length ? entries.map(entry => [orderName(entry.order), entry.codes]) : [["–", ""]];
  };
  const others = Object.entries(full.others).map(([name, text]) =>
    message(name === "reference" ? "reference: the data set’s own turn" : name, text, false, false));
  return [facts(i), findingsOf(i),
    part("Answers", sides(name => fencedText(full.sides[name] ?? "")), others, pullRequest(full.pull_request)),
    Object.keys(full.ran).length > 0 && part("When they were run", sides(name =>
      h("div", { class: "code" }, longText(full.ran[name] ?? "(not run)", "text")))),
    full.tries.length > 0 && part("Refused, and asked for again", full.tries.map(refusedTurn)),
    part("Verdicts", grid(i, asked), turns.verdicts[i].includes("t") && h("ul", { class: "keys" }, h("li", {},
      h("span", { class: "swatch outlined" }), "changes with the order: counts as a draw"))),
    part("What the judges wrote", full.judges.map(reply)), conversation(full.messages)];
}

/** Show what the challenger knew and the king did not. */
const pullRequest = hidden => hidden && ["description", "patch", "test_patch"].filter(key => hidden[key]).map(key =>
  message(`pull request: ${key.replace("_", " ")}`, hidden[key], false, true));

function refusedTurn(one) {
  return h("article", { class: "reply" }, fencedText(one.turn), one.defence && h("p", {}, isolated(one.defence)),
    h("ul", { class: "listed" }, one.findings.map(finding =>
      h("li", {}, isolated(finding.kind), ": ", isolated(finding.quote), " · ", isolated(finding.why)))));
}

function reply(entry) {
  const isNumber = value => typeof value === "number";
  const facts_ = [isNumber(entry.seconds) && duration(entry.seconds),
    isNumber(entry.tokens_in) && isNumber(entry.tokens_out)
      && `${number(entry.tokens_in)} → ${number(entry.tokens_out)} tokens`,
    isNumber(entry.cost_usd) && `$${number(entry.cost_usd, 4)}`, entry.attempt > 1 && `attempt ${entry.attempt}`,
    entry.is_cut && "cut at the token limit", !panel.includes(entry.judge) && "not in the panel now"].filter(Boolean);
  return h("article", { class: "reply" },
    h("p", {}, h("strong", {}, isolated(entry.judge)), ", ", orderName(entry.order),
    h("span", { class: "quiet small" }, facts_.map(fact => ` · ${fact}`))),
  entry.error ? h("p", { class: "bad" }, "No reply: ", isolated(entry.error))
    : !entry.codes && h("p", { class: "bad" }, "No verdict could be read."),
  entry.reason && h("div", { class: "prose" }, longText(entry.reason, "text")),
  entry.raw && folded(h("span", { class: "quiet small" }, "Raw reply"), () => longText(entry.raw, "text"), "raw"));
}

function message(role, text, isOpen, isOutput) {
  return folded([isolated(role, { class: "role" }), isolated(inALine(text), { class: "start" }),
    h("span", { class: "size" }, counted(text.length, "character"))],
  () => fencedText(text, isOutput), "message", isOpen);
}

function conversation(messages) {
  const all = messages.map(([role, text], k) => message(role, text, k === messages.length - 1, role !== "assistant"));
  const unfold = isOpen => () => all.forEach(one => { one.open = isOpen; });
  return h("section", { class: "part" }, h("div", { class: "row" },
    h("h3", {}, `History, ${counted(messages.length, "message")}`),
    h("button", { type: "button", click: unfold(true) }, "Unfold all"),
    h("button", { type: "button", click: unfold(false) }, "Fold all")), all);
}

// all of it -----------------------------------------------------------------------------------------------------------

const parts = [overview(), panel.length > 0 && judges(), findings(), costs(), table()].filter(Boolean);
document.getElementById("main").replaceChildren(...parts);
head(`Challenger against ${rival}`, parts.map(one => [one.id, one.querySelector("h2").textContent]));

if (list) {
  addEventListener("keydown", event => {
    if (event.key !== "/" || reader.open || event.target.closest("input, select")) return;
    event.preventDefault();
    list.search.scrollIntoView({ block: "center" });
    list.search.focus({ preventScroll: true });
  });
  await opened.follow();
}
performance.mark("ready");
