/** Positions are opaque to an application; a client compares them to notice gaps and repeats. */

/** `epoch:tick-event`, inside one epoch ordered by tick, then event. */
export interface Position {
  epoch: string;
  tick: bigint;
  event: bigint;
}

export function parsePosition(text: unknown): Position | null {
  const match = typeof text === "string" ? /^([^:]+):(\d+)-(\d+)$/.exec(text) : null;
  if (!match) return null;
  const [, epoch = "", tick = "0", event = "0"] = match;
  return { epoch, tick: BigInt(tick), event: BigInt(event) };
}

/** Is `a` beyond `b`? Never across epochs: there is no order between them. */
export function isBeyond(a: string | null, b: string | null): boolean {
  const left = parsePosition(a);
  const right = parsePosition(b);
  if (!left || !right || left.epoch !== right.epoch) return false;
  return left.tick > right.tick || (left.tick === right.tick && left.event > right.event);
}
