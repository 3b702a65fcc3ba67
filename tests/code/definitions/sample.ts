/** Says what it is. */
@Component({ name: "a" })
export abstract class Service<T extends object> implements Thing {
  private readonly load = async <U>(a: U): Promise<U> => a;
  constructor(private name: string) { this.name = name; }
  run(a: number): void;
  // Runs it.
  @Input()
  @Output() run(a: number | string): void { const go = (): void => {}; }
  abstract later(): void;
  static get one(): number { return 1; }
  declare field: () => void;
}
function over(a: string): string;
function over(a: number): number;
function over(a: any) { return a; }
interface Thing { run(a: number): void; call: () => void }
type Alias = { method(): void };
enum Colour { Red }
namespace Tools.Deep { export const use = <T,>(a: T) => a; class Hidden {} }
declare module "other" { export function nothing(): void; class Known {} }
declare function outside(): void;
export default (a: number) => a;
let cast = { a: () => 1 } as const;
const typed: Record<string, () => void> = { go() {}, async *stop() {} };
