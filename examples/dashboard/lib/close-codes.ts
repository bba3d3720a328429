/** What a WebSocket's close code asks of the client: the retry column of the protocol's table. */
import { PATIENT, USUAL, type Backoff } from "./backoff.ts";

/** Coming back would end the same way: malformed, forbidden. */
const FINAL: ReadonlySet<number> = new Set([4400, 4403]);

/** The backoff to come back with, or null: do not come back. */
export function retryAfterClose(code: number): Backoff | null {
  if (FINAL.has(code)) return null;
  return code === 4429 ? PATIENT : USUAL;
}
