"use strict";

const assert = require("node:assert/strict");
const { describe, it } = require("node:test");
const { parse } = require("..");

describe("parse", () => {
  it("reads flat keys", () => {
    assert.deepEqual(parse("?a=1&b=two+words"), { a: "1", b: "two words" });
  });

  it("reads nested keys", () => {
    assert.deepEqual(parse("a[b][c]=1&a[d]=2"), { a: { b: { c: "1" }, d: "2" } });
  });

  it("reads lists", () => {
    assert.deepEqual(parse("list[]=1&list[]=2"), { list: ["1", "2"] });
  });

  it("leaves prototypes alone", () => {
    parse("__proto__[seen]=1");
    assert.equal({}.seen, undefined);
  });
});
