/** Reading a stream, and waiting after faults. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff } from "../client/dist/backoff.js";
import { EventReader } from "../client/dist/events.js";

const TEXT = ": a remark\nretry: 1500\nid: e-1\nevent: hello\ndata: {\"a\":\ndata: 1}\n\nevent: beat\r\ndata:x\r\n\r\nevent: empty\n\n";

test("events read the same however the text is cut into pieces", () => {
  for (let size = 1; size <= TEXT.length; size++) {
    const reader = new EventReader();
    const found = [];
    for (let at = 0; at < TEXT.length; at += size) found.push(...reader.read(TEXT.slice(at, at + size)));
    assert.deepEqual(found, [{ name: "hello", data: '{"a":\n1}' }, { name: "beat", data: "x" }]);
    assert.equal(reader.id, "e-1");
    assert.equal(reader.retryMs, 1_500);
  }
});

test("a line without an end is not kept for ever", () => {
  const reader = new EventReader();
  assert.throws(() => {
    for (let n = 0; n < 100; n++) reader.read("x".repeat(1_000_000));
  }, /no end/);
});

test("waits grow and are spread, and what the server asks for comes on top", () => {
  const backoff = new Backoff();
  backoff.firstMs = 100;
  const longest = Array.from({ length: 12 }, (_, failures) => Math.min(30_000, 100 * 2 ** Math.min(failures, 10)));
  const waits = longest.map(() => backoff.waitMs());
  waits.forEach((wait, n) => assert.ok(wait > 0 && wait <= longest[n]!, `${n}: ${wait}`));
  assert.ok(new Set(waits).size > 10);
  backoff.succeeded();
  const asked = backoff.waitMs(5_000);
  assert.ok(asked > 5_000 && asked <= 5_100);
});
