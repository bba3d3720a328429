"use client";
/**
 * The few lines any React application starts with: a plain WebSocket on one channel, whose message is the row itself,
 * and a reconnect. It is for effects that may miss a row while away; figures that must be exact use `useSummary`.
 */
import { useEffect, useEffectEvent } from "react";
import { fullJitter } from "./backoff.ts";
import { retryAfterClose } from "./close-codes.ts";
import { endpoint } from "./endpoint.ts";

/** A connection that lived this long was a good one: the next wait is short again, in ms. */
const STEADY_MS = 5_000;

/** Calls `onSale` with each new row of `ventas`. A new `connection` number starts afresh: the old path may be deaf. */
export function useSales(connection: number, onSale: (sale: unknown) => void): void {
  const handle = useEffectEvent((text: string) => {
    let sale: unknown = null;
    try {
      sale = JSON.parse(text);
    } catch {
      // null says it: a sale that nobody can read
    }
    onSale(sale);
  });

  useEffect(() => {
    if (connection === 0) return;
    let ws: WebSocket;
    let timer: ReturnType<typeof setTimeout>;
    let attempt = 0;
    const open = () => {
      const started = Date.now();
      ws = new WebSocket(`${endpoint()}/ws/sales`);
      ws.onmessage = (event: MessageEvent<string>) => handle(event.data);
      ws.onclose = ({ code }) => {
        const backoff = retryAfterClose(code);
        if (backoff === null) return;
        attempt = Date.now() - started > STEADY_MS ? 0 : attempt + 1;
        timer = setTimeout(open, fullJitter(attempt, backoff));
      };
    };
    open();
    return () => {
      clearTimeout(timer);
      ws.onmessage = ws.onclose = null;
      ws.close();
    };
  }, [connection]);
}
