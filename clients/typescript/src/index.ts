/** A client of numcheck for Node.js. */

import { type ChannelCredentials, credentials, Metadata, type ServiceError } from "@grpc/grpc-js";

import { Batches, type Checked, type CheckedNumber } from "./batching.js";
import { CallFailed } from "./failures.js";
import { type CheckNumberResponse, CheckServiceClient } from "./v1/numcheck/v1/check.js";
import { NumberStatus, type Operator } from "./v1/numcheck/v1/number.js";

export { type Checked, type CheckedNumber, CallFailed, NumberStatus };

const CHECKS_AGAIN = {
  name: ["CheckNumber", "CheckNumbers", "CheckRecycled", "ListOperators"].map((method) => ({
    service: "numcheck.v1.CheckService",
    method,
  })),
  retryPolicy: {
    maxAttempts: 3,
    initialBackoff: "0.05s",
    maxBackoff: "1s",
    backoffMultiplier: 4,
    retryableStatusCodes: ["UNAVAILABLE"],
  },
};

/** How a channel to nodes behaves: they are asked in turn, and a check that met one which is away is made again. */
export const CHANNEL_OPTIONS = {
  "grpc.enable_http_proxy": 0,
  "grpc.keepalive_time_ms": 60_000,
  "grpc.keepalive_timeout_ms": 20_000,
  "grpc.max_reconnect_backoff_ms": 5_000,
  "grpc.service_config": JSON.stringify({ loadBalancingConfig: [{ round_robin: {} }], methodConfig: [CHECKS_AGAIN] }),
};

type Callback<Response> = (error: ServiceError | null, response: Response) => void;

/** Makes a unary call of a generated client; rejects with CallFailed. */
export function call<Response>(make: (callback: Callback<Response>) => void): Promise<Response> {
  return new Promise((resolve, reject) => {
    make((error, response) => (error === null ? resolve(response) : reject(CallFailed.of(error))));
  });
}

/** Asks one node, or several in turn. Its methods reject with CallFailed. */
export class CheckClient {
  private readonly client: CheckServiceClient;
  private readonly batches = new Batches((numbers, minIndexVersion) => this.checkNumbers(numbers, minIndexVersion));

  /** `target` is host:port, or dns:///host:port if the name has several addresses; nothing is connected yet. */
  constructor(
    target: string,
    channelCredentials: ChannelCredentials = credentials.createInsecure(),
    private readonly deadlineMs = 10_000,
  ) {
    this.client = new CheckServiceClient(target, channelCredentials, CHANNEL_OPTIONS);
  }

  /** Returns the status of one number in digits, such as 79161234567; checks at the same time share a call. */
  check(number: number, minIndexVersion = 0): Promise<CheckedNumber> {
    return this.batches.check(number, minIndexVersion);
  }

  /** Returns the answer to one batch, of up to 65,536 numbers unless the node is set up otherwise. */
  checkNumbers(numbers: number[], minIndexVersion = 0): Promise<Checked> {
    const request = { numbers, minIndexVersion, requestId: 0 };
    return call((callback) => this.client.checkNumbers(request, new Metadata(), this.deadline(), callback));
  }

  /** Asks for one number, as a person writes it, with everything that the node knows of it. */
  checkNumber(number: string): Promise<CheckNumberResponse> {
    return call((callback) => this.client.checkNumber({ number }, new Metadata(), this.deadline(), callback));
  }

  /** Returns every operator of the installation. */
  async listOperators(): Promise<Operator[]> {
    const response = await call<{ operators: Operator[] }>((callback) =>
      this.client.listOperators({}, new Metadata(), this.deadline(), callback),
    );
    return response.operators;
  }

  /** Closes the connections; calls under way end by themselves. */
  close(): void {
    this.client.close();
  }

  private deadline(): { deadline: number } {
    return { deadline: Date.now() + this.deadlineMs };
  }
}
