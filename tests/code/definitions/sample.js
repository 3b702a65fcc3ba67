/**
 * Shapes.
 */
export default class Shape extends Base {
  static #count = 0;
  // Return it.
  static async *walk(a = {}) { yield* a }
  get size() { return 1 }
  set size(to) { function inner() {} }
  'a name'() {}
  [Symbol.iterator]() {}
  keep = () => { const deep = function* () {}; };
  table = { read() {}, write: () => 1 };
  static {}
  @logged() @bound
  marked() {}
  #hidden() {}
}

// stands alone

export const add = (a, b) => a + b, other = async x => x;
let Anonymous = class Named { m() {} };
function* numbers() { [1].map(function skipped() {}); }
module.exports = { numbers, make() {}, nested: { of: function () {} }, K: class {} };
Shape.prototype.area = function () { return () => {}; };
things[0] = function () {};
call(x).y = () => {};
export function View() { return <div onClick={() => {}}>{function () {}}</div>; }
var twice = () => 1; var twice = () => 2;
