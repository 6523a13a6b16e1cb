import com.google.common.util.concurrent.FutureCallback;
import com.google.common.util.concurrent.Futures;
import com.google.common.util.concurrent.ListenableFuture;
import com.google.common.util.concurrent.MoreExecutors;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.function.Function;
import numcheck.v1.Check.CheckNumbersRequest;
import numcheck.v1.Check.CheckNumbersResponse;
import numcheck.v1.Number.NumberStatus;

/**
 * Gathers checks that are made at the same time into batches.
 *
 * <p>A batch is sent as soon as fewer than CALLS_MAX calls are under way; checks that come meanwhile are the next batch.
 * So a check alone is sent at once, and batches grow with the load.
 */
final class Batches {
  static final int CALLS_MAX = 4;
  static final int BATCH_SIZE_MAX = 10_000;

  /** What the node knows about a number; operator 0: none. */
  record Answer(NumberStatus status, int operatorId, long indexVersion) {}

  private record Asked(long number, CompletableFuture<Answer> answer) {}

  private final Function<CheckNumbersRequest, ListenableFuture<CheckNumbersResponse>> ask;
  private List<Asked> waiting = new ArrayList<>();
  private int calls;

  Batches(Function<CheckNumbersRequest, ListenableFuture<CheckNumbersResponse>> ask) {
    this.ask = ask;
  }

  /** Returns the answer about a number, which fails as its batch's call does. */
  CompletableFuture<Answer> check(long number) {
    var asked = new Asked(number, new CompletableFuture<>());
    synchronized (this) {
      waiting.add(asked);
    }
    sendWaiting();
    return asked.answer;
  }

  private void sendWaiting() {
    for (List<Asked> batch = next(); !batch.isEmpty(); batch = next()) {
      send(batch);
    }
  }

  /** Returns those whose call begins; none if nobody waits, or enough calls are under way. */
  private synchronized List<Asked> next() {
    if (waiting.isEmpty() || calls == CALLS_MAX) {
      return List.of();
    }
    calls++;
    int size = Math.min(waiting.size(), BATCH_SIZE_MAX);
    List<Asked> batch = List.copyOf(waiting.subList(0, size));
    waiting = new ArrayList<>(waiting.subList(size, waiting.size()));
    return batch;
  }

  private void send(List<Asked> batch) {
    var request = CheckNumbersRequest.newBuilder();
    batch.forEach(one -> request.addNumbers(one.number));
    Futures.addCallback(
        ask.apply(request.build()),
        new FutureCallback<>() {
          @Override
          public void onSuccess(CheckNumbersResponse answer) {
            end(batch, answer);
          }

          @Override
          public void onFailure(Throwable error) {
            fail(batch, error);
          }
        },
        MoreExecutors.directExecutor());
  }

  private void end(List<Asked> batch, CheckNumbersResponse answer) {
    if (answer.getStatusesCount() != batch.size() || answer.getOperatorIdsCount() != batch.size()) {
      fail(batch, new IllegalStateException("the node answered about another count of numbers than it was asked"));
      return;
    }
    over();
    for (int place = 0; place < batch.size(); place++) {
      batch.get(place).answer.complete(
          new Answer(answer.getStatuses(place), answer.getOperatorIds(place), answer.getIndexVersion()));
    }
  }

  private void fail(List<Asked> batch, Throwable error) {
    over();
    batch.forEach(one -> one.answer.completeExceptionally(error));
  }

  private void over() {
    synchronized (this) {
      calls--;
    }
    sendWaiting();
  }
}
