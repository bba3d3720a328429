/** What the live query `summary` says: the figures of the day as the database counts them. The newest one wins. */

/** A decimal as Postgres wrote it. A string keeps every digit. */
export type Decimal = string | number;

export interface Sale {
  id: number;
  at: string;
  store: string;
  product: string;
  quantity: number;
  total: Decimal;
}

export interface LowStock {
  product: string;
  store: string;
  stock: number;
  minimum: number;
}

export interface Summary {
  sales_today: number;
  revenue_today: Decimal;
  /** newest first */
  latest: Sale[];
  low_stock: LowStock[];
}

/**
 * The payload, a live query's rows, as a summary, or null where it is something else. The query has one row, and its lists
 * carry the tables' own column names.
 */
export function parseSummary(payload: unknown): Summary | null {
  const row: unknown = Array.isArray(payload) && payload.length === 1 ? payload[0] : null;
  if (!isRecord(row)) return null;
  const { sales_today, revenue_today, latest, low_stock } = row;
  if (typeof sales_today !== "number" || !isDecimal(revenue_today)) return null;
  const sales = rows(latest, sale);
  const low = rows(low_stock, lowStock);
  return sales && low ? { sales_today, revenue_today, latest: sales, low_stock: low } : null;
}

function sale({ id, creada: at, tienda: store, producto: product, cantidad: quantity, total }: Row): Sale | null {
  if (typeof id !== "number" || typeof at !== "string" || typeof store !== "string") return null;
  if (typeof product !== "string" || typeof quantity !== "number" || !isDecimal(total)) return null;
  return { id, at, store, product, quantity, total };
}

function lowStock({ producto: product, tienda: store, cantidad: stock, minimo: minimum }: Row): LowStock | null {
  if (typeof product !== "string" || typeof store !== "string") return null;
  if (typeof stock !== "number" || typeof minimum !== "number") return null;
  return { product, store, stock, minimum };
}

type Row = Record<string, unknown>;

/** Every row read, or null: half a list would be a wrong one. */
function rows<T>(value: unknown, read: (row: Row) => T | null): T[] | null {
  if (!Array.isArray(value)) return null;
  const all = value.map((row) => (isRecord(row) ? read(row) : null));
  return all.includes(null) ? null : (all as T[]);
}

export function isDecimal(value: unknown): value is Decimal {
  return typeof value === "number" || (typeof value === "string" && /^-?\d+(\.\d+)?$/.test(value));
}

function isRecord(value: unknown): value is Row {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export type Severity = "out" | "critical" | "low";

/** How urgent a low stock is: nothing left, half the minimum or less, or below the minimum. */
export function severity({ stock, minimum }: LowStock): Severity {
  if (stock <= 0) return "out";
  return stock * 2 <= minimum ? "critical" : "low";
}

const RANK: Record<Severity, number> = { out: 0, critical: 1, low: 2 };

/** The most urgent first; a stable order, so that rows do not dance. */
export function byUrgency(rows: readonly LowStock[]): LowStock[] {
  const share = (row: LowStock) => (row.minimum > 0 ? row.stock / row.minimum : 0);
  return [...rows].sort(
    (a, b) =>
      RANK[severity(a)] - RANK[severity(b)] ||
      share(a) - share(b) ||
      a.product.localeCompare(b.product, "es") ||
      a.store.localeCompare(b.store, "es"),
  );
}
