/** Says whether what is on the screen is live. The truth about it is `Subscription`'s; this only shows it. */
import type { Status } from "../lib/notifiws.ts";
import { texts } from "../lib/texts.ts";
import styles from "./connection.module.css";

export function Connection({ status }: { status: Status }) {
  return (
    <div className={styles.connection} role="status" aria-live="polite" data-testid="connection" data-status={status}>
      <span className={styles.dot} aria-hidden="true" />
      <span className="spoken">{texts.connection}: </span>
      {texts.status[status]}
    </div>
  );
}
