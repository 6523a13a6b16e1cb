// What a gRPC C++ server costs: one generic callback service that reads a message and answers it. grpc_server.pyx gives
// it the kernel, or none, and then every answer is empty.
#pragma once

#include <grpc/slice.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>

#include <csignal>
#include <cstdint>
#include <memory>
#include <string>

// Of a request: the room that its answer takes, or 0 to refuse it; then the answer, whose size is returned.
using AnswerSizeMax = size_t (*)(const void* view, const uint8_t* request, size_t size);
using WriteAnswer = size_t (*)(const void* view, const uint8_t* request, size_t size, uint8_t* at);

struct Kernel {
  const void* view = nullptr;
  AnswerSizeMax answer_size_max = nullptr;
  WriteAnswer write_answer = nullptr;

  bool Answer(const grpc::ByteBuffer& request, grpc::ByteBuffer* response) const {
    if (view == nullptr) {
      *response = grpc::ByteBuffer(nullptr, 0);
      return true;
    }
    grpc::Slice whole;
    if (!request.DumpToSingleSlice(&whole).ok()) return false;
    const size_t room = answer_size_max(view, whole.begin(), whole.size());
    if (room == 0) return false;
    grpc_slice answer = grpc_slice_malloc(room);
    const size_t size = write_answer(view, whole.begin(), whole.size(), GRPC_SLICE_START_PTR(answer));
    grpc::Slice written(grpc_slice_sub_no_ref(answer, 0, size), grpc::Slice::STEAL_REF);
    *response = grpc::ByteBuffer(&written, 1);
    return true;
  }
};

class Call : public grpc::ServerGenericBidiReactor {
 public:
  explicit Call(const Kernel& kernel) : kernel_(kernel) { StartRead(&request_); }

  void OnReadDone(bool ok) override {
    if (ok && kernel_.Answer(request_, &response_)) {
      StartWriteAndFinish(&response_, grpc::WriteOptions(), grpc::Status::OK);
    } else {
      Finish(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "no answer"));
    }
  }

  void OnDone() override { delete this; }

 private:
  const Kernel& kernel_;
  grpc::ByteBuffer request_, response_;
};

class Service : public grpc::CallbackGenericService {
 public:
  explicit Service(const Kernel& kernel) : kernel_(kernel) {}

  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext*) override {
    return new Call(kernel_);
  }

 private:
  const Kernel kernel_;
};

// Without a certificate in plaintext.
inline std::shared_ptr<grpc::ServerCredentials> CredentialsOf(const std::string& certificate, const std::string& key,
                                                              const std::string& authority) {
  if (certificate.empty()) return grpc::InsecureServerCredentials();
  grpc::SslServerCredentialsOptions options(GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY);
  options.pem_root_certs = authority;
  options.pem_key_cert_pairs.push_back({key, certificate});
  return grpc::SslServerCredentials(options);
}

// Serve until SIGTERM; false if the address cannot be listened on.
inline bool Serve(const std::string& address, const Kernel& kernel, const std::string& certificate,
                  const std::string& key, const std::string& authority) {
  sigset_t ending;
  sigemptyset(&ending);
  sigaddset(&ending, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &ending, nullptr);
  Service service(kernel);
  grpc::ServerBuilder builder;
  builder.AddListeningPort(address, CredentialsOf(certificate, key, authority));
  builder.RegisterCallbackGenericService(&service);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (server == nullptr) return false;
  int received;
  sigwait(&ending, &received);
  server->Shutdown(std::chrono::system_clock::now());
  return true;
}
