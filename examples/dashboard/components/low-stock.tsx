"use client";
/** Products below their minimum, the most urgent first. Severity is said in words and shape, not by colour alone. */
import { formatCount } from "../lib/format.ts";
import { byUrgency, severity, type LowStock } from "../lib/summary.ts";
import { texts } from "../lib/texts.ts";
import { useCalm } from "../lib/use-calm.ts";
import styles from "./low-stock.module.css";
import panel from "./panel.module.css";

const ROWS = 8;

/** As for the sales: no more than three changes a second. */
const CALM_MS = 300;

export function LowStockList({ rows: newest }: { rows: LowStock[] | null }) {
  const rows = useCalm(newest, CALM_MS);
  const sorted = rows && byUrgency(rows);
  const rest = sorted ? sorted.length - ROWS : 0;
  return (
    <section className={panel.panel} aria-labelledby="low-stock">
      <div className={panel.top}>
        <h2 id="low-stock">{texts.lowStock}</h2>
        {sorted && sorted.length > 0 && <span className={panel.count}>{formatCount(sorted.length)}</span>}
      </div>
      <div className={styles.body} aria-busy={rows === null}>
        {sorted === null && Array.from({ length: ROWS }, (_, index) => <div key={index} className={styles.waiting} />)}
        {sorted?.length === 0 && (
          <div className={styles.none}>
            <p>{texts.lowStockNone}</p>
            <p>{texts.lowStockNoneHint}</p>
          </div>
        )}
        {sorted && sorted.length > 0 && (
          <ul className={styles.list} data-testid="low-stock">
            {sorted.slice(0, ROWS).map((row, index) => (
              <Item key={index} row={row} />
            ))}
          </ul>
        )}
        <p className={styles.rest}>{rest > 0 && texts.more(rest)}</p>
      </div>
    </section>
  );
}

function Item({ row }: { row: LowStock }) {
  const level = severity(row);
  return (
    <li className={styles.item} data-severity={level}>
      <div className={styles.names}>
        <span>{row.product}</span>
        <small>{row.store}</small>
      </div>
      <div className={styles.stock}>
        <span>
          <b key={row.stock}>{formatCount(row.stock)}</b>
          <small>
            {" "}
            / <span className={styles.minimum}>{texts.minimum} </span>
            {formatCount(row.minimum)}
          </small>
        </span>
        <svg className={styles.bar} viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">
          <rect width="100" height="6" rx="3" />
          <rect width={filled(row)} height="6" rx="3" />
        </svg>
      </div>
      <span className={styles.severity}>{texts.severity[level]}</span>
    </li>
  );
}

/** The bar's filled part in per cent of the minimum. */
function filled({ stock, minimum }: LowStock): number {
  return minimum > 0 ? Math.max(0, Math.min(100, (stock / minimum) * 100)) : 0;
}
