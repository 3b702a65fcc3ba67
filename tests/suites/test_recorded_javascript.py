"""Calls that tests in JavaScript make, noted in changed test files and run again in node."""
import json

import pytest
from setups import CA_BUNDLE

from codedata.code.entities import SourceFile
from codedata.env.recipes import node
from codedata.env.repository_facts import read_facts
from codedata.sandbox.factory import open_sandbox
from codedata.suites import recorded_javascript as recorder
from codedata.suites.recorded_calls import ReplayJob, jobs_of
from codedata.suites.recorded_javascript import JavaScriptOutcome, changed_test
from codedata.suites.suite import run_script

PACKAGE = {"name": "tide-gauge", "main": "lib/gauge.js", "engines": {"node": "^20"},
           "scripts": {"test": "node --test test/"}}
GAUGE = """'use strict'
class Gauge {
  constructor (marks) { this.marks = marks }
  raise (by) { this.marks = this.marks.map(one => one + by); return this }
  highest () {
    if (!this.marks.length) throw new RangeError('no marks')
    return Math.max(...this.marks)
  }
  * each () { yield * this.marks }
  _hidden () { return 1 }
}
exports.Gauge = Gauge
exports.read = async text => new Gauge(text.split(' ').map(Number))
exports.now = () => new Date().getFullYear()
exports.label = (value, form) => form(value)
"""
TEST = """'use strict'
const { test } = require('node:test')
const assert = require('node:assert')
const gauges = require('..')
test('marks rise', () => {
  const gauge = new gauges.Gauge([1, 2])
  gauge.raise(3)
  assert.equal(gauge.highest(), 5)
  assert.deepEqual([...gauge.each()], [4, 5])
  gauge.marks = []
  assert.throws(() => gauge.highest(), RangeError)
  gauge._hidden()
  gauges.now()
})
test('texts are read', async () => {
  const read = await gauges.read('7 8')
  assert.equal(read?.highest(), 8)
  assert.equal(read.highest(), 8)
  assert.equal(gauges.label(2, one => `${one.toFixed(1)} m`), '2.0 m')
})
test('a test that fails', () => assert.equal(gauges.label(3, Math.abs), 4))
"""


@pytest.mark.docker
def test_what_tests_call_runs_again_as_a_script_of_public_names(tmp_path):
    (tmp_path / "package.json").write_text(json.dumps(PACKAGE))
    recipe = next(iter(node.initial(read_facts(tmp_path).node)))
    script = recipe.test_script()
    with open_sandbox("docker", scripts=[], run_label="tests-node", ca_bundle=CA_BUNDLE) as box:
        box.put({"package.json": json.dumps(PACKAGE).encode(), "lib/gauge.js": GAUGE.encode(),
                 "test/gauge.js": b"broken"}, box.workdir)
        box.network(True)
        assert (done := run_script(box, recipe.install_script(), 300)).ok, done.output
        run, events = recorder.record(box, script, 60, hidden={"test/gauge.js": TEST.encode()})
        assert box.run("cat test/gauge.js").output == TEST
        _, of_one = recorder.record(box, script, 60, ["test/gauge.js > texts are read (2)"])
        found = recorder.replay(box, jobs_of(events), script)
        slow = [ReplayJob([], "(() => { for (;;); })()"),
                ReplayJob(["const x = 1", "const y = 2"], "y")]
        bounded = recorder.replay(box, slow, script, prune=True)
    assert sorted(case.status for case in run.results) == ["failed", "passed", "passed"]
    assert {event.test for event in of_one} == {"texts are read"}
    facts = {one.last: one.told for one in found if one}
    start = "const tideGauge = require('./lib/gauge.js')"
    made = [start, "const gauge2 = new tideGauge.Gauge([1, 2])", "gauge2.raise(3)"]
    assert facts == {
        "new tideGauge.Gauge([1, 2])": "Gauge { marks: [ 1, 2 ] }",
        "new tideGauge.Gauge([1, 2]).raise(3)": "Gauge { marks: [ 4, 5 ] }",
        "gauge2.highest()": "RangeError: no marks", "[...gauge2.each()]": "[ 4, 5 ]",
        '(await tideGauge.read("7 8"))': "Gauge { marks: [ 7, 8 ] }",
        '(await tideGauge.read("7 8")).highest()': "8",
        "tideGauge.label(2, one => `${one.toFixed(1)} m`)": "'2.0 m'"}
    assert {one.told: one.lines for one in found if one and "highest" in one.last} == {
        "5": made, "RangeError: no marks": [*made, "gauge2.highest()", "gauge2.each()",
                                            "gauge2.marks = []"], "8": [start]}
    assert bounded[0] is None and bounded[1].lines == ["const y = 2"]


def test_a_changed_test_keeps_its_directives_and_what_cannot_be_noted():
    def changed(text: str, path: str = "a.test.js") -> str:
        language = "typescript" if path.endswith("ts") else "javascript"
        return changed_test(SourceFile(path, language, text.encode(), True))

    text = changed("// first\n'use strict'\na?.b.c(d); delete e.f; jest.mock('g', () => h.i())")
    assert text.startswith("// first\n'use strict'\n") and text.endswith(
        "(globalThis); a?.b.c(d); delete e.f; jest.mock('g', () => h.i())")
    text = changed("import x, { y as z } from './w'\nit(`t`, async () => z(x.v))", "a.test.ts")
    assert text.startswith("// @ts-nocheck\n") and text.endswith("\nit(`t`, __cd.o(async () => "
        '(__cd.t(() => `t`), __cd.c(z, [__cd.g(x, "v")])), "async () => z(x.v)"))')
    assert "__cd.i(\"a.test.ts\", './w', 'y', () => z);" in text
    assert changed("a(b") is None


def test_an_outcome_is_a_program_and_has_literals_that_vary():
    one = JavaScriptOutcome(["const a = require('./a.js')"], '(await a("é", 3n, -2))', "value",
                            "string", "'x'", as_printed=False)
    assert one.program == (
        "(async () => {\nconst a = require('./a.js');\n"
        'console.dir((await a("é", 3n, -2)), { depth: null, breakLength: Infinity, '
        "compact: true });\n})();\n")
    assert [(value, one.written(value)) for *_, value in sorted(one.literals(one.last))] == [
        ("é", '"é"'), (2, "2")]
