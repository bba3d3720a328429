"use client";
/** The last ten sales. The ten rows stay where they are; what slides is their content, so nothing shifts. */
import { useEffect, useState } from "react";
import { formatCount, formatMoney, formatTime } from "../lib/format.ts";
import type { Sale } from "../lib/summary.ts";
import { texts } from "../lib/texts.ts";
import styles from "./latest-sales.module.css";
import panel from "./panel.module.css";

const ROWS = 10;

export function LatestSales({ sales }: { sales: Sale[] | null }) {
  const fresh = useFresh(sales);
  const { time, product, store, quantity, total } = texts.columns;
  return (
    <section className={panel.panel} aria-labelledby="latest">
      <div className={panel.top}>
        <h2 id="latest">{texts.latest}</h2>
      </div>
      <table className={styles.table} data-testid="latest" aria-busy={sales === null}>
        <thead>
          <tr>
            <th scope="col" className={styles.time}>
              {time}
            </th>
            <th scope="col">{product}</th>
            <th scope="col" className={styles.store}>
              {store}
            </th>
            <th scope="col" className={styles.quantity}>
              {quantity}
            </th>
            <th scope="col" className={styles.total}>
              {total}
            </th>
          </tr>
        </thead>
        <tbody>
          {Array.from({ length: ROWS }, (_, index) => {
            const sale = sales?.[index];
            return sale ? (
              <Row key={index} sale={sale} fresh={fresh.has(sale.id)} />
            ) : (
              <tr key={index} className={sales === null ? styles.waiting : undefined} aria-hidden="true">
                <td colSpan={5} />
              </tr>
            );
          })}
        </tbody>
      </table>
    </section>
  );
}

function Row({ sale, fresh }: { sale: Sale; fresh: boolean }) {
  // A new key for new content: it is put in anew, and so slides in from the row above.
  const at = (column: string) => `${sale.id}${column}`;
  return (
    <tr className={fresh ? styles.fresh : undefined} data-id={sale.id}>
      <td className={styles.time}>
        <span key={at("t")}>{formatTime(sale.at)}</span>
      </td>
      <td className={styles.product}>
        <span key={at("p")}>
          {sale.product}
          <small>
            {sale.store} · {texts.units(sale.quantity)}
          </small>
        </span>
      </td>
      <td className={styles.store}>
        <span key={at("s")}>{sale.store}</span>
      </td>
      <td className={styles.quantity}>
        <span key={at("q")}>{formatCount(sale.quantity)}</span>
      </td>
      <td className={styles.total}>
        <span key={at("m")}>{formatMoney(sale.total)}</span>
      </td>
    </tr>
  );
}

const FRESH_MS = 2_000;

/** The ids of sales that came while the page was looking: none of the first ten, which were there before. */
function useFresh(sales: Sale[] | null): ReadonlySet<number> {
  const [seen, setSeen] = useState<{ sales: Sale[] | null; fresh: ReadonlySet<number> }>({ sales, fresh: new Set() });
  let { fresh } = seen;
  if (sales !== seen.sales) {
    const before = new Set(seen.sales?.map(({ id }) => id));
    const came = seen.sales && sales ? sales.filter(({ id }) => !before.has(id)).map(({ id }) => id) : [];
    fresh = new Set([...fresh, ...came].filter((id) => sales?.some((sale) => sale.id === id)));
    setSeen({ sales, fresh });
  }
  useEffect(() => {
    if (fresh.size === 0) return;
    const timer = setTimeout(() => setSeen((now) => ({ ...now, fresh: new Set() })), FRESH_MS);
    return () => clearTimeout(timer);
  }, [fresh]);
  return fresh;
}
