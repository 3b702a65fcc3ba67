import { Quantity } from "../src/index";

declare function require(name: string): any;   // node's own types are a package that is not needed for this
const assert = require("assert");
const { test } = require("node:test");

test("parse reads value and unit", () => {
  const found = Quantity.parse(" 2.5 km ");
  assert.strictEqual(found.value, 2.5);
  assert.strictEqual(found.unit, "km");
});

test("units of one kind convert", () => {
  assert.strictEqual(new Quantity(2.5, "km").to("m").value, 2500);
});

test("units of two kinds do not", () => {
  assert.throws(() => new Quantity(1, "kg").to("m"), RangeError);
});

test("a sum is in the unit of its first part", () => {
  assert.strictEqual(Quantity.parse("1 m").plus(Quantity.parse("50 cm")).toString(), "1.5 m");
});

test("what is no quantity is refused", () => {
  assert.throws(() => Quantity.parse("fast"), SyntaxError);
});
