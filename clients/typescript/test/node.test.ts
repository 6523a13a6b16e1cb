/** A real node, at NUMCHECK_ADDRESS, which tests/client/test_typescript.py starts. */

import assert from "node:assert/strict";
import { after, test } from "node:test";

import { credentials } from "@grpc/grpc-js";

import { call, CallFailed, CHANNEL_OPTIONS, CheckClient, NumberStatus } from "../src/index.js";
import { RegistrationServiceClient } from "../src/v1/numcheck/v1/registration.js";

const { NUMCHECK_ADDRESS: address = "", ACTIVE = "", INACTIVE = "" } = process.env;
const client = new CheckClient(address);
after(() => client.close());

const failure = async (asked: Promise<unknown>): Promise<CallFailed> => {
  const error = await asked.then(() => undefined, (reason: unknown) => reason);
  assert.ok(error instanceof CallFailed);
  return error;
};

test("each check gets its own answer", async () => {
  const numbers = Array.from({ length: 3000 }, (_, place) => [Number(ACTIVE), Number(INACTIVE), 1][place % 3]!);
  const right = [NumberStatus.ACTIVE, NumberStatus.INACTIVE, NumberStatus.INVALID];
  const answers = await Promise.all(numbers.map((number) => client.check(number)));
  assert.deepEqual(answers.map((one) => one.status), numbers.map((_, place) => right[place % 3]));
});

test("a text is read by the node, and operators are listed", async () => {
  const answer = await client.checkNumber(`+${ACTIVE}`);
  assert.deepEqual([answer.status, answer.number], [NumberStatus.ACTIVE, Number(ACTIVE)]);
  const operators = await client.listOperators();
  assert.ok(operators.some((one) => one.operatorId === answer.servingOperator?.operatorId));
});

test("a refusal has the node's reason, and absence has none", async () => {
  const refused = await failure(client.checkNumber("no number"));
  assert.deepEqual([refused.reason, refused.canPass], ["NOT_A_NUMBER", false]);
  const behind = await failure(client.check(Number(ACTIVE), 1_000_000));
  assert.deepEqual([behind.reason, behind.canPass], ["INDEX_BEHIND", true]);
  assert.ok((behind.retryDelayMs ?? 0) > 0);
  const nobody = new CheckClient("127.0.0.1:1");
  const away = await failure(nobody.check(1));
  assert.deepEqual([away.reason, away.canPass], [undefined, true]);
  nobody.close();
});

test("every other service is there by its generated client", async () => {
  const registrations = new RegistrationServiceClient(address, credentials.createInsecure(), CHANNEL_OPTIONS);
  const request = { service: "typescript", userId: "nobody" };
  const refused = await failure(call((callback) => registrations.getRegistration(request, callback)));
  assert.equal(refused.reason, "UNKNOWN_REGISTRATION");
  registrations.close();
});
