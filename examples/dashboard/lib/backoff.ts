/** How long to wait before the next try. */

export interface Backoff {
  /** Upper bound of the first wait, in milliseconds. */
  base: number;
  /** Upper bound of any wait, in milliseconds. */
  cap: number;
}

export const USUAL: Backoff = { base: 300, cap: 10_000 };
/** After a refusal for load (4429): the server asked for time. */
export const PATIENT: Backoff = { base: 5_000, cap: 60_000 };

/**
 * Full jitter: anything from zero to `base * 2^attempt`, at most `cap`. After an outage the clients come back spread
 * over the whole interval, not in waves.
 */
export function fullJitter(attempt: number, { base, cap }: Backoff = USUAL, random: () => number = Math.random): number {
  return random() * Math.min(cap, base * 2 ** Math.min(attempt, 30));
}
