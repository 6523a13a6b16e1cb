/**
 * Gathers checks that are made at the same time into batches.
 *
 * A batch is sent as soon as fewer than CALLS_MAX calls are under way; checks that come meanwhile are the next batch. So
 * a check alone is sent at once, batches grow with the load by themselves, and there is no pause to choose.
 */

import { NumberStatus } from "./v1/numcheck/v1/number.js";

export const CALLS_MAX = 4;
export const BATCH_SIZE_MAX = 10_000;

/** The answer to a batch: a status and an operator's id (0: none) for each number, in its order. */
export interface Checked {
  statuses: NumberStatus[];
  operatorIds: number[];
  indexVersion: number;
}

/** The answer about one number: its status, its serving operator's id (0: none), and the index's version. */
export interface CheckedNumber {
  status: NumberStatus;
  operatorId: number;
  indexVersion: number;
}

interface Asked {
  number: number;
  minIndexVersion: number;
  resolve(answer: CheckedNumber): void;
  reject(error: unknown): void;
}

export class Batches {
  private waiting: Asked[] = [];
  private callCount = 0;
  private isDue = false;

  /** `ask` makes a call: of these numbers, with this minimal index version. */
  constructor(private readonly ask: (numbers: number[], minIndexVersion: number) => Promise<Checked>) {}

  /** Returns the answer about a number; rejects with the error of its batch's call. */
  check(number: number, minIndexVersion: number): Promise<CheckedNumber> {
    return new Promise((resolve, reject) => {
      this.waiting.push({ number, minIndexVersion, resolve, reject });
      if (!this.isDue && this.callCount < CALLS_MAX) {
        this.isDue = true;
        setImmediate(() => this.sendWaiting()); // once what runs now has asked as well
      }
    });
  }

  private sendWaiting(): void {
    this.isDue = false;
    while (this.waiting.length > 0 && this.callCount < CALLS_MAX) {
      const batch = this.waiting.splice(0, BATCH_SIZE_MAX);
      this.callCount += 1;
      void this.makeCall(batch).finally(() => {
        this.callCount -= 1;
        this.sendWaiting();
      });
    }
  }

  private async makeCall(batch: Asked[]): Promise<void> {
    try {
      const minIndexVersion = batch.reduce((most, one) => Math.max(most, one.minIndexVersion), 0);
      const { statuses, operatorIds, indexVersion } = await this.ask(batch.map((one) => one.number), minIndexVersion);
      if (statuses.length !== batch.length || operatorIds.length !== batch.length) {
        throw new Error("the node answered about another count of numbers than it was asked");
      }
      batch.forEach((one, place) =>
        one.resolve({ status: statuses[place]!, operatorId: operatorIds[place]!, indexVersion }),
      );
    } catch (error) {
      batch.forEach((one) => one.reject(error));
    }
  }
}
