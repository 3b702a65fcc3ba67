"use strict";

const assert = require("node:assert/strict");
const test = require("node:test");
const { parse, stringify } = require("..");

test("there and back", () => {
  const value = { a: { b: "1" }, list: ["x y", "z&"] };
  assert.deepEqual(parse(stringify(value)), value);
});

test("a missing value is empty", () => {
  assert.deepEqual(parse("a&b="), { a: "", b: "" });
});
