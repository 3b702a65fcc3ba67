export type Kind = "length" | "mass";

interface Unit {
  readonly kind: Kind;
  readonly factor: number;   // to the base unit: metres, kilograms
}

const UNITS: Readonly<Record<string, Unit>> = {
  mm: { kind: "length", factor: 0.001 },
  cm: { kind: "length", factor: 0.01 },
  m: { kind: "length", factor: 1 },
  km: { kind: "length", factor: 1000 },
  g: { kind: "mass", factor: 0.001 },
  kg: { kind: "mass", factor: 1 },
};

export class Quantity {
  constructor(readonly value: number, readonly unit: string) {
    if (!(unit in UNITS)) throw new RangeError(`unknown unit: ${unit}`);
  }

  static parse(text: string): Quantity {
    const found = /^\s*(-?\d+(?:\.\d+)?)\s*([a-z]+)\s*$/.exec(text);
    if (!found) throw new SyntaxError(`not a quantity: ${text}`);
    return new Quantity(Number(found[1]), found[2]);
  }

  to(unit: string): Quantity {
    const from = UNITS[this.unit];
    const target = UNITS[unit];
    if (!target || target.kind !== from.kind) throw new RangeError(`${this.unit} is not measured in ${unit}`);
    return new Quantity((this.value * from.factor) / target.factor, unit);
  }

  plus(other: Quantity): Quantity {
    return new Quantity(this.value + other.to(this.unit).value, this.unit);
  }

  toString(): string {
    return `${this.value} ${this.unit}`;
  }
}
