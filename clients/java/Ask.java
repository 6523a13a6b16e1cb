import com.google.rpc.ErrorInfo;
import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import io.grpc.TlsChannelCredentials;
import io.grpc.protobuf.StatusProto;
import java.io.File;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import numcheck.v1.Check.CheckNumberRequest;
import numcheck.v1.CheckServiceGrpc;

/**
 * Asks a node about numbers, as many at the same time as there are.
 *
 * <p>Ask [--tls AUTHORITY CERTIFICATE KEY] TARGET NUMBER...
 */
final class Ask {
  static final long DEADLINE_S = 5;

  /** A check that met a node which is away is repeated, by another. */
  static final Map<String, ?> SERVICE_CONFIG = Map.of("methodConfig", List.of(Map.of(
      "name", List.of(Map.of("service", "numcheck.v1.CheckService")),
      "retryPolicy", Map.of(
          "maxAttempts", 3.0, "initialBackoff", "0.05s", "maxBackoff", "1s", "backoffMultiplier", 4.0,
          "retryableStatusCodes", List.of("UNAVAILABLE")))));

  public static void main(String[] arguments) throws Exception {
    List<String> given = Arrays.asList(arguments);
    var credentials = InsecureChannelCredentials.create();
    if (given.get(0).equals("--tls")) {
      credentials = TlsChannelCredentials.newBuilder()
          .trustManager(new File(given.get(1)))
          .keyManager(new File(given.get(2)), new File(given.get(3)))
          .build();
      given = given.subList(4, given.size());
    }
    ManagedChannel channel = Grpc.newChannelBuilder(given.get(0), credentials)
        .defaultLoadBalancingPolicy("round_robin")
        .defaultServiceConfig(SERVICE_CONFIG)
        .enableRetry()
        .build();
    try {
      askTogether(channel, given.subList(1, given.size()));
      askText(channel, "no number");
    } finally {
      channel.shutdownNow().awaitTermination(DEADLINE_S, TimeUnit.SECONDS);
    }
  }

  /** Prints the status of each number; those that are asked at the same time share calls. */
  private static void askTogether(ManagedChannel channel, List<String> numbers) {
    var service = CheckServiceGrpc.newFutureStub(channel);
    var batches = new Batches(
        request -> service.withDeadlineAfter(DEADLINE_S, TimeUnit.SECONDS).checkNumbers(request));
    var answers = numbers.stream().map(number -> batches.check(Long.parseLong(number))).toList();
    answers.forEach(one -> System.out.println(one.join().status() + " " + one.join().operatorId()));
  }

  /** Prints the node's reason to refuse a text. */
  private static void askText(ManagedChannel channel, String text) throws Exception {
    var service = CheckServiceGrpc.newBlockingStub(channel).withDeadlineAfter(DEADLINE_S, TimeUnit.SECONDS);
    try {
      service.checkNumber(CheckNumberRequest.newBuilder().setNumber(text).build());
    } catch (StatusRuntimeException error) {
      for (var detail : StatusProto.fromThrowable(error).getDetailsList()) {
        if (detail.is(ErrorInfo.class)) {
          System.out.println(error.getStatus().getCode() + " " + detail.unpack(ErrorInfo.class).getReason());
        }
      }
    }
  }

  private Ask() {}
}
