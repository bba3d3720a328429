"use client";
/** The page: one live summary, shown as two figures, the last sales and the low stock. */
import { useEffect, useState } from "react";
import { formatCount, formatMoney, formatTime } from "../lib/format.ts";
import type { Trouble } from "../lib/notifiws.ts";
import { isDecimal, type Summary } from "../lib/summary.ts";
import { explain, offline, texts } from "../lib/texts.ts";
import { useFlash } from "../lib/use-flash.ts";
import { useSales } from "../lib/use-sales.ts";
import { useSummary, type LiveSummary } from "../lib/use-summary.ts";
import { Connection } from "./connection.tsx";
import styles from "./dashboard.module.css";
import { Figure } from "./figure.tsx";
import { LatestSales } from "./latest-sales.tsx";
import { LowStockList } from "./low-stock.tsx";

export function Dashboard() {
  const live = useSummary();
  const { summary, status, connections } = live;
  const [flash, addFlash] = useFlash();
  const [unreadable, setUnreadable] = useState<Trouble | null>(null);

  useSales(connections, (sale) => {
    const total = typeof sale === "object" && sale !== null && "total" in sale ? sale.total : null;
    if (isDecimal(total)) addFlash(Number(total));
    setUnreadable(isDecimal(total) ? null : { code: "sale" });
  });

  useEffect(() => {
    if (summary) document.title = `${formatCount(summary.sales_today)} · ${texts.salesToday} · notifiws`;
  }, [summary]);

  const words = sentence(live, unreadable);
  const stale = summary !== null && status !== "live";

  return (
    <div className={styles.page} data-stale={stale || undefined}>
      <header className={styles.header}>
        <Logo />
        <div className={styles.heading}>
          <h1>{texts.title}</h1>
          <p aria-live="polite" data-testid="notice" data-trouble={words.trouble || undefined}>
            {words.text}
          </p>
        </div>
        <Connection status={status} />
      </header>

      <main className={styles.main}>
        <Figure
          hero
          label={texts.salesToday}
          testId="sales-today"
          value={summary?.sales_today}
          text={summary ? formatCount(summary.sales_today) : null}
          least={4}
          note={salesNote(summary)}
          flash={flash && { key: flash.key, text: `${texts.flash(flash.count)} · ${formatMoney(flash.cents / 100)}` }}
        />
        <Figure
          label={texts.revenueToday}
          testId="revenue-today"
          value={summary?.revenue_today}
          text={summary ? formatMoney(summary.revenue_today) : null}
          least={10}
          note={ticketNote(summary)}
        />
        <LatestSales sales={summary?.latest ?? null} />
        <LowStockList rows={summary?.low_stock ?? null} />
      </main>

      <footer className={styles.footer}>
        <span>{texts.source}</span>
        <span>{live.at && `${stale ? texts.asOf : `${texts.updated}:`} ${formatTime(live.at)}`}</span>
      </footer>
    </div>
  );
}

/** The one line under the title: the trouble in plain words, or what the page is. */
function sentence(live: LiveSummary, unreadable: Trouble | null): { text: string; trouble: boolean } {
  if (live.status === "offline" && !live.online) return { text: offline, trouble: true };
  const trouble = live.trouble ?? live.notice ?? (live.status === "live" ? unreadable : null);
  if (trouble) return { text: explain(trouble), trouble: true };
  return { text: live.connections === 0 ? texts.loading : texts.tagline, trouble: false };
}

function salesNote(summary: Summary | null): string {
  const last = summary?.latest[0];
  if (!summary) return "";
  return last ? `${texts.lastSale} ${formatTime(last.at)} · ${last.store}` : texts.noSales;
}

function ticketNote(summary: Summary | null): string {
  if (!summary || summary.sales_today === 0) return "";
  return `${texts.averageTicket} ${formatMoney(Number(summary.revenue_today) / summary.sales_today)}`;
}

function Logo() {
  return (
    <svg className={styles.logo} viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="9" />
      <path d="M7 16h4.5l3-8 4 16 3-8H25" />
    </svg>
  );
}
