/** One big number in a card, with a line below and, when something has just happened, a flash beside its label. */
import type { CSSProperties } from "react";
import type { Decimal } from "../lib/summary.ts";
import styles from "./figure.module.css";
import { RollingNumber } from "./rolling-number.tsx";

interface Props {
  label: string;
  /** The exact value; `text` is how it is written. Both missing: not known yet. */
  value: Decimal | undefined;
  text: string | null;
  /** Characters to keep room for: the size only changes beyond them. */
  least: number;
  note: string;
  testId: string;
  hero?: boolean;
  flash?: { key: number; text: string } | null;
}

export function Figure({ label, value, text, least, note, testId, hero = false, flash = null }: Props) {
  const room = { "--characters": Math.max(least, text?.length ?? 0) } as CSSProperties;
  return (
    <section className={styles.card} data-hero={hero || undefined} aria-label={label}>
      <div className={styles.top}>
        <h2>{label}</h2>
        {flash && (
          <span key={flash.key} className={styles.flash} data-testid="flash">
            {flash.text}
          </span>
        )}
      </div>
      <div className={styles.frame}>
        {text === null ? (
          <div className={styles.unknown} aria-hidden="true" />
        ) : (
          <div className={styles.number} style={room} data-testid={testId} data-value={value}>
            <RollingNumber text={text} />
          </div>
        )}
      </div>
      <p className={styles.note}>{note}</p>
    </section>
  );
}
