/** Batches, beside a node that answers when it is told to. */

import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import { test } from "node:test";

import { Batches, BATCH_SIZE_MAX, CALLS_MAX, type Checked } from "../src/batching.js";

class Node {
  readonly calls: { numbers: number[]; minIndexVersion: number; end(error?: Error): void }[] = [];

  ask = (numbers: number[], minIndexVersion: number): Promise<Checked> =>
    new Promise((resolve, reject) => {
      const answer = { statuses: numbers.map(() => 4), operatorIds: numbers, indexVersion: 5 };
      const end = (error?: Error) => (error === undefined ? resolve(answer) : reject(error));
      this.calls.push({ numbers, minIndexVersion, end });
    });
}

test("a check alone is sent at once, and those behind it together", async () => {
  const node = new Node();
  const batches = new Batches(node.ask);
  const first = batches.check(0, 0);
  await turn();
  const others = [1, 2, 3].map((number) => batches.check(number, number));
  await turn();
  assert.deepEqual(node.calls.map((one) => [one.numbers, one.minIndexVersion]), [[[0], 0], [[1, 2, 3], 3]]);
  node.calls[1]!.end();
  assert.deepEqual((await Promise.all(others)).map((one) => one.operatorId), [1, 2, 3]);
  node.calls[0]!.end();
  assert.deepEqual(await first, { status: 4, operatorId: 0, indexVersion: 5 });
});

test("no more calls are under way than may be, and no batch is larger", async () => {
  const node = new Node();
  const batches = new Batches(node.ask);
  const answers = [];
  for (let number = 0; number < CALLS_MAX; number++) {
    answers.push(batches.check(number, 0));
    await turn();
  }
  for (let number = 0; number < BATCH_SIZE_MAX + 10; number++) {
    answers.push(batches.check(number, 0));
  }
  await turn();
  assert.equal(node.calls.length, CALLS_MAX);
  node.calls[0]!.end();
  node.calls[1]!.end();
  await turn();
  assert.deepEqual(node.calls.slice(CALLS_MAX).map((one) => one.numbers.length), [BATCH_SIZE_MAX, 10]);
  node.calls.slice(2).forEach((one) => one.end());
  assert.equal((await Promise.all(answers)).length, CALLS_MAX + BATCH_SIZE_MAX + 10);
});

test("a batch that fails fails its own checks alone", async () => {
  const node = new Node();
  const batches = new Batches(node.ask);
  const failing = batches.check(1, 0);
  await turn();
  const other = batches.check(2, 0);
  await turn();
  node.calls[0]!.end(new Error("gone"));
  node.calls[1]!.end();
  await assert.rejects(failing, /gone/);
  assert.equal((await other).operatorId, 2);
});

test("an answer about another count of numbers is nobody's", async () => {
  const batches = new Batches(async () => ({ statuses: [4], operatorIds: [7], indexVersion: 5 }));
  const asked = await Promise.allSettled([batches.check(1, 0), batches.check(2, 0)]);
  assert.deepEqual(asked.map((one) => one.status), ["rejected", "rejected"]);
});
