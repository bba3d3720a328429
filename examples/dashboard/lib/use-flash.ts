"use client";
/** Gathers what happens within a short while into one message: ten sales a second make one line, not ten. */
import { useEffect, useState } from "react";

const SHOWN_MS = 2_600;
/** What comes this soon after the first joins it, in ms. */
const JOIN_MS = 900;

export interface Flash {
  /** another one for each message: restarts the animation */
  key: number;
  began: number;
  count: number;
  /** in cents; a flash only lives for seconds, the exact figure is the summary's */
  cents: number;
}

export function useFlash(): [Flash | null, (amount: number) => void] {
  const [flash, setFlash] = useState<Flash | null>(null);

  useEffect(() => {
    if (!flash) return;
    const timer = setTimeout(() => setFlash(null), SHOWN_MS);
    return () => clearTimeout(timer);
  }, [flash]);

  const add = (amount: number) => {
    const at = Date.now();
    const cents = Math.round(amount * 100);
    setFlash((now) => {
      const joins = now !== null && at - now.began < JOIN_MS;
      return {
        key: joins ? now.key : (now?.key ?? 0) + 1,
        began: joins ? now.began : at,
        count: joins ? now.count + 1 : 1,
        cents: joins ? now.cents + cents : cents,
      };
    });
  };
  return [flash, add];
}
