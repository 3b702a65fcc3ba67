// Report the tests of node's runner as JUnit XML, with names that begin with their file: so it is
// seen which of them are missing where the process of a file ends early.
import { relative, resolve } from "node:path";
import { inspect } from "node:util";

const MARKS = { "&": "&amp;", "<": "&lt;", '"': "&quot;", "\n": "&#10;" };
const escaped = (text) => text.replace(/[&<"\n]/g, (one) => MARKS[one]);

export default async function* report(events) {
  const open = [];   // names of the tests around the one that is reported
  yield "<testsuites>\n";
  for await (const { type, data } of events) {
    if (type === "test:start") open.splice(data.nesting, open.length, data.name);
    const failed = type === "test:fail" && data.todo === undefined;
    if (!failed && (!["test:pass", "test:fail"].includes(type) || data.details.type === "suite")) continue;
    const itself = relative("", resolve(data.name));   // where a file is reported, not a test
    const file = data.file ? relative("", data.file) : itself;
    const names = [...open.slice(0, data.nesting), data.name];
    const name = file === itself && data.nesting === 0 ? file : [file, ...names].join(" > ");
    const cause = data.details.error?.cause ?? "";
    const values = typeof (cause.expected ?? {}) === "object" ? ""   // else the message may not say which is which
      : `\nexpected: ${inspect(cause.expected)}\nactual: ${inspect(cause.actual)}`;
    const why = data.details.error?.failureType === "subtestsFailed" ? "" : `${cause}${values}`;
    const outcome = failed ? `<failure message="${escaped(why)}"/>` : (data.skip ?? data.todo) === undefined ? "" : "<skipped/>";
    yield `<testcase classname="test" name="${escaped(name)}" `
      + `time="${(data.details.duration_ms / 1000).toFixed(6)}">${outcome}</testcase>\n`;
  }
  yield "</testsuites>\n";
}
