/**
 * One channel over one `notifiws.v1` socket: subscribes, resumes by position after a loss, and says truthfully whether
 * what it shows is live. No React and no browser globals but `WebSocket`, so that tests drive it with a fake socket.
 * What the events mean is the caller's job.
 */
import { fullJitter, USUAL, type Backoff } from "./backoff.ts";
import { retryAfterClose } from "./close-codes.ts";
import { isBeyond } from "./position.ts";

export type Status = "live" | "reconnecting" | "offline";

/** Why it is not live, or what the server objected to. `code` is a close code, an `error.code`, or one of ours. */
export interface Trouble {
  code: number | string;
  message?: string;
}

export interface State {
  status: Status;
  /** How often a subscription was confirmed: 0 before the first. */
  connections: number;
  trouble: Trouble | null;
  /** True once it has given up for good (forbidden, malformed): only a reload tries again. */
  ended: boolean;
}

export interface NotifiwsEvent {
  id: number;
  op: string;
  at: string;
  payload?: unknown;
}

/** The part of `WebSocket` that is used. */
export type Socket = Pick<WebSocket, "send" | "close" | "onopen" | "onmessage" | "onclose" | "readyState">;

export interface Options {
  /** `ws://host:port/ws` */
  url: string;
  channel: string;
  /** Events wanted from before, when there is no position to resume from. */
  rewind: number;
  onEvent: (event: NotifiwsEvent) => void;
  onState: (state: State) => void;
  /** The server's `error` frames, and messages that nobody can read. The connection may well stay live. */
  onError: (trouble: Trouble) => void;
  socket?: (url: string, protocol: string) => Socket;
  random?: () => number;
  isOnline?: () => boolean;
}

/** Time for a handshake and its `subscribed`, in ms. */
const PATIENCE_MS = 10_000;
/** Time for the answer to a ping sent out of doubt, in ms. */
const DOUBT_MS = 4_000;
/** Without a connection for this long the page says `offline`, in ms. */
const OUTAGE_MS = 15_000;
/** `ping_seconds` until `welcome` names it. */
const PING_SECONDS = 20;
const OPEN = 1;

/** `error` codes that make a subscription impossible, however often it is asked for. */
const HOPELESS: ReadonlySet<string> = new Set(["forbidden", "bad_channel", "bad_field", "unknown_type", "unsupported"]);

type Frame = Record<string, unknown>;
type Timer = ReturnType<typeof setTimeout>;

export class Subscription {
  readonly #options: Options;
  #socket: Socket | null = null;
  #position: string | null = null;
  #sub: string | null = null;
  /** id of the `subscribe` that waits for its answer, and whether it asked to resume */
  #asked: { id: number; resume: boolean } | null = null;
  /** id of the ping whose `pong` ends a doubt; until then nothing here is called live */
  #doubt: number | null = null;
  #lastId = 0;
  #attempt = 0;
  #connections = 0;
  #pingMs = PING_SECONDS * 1000;
  #trouble: Trouble | null = null;
  #outage = false;
  #ended = false;
  #closed = false;
  #shown = "";
  #silence: Timer | undefined;
  #retry: Timer | undefined;
  #outageTimer: Timer | undefined;

  constructor(options: Options) {
    this.#options = options;
    this.#startOutage();
    this.#open();
  }

  /** Ends it for good, without a further call back. */
  close(): void {
    this.#closed = true;
    this.#drop();
    clearTimeout(this.#retry);
    clearTimeout(this.#outageTimer);
  }

  /**
   * The network or the page changed (online, offline, woken): what was live a moment ago has to prove it. Without a
   * connection it tries at once.
   */
  suspect(): void {
    if (this.#closed || this.#ended) return;
    if (this.#sub !== null && this.#socket?.readyState === OPEN) {
      this.#doubt = this.#send({ type: "ping" });
      this.#expect(DOUBT_MS, () => this.#lose({ code: "silent" }));
    } else if (this.#socket?.readyState !== OPEN) {
      this.#attempt = 0;
      this.#open();
    }
    this.#show();
  }

  // ------------------------------------------------------------------ connection

  #open(): void {
    clearTimeout(this.#retry);
    this.#drop();
    if (this.#closed || this.#ended) return;
    const create = this.#options.socket ?? ((url, protocol) => new WebSocket(url, protocol));
    const socket = create(this.#options.url, "notifiws.v1");
    this.#socket = socket;
    this.#expect(PATIENCE_MS, () => this.#lose({ code: "silent" }));
    socket.onopen = () => this.#subscribe();
    socket.onmessage = (message: MessageEvent) => this.#receive(message.data);
    socket.onclose = ({ code }: CloseEvent) => this.#lose({ code }, retryAfterClose(code));
  }

  /** Lets go of the socket: a dead one may take minutes to report its own close. */
  #drop(): void {
    clearTimeout(this.#silence);
    const socket = this.#socket;
    this.#socket = this.#sub = this.#asked = this.#doubt = null;
    if (!socket) return;
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close(1000);
  }

  /** Not connected any more: comes back after a jittered wait, or, with `backoff` null, never. */
  #lose(trouble: Trouble | null, backoff: Backoff | null = USUAL): void {
    this.#drop();
    this.#trouble = trouble;
    this.#startOutage();
    if (backoff === null) {
      this.#ended = true;
    } else {
      this.#retry = setTimeout(() => this.#open(), fullJitter(this.#attempt++, backoff, this.#options.random));
    }
    this.#show();
  }

  #startOutage(): void {
    this.#outageTimer ??= setTimeout(() => {
      this.#outage = true;
      this.#show();
    }, OUTAGE_MS);
  }

  // ------------------------------------------------------------------ conversation

  #send(frame: Frame): number {
    const id = ++this.#lastId;
    this.#socket?.send(JSON.stringify({ ...frame, id }));
    return id;
  }

  #subscribe(): void {
    const { channel, rewind } = this.#options;
    const resume = this.#position !== null;
    const from = resume ? { since: this.#position } : { rewind };
    this.#asked = { id: this.#send({ type: "subscribe", channel, ...from }), resume };
  }

  /** History is broken: forget the position and ask for the newest state. */
  #afresh(): void {
    if (this.#sub !== null) this.#send({ type: "unsubscribe", sub: this.#sub });
    this.#sub = this.#position = null;
    this.#expect(PATIENCE_MS, () => this.#lose({ code: "silent" }));
    this.#subscribe();
  }

  #receive(data: unknown): void {
    const frame = parseFrame(data);
    if (!frame) {
      this.#options.onError({ code: "unreadable" });
      return;
    }
    if (this.#doubt === null && this.#sub !== null) this.#listen();
    switch (frame["type"]) {
      case "welcome":
        if (typeof frame["ping_seconds"] === "number") this.#pingMs = frame["ping_seconds"] * 1000;
        return;
      case "subscribed":
        return this.#onSubscribed(frame);
      case "events":
        return this.#onEvents(frame);
      case "reset":
        if (frame["sub"] === this.#sub) this.#afresh();
        return;
      case "unsubscribed":
        if (frame["sub"] === this.#sub && this.#sub !== null) this.#onUnsubscribed(frame);
        return;
      case "error":
        return this.#onError(frame);
      case "pong":
        return this.#onPong(frame);
      case "reconnect":
        // The node drains: leave it when told to; the position resumes elsewhere.
        clearTimeout(this.#retry);
        this.#retry = setTimeout(() => this.#move(), Number(frame["after_ms"]) || 0);
        return;
      default:
        return; // unknown types are for newer clients
    }
  }

  #move(): void {
    this.#attempt = 0;
    this.#trouble = { code: 1012 };
    this.#startOutage();
    this.#open();
    this.#show();
  }

  #onSubscribed(frame: Frame): void {
    const asked = this.#asked;
    if (!asked || frame["id"] !== asked.id) return;
    this.#asked = null;
    this.#sub = String(frame["sub"]);
    if (asked.resume && frame["recovered"] === false) return this.#afresh();
    this.#position ??= String(frame["position"]);
    this.#connections++;
    this.#attempt = 0;
    this.#trouble = frame["declared"] === false ? { code: "undeclared" } : null;
    this.#outage = false;
    clearTimeout(this.#outageTimer);
    this.#outageTimer = undefined;
    this.#listen();
    this.#show();
  }

  #onEvents(frame: Frame): void {
    if (frame["channel"] !== this.#options.channel || this.#sub === null) return;
    const position = String(frame["position"]);
    if (typeof frame["prev"] === "string" && isBeyond(frame["prev"], this.#position)) {
      // A gap: never skip it in silence. Resuming from the old position fills it.
      return this.#lose({ code: "gap" });
    }
    if (position === this.#position || isBeyond(this.#position, position)) return;
    this.#position = position;
    const events = Array.isArray(frame["events"]) ? (frame["events"] as NotifiwsEvent[]) : [];
    if (events.length > 0 && this.#trouble?.code === "undeclared") {
      this.#trouble = null;
      this.#show();
    }
    for (const event of events) this.#options.onEvent(event);
  }

  #onUnsubscribed(frame: Frame): void {
    const forbidden = frame["reason"] === "forbidden";
    this.#lose({ code: forbidden ? "forbidden" : "unsubscribed" }, forbidden ? null : USUAL);
  }

  #onError(frame: Frame): void {
    const code = String(frame["code"]);
    const trouble: Trouble = { code, message: String(frame["message"] ?? "") };
    if (frame["id"] === undefined || frame["id"] !== this.#asked?.id) return this.#options.onError(trouble);
    if (code === "bad_position") return this.#afresh();
    this.#lose(trouble, HOPELESS.has(code) ? null : USUAL);
  }

  #onPong(frame: Frame): void {
    if (frame["id"] !== this.#doubt) return;
    this.#doubt = null;
    this.#listen();
    this.#show();
  }

  // ------------------------------------------------------------------ silence and status

  /** Something was heard: after `ping_seconds` without more a ping goes out, after as long again the socket is given up. */
  #listen(): void {
    this.#expect(this.#pingMs, () => {
      this.#send({ type: "ping" });
      this.#expect(this.#pingMs, () => this.#lose({ code: "silent" }));
    });
  }

  #expect(ms: number, otherwise: () => void): void {
    clearTimeout(this.#silence);
    this.#silence = setTimeout(otherwise, ms);
  }

  #status(): Status {
    if (this.#sub !== null && this.#asked === null && this.#doubt === null) return "live";
    const online = this.#options.isOnline?.() ?? true;
    return online && !this.#outage && !this.#ended ? "reconnecting" : "offline";
  }

  #show(): void {
    if (this.#closed) return;
    const state: State = {
      status: this.#status(),
      connections: this.#connections,
      trouble: this.#trouble,
      ended: this.#ended,
    };
    const shown = JSON.stringify(state);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#options.onState(state);
  }
}

function parseFrame(data: unknown): Frame | null {
  try {
    const frame: unknown = JSON.parse(String(data));
    return typeof frame === "object" && frame !== null && !Array.isArray(frame) ? (frame as Frame) : null;
  } catch {
    return null;
  }
}
