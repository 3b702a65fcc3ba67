// Decimals of the currencies that the tills know
export const DECIMALS: Record<string, number> = {
  EUR: 2,
  USD: 2,
  JPY: 0,
  KWD: 3,
};

export function isCurrency(code: unknown): code is string {
  return typeof code === "string" && Object.keys(DECIMALS).includes(code);
}
