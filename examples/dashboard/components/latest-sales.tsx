"use client";
/** The last ten sales. The ten rows stay where they are; what slides is their content, so nothing shifts. */
import { useState, type CSSProperties } from "react";
import { formatCount, formatMoney, formatTime } from "../lib/format.ts";
import type { Sale } from "../lib/summary.ts";
import { texts } from "../lib/texts.ts";
import { useCalm } from "../lib/use-calm.ts";
import styles from "./latest-sales.module.css";
import panel from "./panel.module.css";

const ROWS = 10;

/** Shorter than the slide would restart it before it is readable, in ms. */
const CALM_MS = 300;

export function LatestSales({ sales: newest }: { sales: Sale[] | null }) {
  const sales = useCalm(newest, CALM_MS);
  const history = useHistory(sales);
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
              // A new key for new content: it is put in anew, and so slides in from the row above.
              <Row key={`${index}/${sale.id}`} sale={sale} age={history.has(sale.id) ? null : ageOf(sale, sales[0] ?? sale)} />
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

/** `age` in ms: how much of the highlight has passed; null: none. */
function Row({ sale, age }: { sale: Sale; age: number | null }) {
  return (
    <tr
      className={age === null ? undefined : styles.fresh}
      style={age === null ? undefined : ({ "--age": age } as CSSProperties)}
      data-id={sale.id}
    >
      <td className={styles.time}>
        <span>{formatTime(sale.at)}</span>
      </td>
      <td className={styles.product}>
        <span>
          {sale.product}
          <small>
            {sale.store} · {texts.units(sale.quantity)}
          </small>
        </span>
      </td>
      <td className={styles.store}>
        <span>{sale.store}</span>
      </td>
      <td className={styles.quantity}>
        <span>{formatCount(sale.quantity)}</span>
      </td>
      <td className={styles.total}>
        <span>{formatMoney(sale.total)}</span>
      </td>
    </tr>
  );
}

/** The ids that were there when the page first saw any: history, not news. */
function useHistory(sales: Sale[] | null): ReadonlySet<number> {
  const [history, setHistory] = useState<ReadonlySet<number> | null>(null);
  if (history === null && sales !== null) setHistory(new Set(sales.map(({ id }) => id)));
  return history ?? new Set();
}

/** How long before the newest sale this one was made, in ms. */
function ageOf(sale: Sale, newest: Sale): number {
  return Math.max(0, Date.parse(newest.at) - Date.parse(sale.at));
}
