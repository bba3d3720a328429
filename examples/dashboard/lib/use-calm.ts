"use client";
/** The newest value, but a new one at most every `ms`: a list that people read must not flicker under a burst. */
import { useEffect, useRef, useState } from "react";

export function useCalm<T>(value: T, ms: number): T {
  const [shown, setShown] = useState(value);
  const changed = useRef(0);

  useEffect(() => {
    const wait = changed.current + ms - performance.now();
    const timer = setTimeout(
      () => {
        changed.current = performance.now();
        setShown(value);
      },
      Math.max(0, wait),
    );
    return () => clearTimeout(timer);
  }, [value, ms]);

  return shown;
}
