"""Hold the results of the suites of samples/repos and the requests of samples/pulls, and the demo
that sets them up."""
from codedata.texts import tomllib

# passed, cases, one of the names
HEALTHY = tomllib.loads("""
bitloom = [7, 7, "tests/test_bits.py::test_any_buffer_will_do"]
cinderset = [3, 3, "grow"]
duecalc = [7, 7, "tests/test_due.py::test_due_date[eom+1-expected3]"]
gapcount = [8, 8, "example.org/gapcount::TestGaps/two_of_it"]
hexwarden = [5, 6, "tests/round_trip.rs::a_bad_digit_is_named"]
querywren = [6, 6, "test/parse.test.js > parse > reads nested keys"]
romanist = [5, 6, "test/test_romanist.py::ToRoman::test_known"]
spanset = [10, 10, "tests/test_spans.py::TestRemove::test_from_the_middle"]
tallybook = [4, 4, "tests/test_ledger.py::test_the_file_is_read_once"]
unitfern = [5, 5, "dist/test/quantity.test.js > units of one kind convert"]
""")
DEMOS = {"demo-env": {"querywren", "romanist", "spanset"},
         "demo-bugs": {"duecalc", "romanist", "spanset", "tallybook"}}
IN_DEMOS = set.union(*DEMOS.values())
PULLS = {   # {request of samples/pulls: (tests that fail only before it, tests that always pass)}
    "samples__berthbook-12": (5, 38), "samples__berthbook-15": (19, 42),
    "samples__berthbook-17": (27, 59), "samples__berthbook-21": (46, 80)}
