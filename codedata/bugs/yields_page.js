// Show the page of yields. yields_page.py makes `data`, and says what it holds.

const COLUMNS = [["", ""], ...["candidates", "judged", "good", "of judged", "survived", "same error", "timed out", "other", "chosen",
  "refused", "written", "subtle", "screening, s", "proofs, s"].map(title => [title, "number"])];

const judged = one => one.candidates - one["not judged"];
const percent = (part, of) => of ? `${number(100 * part / of)} %` : "–";
const cells = (one, name) => [name, number(one.candidates), number(judged(one)), number(one.good),
  percent(one.good, judged(one)), number(one.survives), number(one.same_error), number(one.timeout), number(one.other), number(one.chosen),
  number(one.refused), number(one.written), percent(one.subtle, one.written), number(one.screening_s, 1),
  number(one.proof_s, 1)];

function overview({ total, others, refused }) {
  const figures = {
    candidates: number(total.candidates), "good, by screening": `${number(total.good)} (${percent(total.good, judged(total))})`,
    chosen: number(total.chosen), written: number(total.written), subtle: percent(total.subtle, total.written),
    "candidates a second": total.screening_s ? number(judged(total) / total.screening_s, 1) : "–",
    "seconds a proof": total.written ? number(total.proof_s / total.written, 1) : "–" };
  return section("overview", "Overview",
    h("p", { class: "lead" }, "Screening runs the tests that reach a change. What it calls good is chosen within the caps "
      + "of [bug], proven by whole runs in fresh containers, and written. Seconds are those of one worker."),
    h("dl", { class: "numbers" }, Object.entries(figures).map(([name, value]) => h("div", {}, h("dt", {}, name),
      h("dd", {}, value)))),
    h("div", { class: "cards" }, reasons("Good by screening, refused by the proof", refused),
      reasons("Other verdicts of screening", others)),
    total.other_tests > 0 && h("p", { class: "lead" }, `Of ${counted(total.written, "written bug")}, `
      + `${number(total.other_tests)} broke other tests in screening than in the proof.`));
}

const reasons = (title, rows) => rows.length > 0 && h("div", { class: "card" }, h("h3", {}, title),
  plainTable(title, [["", "words"], ["candidates", "number"]], rows.map(([why, n]) => [isolated(why), number(n)])));

function group([name, rows]) {
  const title = `By ${name}`;
  return section(name, title,
    plainTable(title, COLUMNS, rows.map(one => cells(one, isolated(one.name || "(none)", { class: "mono" }))),
      rows.length > 1 ? cells(data.total, "all") : null));
}

const parts = [overview(data), ...data.groups.map(group)];
document.getElementById("main").replaceChildren(...parts);
head(document.title, parts.map(one => [one.id, one.querySelector("h2").textContent]));
performance.mark("ready");
