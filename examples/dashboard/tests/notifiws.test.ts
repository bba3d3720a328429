/** The subscription against a scripted socket and a clock that the test turns. */
import assert from "node:assert/strict";
import { beforeEach, mock, test } from "node:test";
import { fullJitter } from "../lib/backoff.ts";
import { Subscription, type NotifiwsEvent, type Options, type Socket, type State, type Trouble } from "../lib/notifiws.ts";
import { isBeyond } from "../lib/position.ts";

class FakeSocket implements Socket {
  onopen: Socket["onopen"] = null;
  onmessage: Socket["onmessage"] = null;
  onclose: Socket["onclose"] = null;
  readyState: Socket["readyState"] = 0;
  closed = false;
  sent: Record<string, unknown>[] = [];

  send(text: string): void {
    this.sent.push(JSON.parse(text) as Record<string, unknown>);
  }
  close(): void {
    this.closed = true;
    this.readyState = 3;
  }
  /** What the server does. */
  open(): void {
    this.readyState = 1;
    this.onopen?.call(this as unknown as WebSocket, {} as Event);
  }
  says(frame: unknown): void {
    const data = typeof frame === "string" ? frame : JSON.stringify(frame);
    this.onmessage?.call(this as unknown as WebSocket, { data } as MessageEvent);
  }
  ends(code: number): void {
    this.readyState = 3;
    this.onclose?.call(this as unknown as WebSocket, { code } as CloseEvent);
  }
  last(): Record<string, unknown> {
    const frame = this.sent.at(-1);
    assert.ok(frame, "nothing was sent");
    return frame;
  }
}

class World {
  sockets: FakeSocket[] = [];
  events: NotifiwsEvent[] = [];
  errors: Trouble[] = [];
  state: State | undefined;
  online = true;
  readonly subscription: Subscription;

  constructor(options: Partial<Options> = {}) {
    this.subscription = new Subscription({
      url: "ws://test/ws",
      channel: "summary",
      rewind: 1,
      random: () => 1,
      isOnline: () => this.online,
      socket: (url, protocol) => {
        assert.equal(`${url} ${protocol}`, "ws://test/ws notifiws.v1");
        this.sockets.push(new FakeSocket());
        return this.socket;
      },
      onEvent: (event) => this.events.push(event),
      onState: (state) => (this.state = state),
      onError: (trouble) => this.errors.push(trouble),
      ...options,
    });
  }

  get socket(): FakeSocket {
    const socket = this.sockets.at(-1);
    assert.ok(socket, "no socket was opened");
    return socket;
  }

  /** Brings the newest socket to live. */
  live(extra: Record<string, unknown> = {}, position = "e:1-1"): this {
    this.socket.open();
    this.socket.says({ type: "welcome", ping_seconds: 20 });
    const id = this.socket.last()["id"];
    this.socket.says({ type: "subscribed", id, sub: "s", channel: "summary", position, head: position, ...extra });
    return this;
  }

  emits(prev: string | null, position: string, ...payloads: unknown[]): this {
    const events = payloads.map((payload, id) => ({ id, op: "emit", at: "2026-11-24T10:00:00Z", payload }));
    this.socket.says({ type: "events", channel: "summary", prev, position, events });
    return this;
  }

  get payloads(): unknown[] {
    return this.events.map(({ payload }) => payload);
  }
}

beforeEach(() => {
  mock.timers.reset();
  mock.timers.enable({ apis: ["setTimeout"] });
});

test("subscribes with rewind and is live only once that is confirmed", () => {
  const world = new World();
  world.socket.open();
  assert.deepEqual(world.socket.sent, [{ type: "subscribe", channel: "summary", rewind: 1, id: 1 }]);
  world.socket.says({ type: "welcome", ping_seconds: 20 });
  assert.notEqual(world.state?.status, "live");
  world.live();
  assert.equal(world.state?.status, "live");
  assert.deepEqual(world.emits("e:1-1", "e:2-2", "a", "b").payloads, ["a", "b"]);
});

test("resumes from its position after a loss, and a repeated frame changes nothing", () => {
  const world = new World().live().emits("e:1-1", "e:2-2", "a");
  world.socket.ends(1006);
  assert.equal(world.state?.status, "reconnecting");
  assert.equal(world.state?.trouble?.code, 1006);
  mock.timers.tick(300);
  assert.equal(world.sockets.length, 2);
  world.live({ recovered: true }, "e:2-2");
  assert.equal(world.socket.sent[0]?.["since"], "e:2-2");
  world.emits("e:1-1", "e:2-2", "a").emits("e:2-2", "e:3-9", "b");
  assert.deepEqual(world.payloads, ["a", "b"]);
  assert.deepEqual([world.state?.status, world.state?.trouble, world.state?.connections], ["live", null, 2]);
});

test("a position that cannot be resumed is dropped for the newest state", () => {
  const world = new World().live();
  world.socket.ends(1012);
  mock.timers.tick(300);
  world.live({ recovered: false, reason: "epoch" }, "new:7-7");
  assert.notEqual(world.state?.status, "live");
  const [, unsubscribe, subscribe] = world.socket.sent;
  assert.deepEqual([unsubscribe?.["type"], unsubscribe?.["sub"]], ["unsubscribe", "s"]);
  assert.deepEqual([subscribe?.["rewind"], subscribe?.["since"]], [1, undefined]);
  world.socket.says({ type: "subscribed", id: subscribe?.["id"], sub: "s", channel: "summary", position: "new:6-6" });
  assert.equal(world.state?.status, "live");
  assert.deepEqual(world.emits("new:6-6", "new:7-7", "fresh").payloads, ["fresh"]);
});

test("a reset and a refused position both start afresh", () => {
  const world = new World().live();
  world.socket.says({ type: "reset", sub: "s", channel: "summary", reason: "epoch", position: "n:1-1" });
  assert.equal(world.socket.last()["rewind"], 1);
  const refused = new World().live();
  refused.socket.ends(1006);
  mock.timers.tick(300);
  refused.socket.open();
  refused.socket.says({ type: "error", id: refused.socket.last()["id"], code: "bad_position", message: "no" });
  assert.equal(refused.socket.last()["rewind"], 1);
});

test("a gap is never skipped: it resumes from before it", () => {
  const world = new World().live().emits("e:5-5", "e:6-6", "later");
  assert.deepEqual(world.payloads, []);
  assert.equal(world.state?.trouble?.code, "gap");
  mock.timers.tick(300);
  world.socket.open();
  assert.equal(world.socket.last()["since"], "e:1-1");
});

test("silence: ping after ping_seconds, reconnect after as long again", () => {
  const world = new World().live();
  mock.timers.tick(20_000);
  assert.equal(world.socket.last()["type"], "ping");
  world.socket.says({ type: "pong", id: world.socket.last()["id"] });
  mock.timers.tick(20_000);
  assert.equal(world.socket.last()["type"], "ping");
  assert.equal(world.state?.status, "live");
  mock.timers.tick(20_000);
  assert.equal(world.state?.status, "reconnecting");
  assert.equal(world.sockets[0]?.closed, true);
});

test("offline until a fresh ping is answered, whatever held frames arrive", () => {
  const world = new World().live();
  world.online = false;
  world.subscription.suspect();
  assert.equal(world.state?.status, "offline");
  world.online = true;
  world.subscription.suspect();
  assert.equal(world.state?.status, "reconnecting");
  world.emits("e:1-1", "e:2-2", "held back");
  assert.deepEqual([world.payloads, world.state?.status], [["held back"], "reconnecting"]);
  world.socket.says({ type: "pong", id: world.socket.last()["id"] });
  assert.equal(world.state?.status, "live");
});

test("an unanswered doubt ends the socket; back online tries at once", () => {
  const world = new World().live();
  world.online = false;
  world.subscription.suspect();
  mock.timers.tick(4_000);
  assert.equal(world.sockets[0]?.closed, true);
  world.online = true;
  world.subscription.suspect();
  assert.equal(world.sockets.length, 2);
});

test("says offline after a long outage, and live again when it is over", () => {
  const world = new World({ random: () => 0.01 }).live();
  world.socket.ends(1006);
  mock.timers.tick(14_999);
  assert.equal(world.state?.status, "reconnecting");
  mock.timers.tick(1);
  assert.equal(world.state?.status, "offline");
  world.live({ recovered: true });
  assert.equal(world.state?.status, "live");
});

test("leaves a draining node when told to, without a wait", () => {
  const world = new World().live();
  world.socket.says({ type: "reconnect", after_ms: 1500 });
  mock.timers.tick(1499);
  assert.deepEqual([world.sockets.length, world.state?.status], [1, "live"]);
  mock.timers.tick(1);
  assert.deepEqual([world.sockets.length, world.sockets[0]?.closed], [2, true]);
});

test("close codes: forbidden ends it, a limit waits long, the rest come back", () => {
  const forbidden = new World().live();
  forbidden.socket.ends(4403);
  mock.timers.tick(600_000);
  assert.deepEqual([forbidden.sockets.length, forbidden.state?.ended, forbidden.state?.status], [1, true, "offline"]);
  const limited = new World();
  limited.socket.open();
  limited.socket.ends(4429);
  mock.timers.tick(4_999);
  assert.equal(limited.sockets.length, 1);
  mock.timers.tick(1);
  assert.equal(limited.sockets.length, 2);
});

test("errors: of the subscription they end or repeat it, others are only told", () => {
  const world = new World();
  world.socket.open();
  world.socket.says({ type: "error", id: 1, code: "unavailable", message: "Redis away" });
  assert.deepEqual(world.state?.trouble, { code: "unavailable", message: "Redis away" });
  mock.timers.tick(300);
  assert.equal(world.sockets.length, 2);
  world.live();
  world.socket.says({ type: "error", code: "rate_limited", message: "slow down" });
  world.socket.says("{not json");
  world.socket.says({ type: "a later invention" });
  assert.deepEqual(
    world.errors.map(({ code }) => code),
    ["rate_limited", "unreadable"],
  );
  assert.equal(world.state?.status, "live");
});

test("a handshake that never ends is given up, and waits grow to their cap", () => {
  const world = new World();
  for (const wait of [300, 600, 1200]) {
    mock.timers.tick(10_000);
    const before = world.sockets.length;
    mock.timers.tick(wait - 1);
    assert.equal(world.sockets.length, before);
    mock.timers.tick(1);
    assert.equal(world.sockets.length, before + 1);
  }
  assert.equal(fullJitter(99, undefined, () => 1), 10_000);
  assert.equal(fullJitter(3, undefined, () => 0), 0);
});

test("closed means closed", () => {
  const world = new World().live();
  const { state } = world;
  world.subscription.close();
  mock.timers.tick(600_000);
  assert.deepEqual([world.sockets.length, world.socket.closed, world.state], [1, true, state]);
});

test("positions order by tick, then event, as integers, and never across epochs", () => {
  assert.ok(isBeyond("e:10-1", "e:9-99999999999999999999"));
  assert.ok(isBeyond("e:9-10", "e:9-9"));
  assert.ok(!isBeyond("e:9-9", "e:9-9"));
  assert.ok(!isBeyond("f:9-9", "e:1-1"));
});
