/** Numbers, money and times as they are written in Spain. */
import type { Decimal } from "./summary.ts";

const LOCALE = "es-ES";
// Spanish leaves four digits ungrouped; among live counters that would make 9.999 → 10000 jump. Group always.
const count = new Intl.NumberFormat(LOCALE, { useGrouping: "always", maximumFractionDigits: 0 });
const money = new Intl.NumberFormat(LOCALE, { style: "currency", currency: "EUR", useGrouping: "always" });
const clock = new Intl.DateTimeFormat(LOCALE, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const day = new Intl.DateTimeFormat(LOCALE, { weekday: "long", day: "numeric", month: "long" });

export const formatCount = (value: number): string => count.format(value);

/** Strings are formatted digit by digit, never by way of a float. */
export const formatMoney = (value: Decimal): string => money.format(value as Intl.StringNumericLiteral);

export const formatTime = (at: string | Date): string => clock.format(new Date(at));

export const formatDay = (at: Date): string => day.format(at);
