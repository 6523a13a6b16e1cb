/** Failures of calls, by the reason that the node gave, if it gave one. */

import { type ServiceError, status } from "@grpc/grpc-js";

import { ErrorInfo, RetryInfo } from "./v1/google/rpc/error_details.js";
import { Status } from "./v1/google/rpc/status.js";

const DETAILS = "grpc-status-details-bin";
const TYPES = "type.googleapis.com/google.rpc.";

/** A call that failed. */
export class CallFailed extends Error {
  override readonly name = "CallFailed";

  private constructor(
    message: string,
    /** The status of gRPC. */
    readonly code: status,
    /** The node's own reason, as docs/errors.md has it; undefined if the call reached no node. */
    readonly reason: string | undefined,
    /** What a program needs to go on. */
    readonly metadata: Readonly<Record<string, string>>,
    /** Milliseconds to wait before asking again, if the node said so. */
    readonly retryDelayMs: number | undefined,
  ) {
    super(message);
  }

  /** True if repeating this very call can help: the node is away, not ready, or has too many calls. */
  get canPass(): boolean {
    const crowded = this.code === status.RESOURCE_EXHAUSTED && this.retryDelayMs !== undefined;
    return crowded || this.code === status.UNAVAILABLE;
  }

  static of(error: ServiceError): CallFailed {
    const [bytes] = error.metadata?.get(DETAILS) ?? [];
    const details = bytes instanceof Buffer ? Status.decode(bytes).details : [];
    const detail = (name: string) => details.find((one) => one.typeUrl === TYPES + name)?.value;
    const info = detail("ErrorInfo");
    const retry = detail("RetryInfo");
    const { reason, metadata } = info === undefined ? { reason: undefined, metadata: {} } : ErrorInfo.decode(info);
    const delay = retry === undefined ? undefined : RetryInfo.decode(retry).retryDelay;
    const words = `${reason ?? status[error.code]}: ${error.details}`;
    const delayMs = delay === undefined ? undefined : 1000 * delay.seconds + delay.nanos / 1e6;
    return new CallFailed(words, error.code, reason, metadata, delayMs);
  }
}
