"use client";
/** The day's figures, live: channel `summary` over `notifiws.v1`, newest payload wins. */
import { useEffect, useState } from "react";
import { endpoint } from "./endpoint.ts";
import { Subscription, type State, type Trouble } from "./notifiws.ts";
import { parseSummary, type Summary } from "./summary.ts";

/** How long an error that broke nothing stays on the screen, in ms. */
const NOTICE_MS = 10_000;

export interface LiveSummary extends State {
  summary: Summary | null;
  /** When the newest summary was written in the database. */
  at: string | null;
  online: boolean;
  /** The latest error that did not break the connection. */
  notice: Trouble | null;
}

export function useSummary(): LiveSummary {
  const [state, setState] = useState<State>({ status: "reconnecting", connections: 0, trouble: null, ended: false });
  const [newest, setNewest] = useState<{ summary: Summary; at: string } | null>(null);
  const [notice, setNotice] = useState<Trouble | null>(null);
  const [online, setOnline] = useState(true);

  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const onError = (trouble: Trouble) => {
      setNotice(trouble);
      clearTimeout(timer);
      timer = setTimeout(() => setNotice(null), NOTICE_MS);
    };
    const subscription = new Subscription({
      url: `${endpoint()}/ws`,
      channel: "summary",
      rewind: 1,
      onEvent: ({ payload, at }) => {
        const summary = parseSummary(payload);
        if (summary) setNewest({ summary, at });
        else onError({ code: "summary" });
      },
      onState: setState,
      onError,
      isOnline: () => navigator.onLine,
    });
    const suspect = () => {
      setOnline(navigator.onLine);
      subscription.suspect();
    };
    const woken = () => {
      if (document.visibilityState === "visible") suspect();
    };
    window.addEventListener("online", suspect);
    window.addEventListener("offline", suspect);
    window.addEventListener("pageshow", woken);
    document.addEventListener("visibilitychange", woken);
    return () => {
      window.removeEventListener("online", suspect);
      window.removeEventListener("offline", suspect);
      window.removeEventListener("pageshow", woken);
      document.removeEventListener("visibilitychange", woken);
      clearTimeout(timer);
      subscription.close();
    };
  }, []);

  return { ...state, summary: newest?.summary ?? null, at: newest?.at ?? null, online, notice };
}
