/** What the summary channel carries, read strictly; what is shown, written as in Spain. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { formatCount, formatMoney } from "../lib/format.ts";
import { byUrgency, parseSummary, severity } from "../lib/summary.ts";
import { explain } from "../lib/texts.ts";

const PAYLOAD = {
  sales_today: 12,
  revenue_today: "1234.50",
  latest: [{ id: 7, producto: "Té verde", tienda: "Gràcia", cantidad: 2, total: "4.90", creada: "2026-11-24T10:00:00+00:00" }],
  low_stock: [{ producto: "Arroz", tienda: "Triana", cantidad: 0, minimo: 5 }],
};

test("a summary is read whole or not at all", () => {
  const summary = parseSummary([PAYLOAD]);
  assert.deepEqual(summary?.latest, [
    { id: 7, at: "2026-11-24T10:00:00+00:00", store: "Gràcia", product: "Té verde", quantity: 2, total: "4.90" },
  ]);
  assert.deepEqual(summary?.low_stock, [{ product: "Arroz", store: "Triana", stock: 0, minimum: 5 }]);
  for (const wrong of [null, {}, "x", { ...PAYLOAD, sales_today: "12" }, { ...PAYLOAD, latest: [{ id: 7 }] }, { ...PAYLOAD, low_stock: {} }]) {
    assert.equal(parseSummary([wrong]), null);
  }
  for (const wrong of [null, PAYLOAD, [], [PAYLOAD, PAYLOAD]]) assert.equal(parseSummary(wrong), null);
});

test("the most urgent first", () => {
  const row = (stock: number, minimum: number) => ({ product: "p", store: "s", stock, minimum });
  assert.deepEqual([row(0, 5), row(2, 5), row(4, 5)].map(severity), ["out", "critical", "low"]);
  assert.deepEqual(
    byUrgency([row(4, 5), row(2, 5), row(0, 5), row(1, 5)]).map(({ stock }) => stock),
    [0, 1, 2, 4],
  );
});

test("numbers and money are Spanish, and exact beyond what a float holds", () => {
  assert.equal(formatCount(1234), "1.234");
  assert.equal(formatMoney("1234.5"), "1.234,50\u00a0€");
  assert.equal(formatMoney("12345678901234567890.12"), "12.345.678.901.234.567.890,12\u00a0€");
});

test("every trouble is said in words, an unknown one with its code", () => {
  assert.match(explain({ code: 1006 }), /No se puede llegar al servidor/);
  assert.match(explain({ code: "strange", message: "why" }), /strange.*why/);
});
