// SPDX-License-Identifier: Apache-2.0

#include "gate/http_server.h"

// The one unit that includes Boost.Beast, which takes long to compile.
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

#include "common/log.h"

namespace silurus::gate {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using tcp = asio::ip::tcp;
using ErrorOfBoost = boost::system::error_code;

constexpr std::chrono::milliseconds kPauseOfAccept{100};
constexpr const char* kServerName = "silurus-gate";

/// The threads that make answers, each with a source of its own.
class Workers {
 public:
  using Job = std::function<void(Source&)>;

  Workers(std::size_t threads, const SourceFactory& make_source) {
    for (std::size_t i = 0; i < threads; ++i) {
      threads_.emplace_back([this, make_source] { run(make_source()); });
    }
  }
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;
  ~Workers() {
    {
      const std::lock_guard lock(mutex_);
      is_stopping_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void post(Job job) {
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back(std::move(job));
    }
    changed_.notify_one();
  }

 private:
  void run(std::unique_ptr<Source> source) {
    for (;;) {
      Job job;
      {
        std::unique_lock lock(mutex_);
        changed_.wait(lock, [this] { return is_stopping_ || !jobs_.empty(); });
        if (is_stopping_) return;
        job = std::move(jobs_.front());
        jobs_.pop_front();
      }
      job(*source);
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;  ///< one of each connection at most
  bool is_stopping_ = false;
  std::vector<std::thread> threads_;
};

/// What all connections share.
struct Shared {
  const HttpOptions& options;
  HttpCounters& counters;
  const HttpServer::Answer& answer;
  Workers* workers = nullptr;
};

/// One client. The thread of the server calls all of it but for what is posted to the workers,
/// which touch `making_` alone, while nothing else is under way.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(tcp::socket socket, Shared& shared) : stream_(std::move(socket)), shared_(shared) {
    shared_.counters.open.fetch_add(1, std::memory_order_relaxed);  // a figure for people
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() {
    shared_.counters.open.fetch_sub(1, std::memory_order_relaxed);  // a figure for people
  }

  void read() {
    parser_.emplace();
    parser_->header_limit(kMaxHeaderBytes);
    parser_->body_limit(kMaxBodyBytes);
    stream_.expires_after(std::chrono::nanoseconds(shared_.options.request_time));
    http::async_read(
        stream_, buffer_, *parser_,
        [self = shared_from_this()](ErrorOfBoost error, std::size_t) { self->on_read(error); });
  }

 private:
  /// An answer and the part of its body that is to be sent next.
  struct Making {
    HttpAnswer answer;
    std::string piece;
    bool is_last = false;
    bool has_failed = false;
  };

  void on_read(ErrorOfBoost error) {
    if (error == http::error::end_of_stream) return close();
    if (error == beast::error::timeout) {
      shared_.counters.cut_off.fetch_add(1, std::memory_order_relaxed);  // a figure for people
      return;
    }
    if (error) return refuse(error);
    const auto& message = parser_->get();
    HttpRequest request;
    request.method = std::string(message.method_string());
    request.target = std::string(message.target());
    request.host = std::string(message[http::field::host]);
    request.accept = std::string(message[http::field::accept]);
    request.if_none_match = std::string(message[http::field::if_none_match]);
    keep_alive_ = message.keep_alive();
    version_ = message.version();
    head_only_ = message.method() == http::verb::head;
    if (head_only_) request.method = "GET";
    shared_.workers->post(
        [self = shared_from_this(), request = std::move(request)](Source& source) {
          self->making_ = {};
          self->making_.answer = request.target.size() > kMaxTargetBytes
                                     ? problem(414, "path and query are longer than " +
                                                        std::to_string(kMaxTargetBytes) + " bytes")
                                     : self->shared_.answer(request, source);
          self->make_piece(source);
          asio::post(self->stream_.get_executor(), [self] { self->send(); });
        });
  }

  /// A request that is no HTTP, or too large, is told so, and its connection closed.
  void refuse(ErrorOfBoost error) {
    shared_.counters.malformed.fetch_add(1, std::memory_order_relaxed);  // a figure for people
    const bool is_header = error == http::error::header_limit;
    const bool is_body = error == http::error::body_limit;
    if (error.category() != make_error_code(http::error::bad_method).category()) return;
    keep_alive_ = false;
    head_only_ = false;
    version_ = 11;
    making_ = {};
    making_.answer = problem(is_header ? 431 : (is_body ? 413 : 400),
                             "this is no request that the gate takes: " + error.message());
    making_.piece = std::move(making_.answer.body);
    making_.is_last = true;
    send();
  }

  /// On a worker: the next piece of the body.
  void make_piece(Source& source) {
    making_.piece = std::move(making_.answer.body);
    making_.answer.body.clear();
    BodyStream* const stream = making_.answer.stream.get();
    making_.is_last = stream == nullptr || head_only_;
    while (!making_.is_last && making_.piece.size() < kPieceBytes) {
      const Result<bool> more = stream->next(source, making_.piece);
      making_.has_failed = !more;
      if (!more) return;
      making_.is_last = !*more;
    }
  }

  /// The header, with the whole body where that is one piece.
  void send() {
    HttpAnswer& answer = making_.answer;
    if (making_.has_failed) {  // before anything was sent: it can be told
      answer = problem(503, "the server went away while the answer was made");
      making_.piece = std::move(answer.body);
      making_.is_last = true;
    }
    response_ =
        http::response<http::empty_body>(static_cast<http::status>(answer.status), version_);
    response_.reason(
        boost::string_view(reason_of(answer.status).data(), reason_of(answer.status).size()));
    response_.set(http::field::server, kServerName);
    response_.set(http::field::content_type, answer.type);
    response_.set("X-Content-Type-Options", "nosniff");
    for (const auto& [name, value] : answer.headers) response_.set(name, value);
    is_chunked_ = !making_.is_last && version_ >= 11;
    if (!making_.is_last && !is_chunked_) keep_alive_ = false;  // its end is that of the connection
    response_.keep_alive(keep_alive_);
    if (is_chunked_) response_.chunked(true);
    const bool has_stream = answer.stream != nullptr;
    if (making_.is_last && answer.status != 304 && answer.status != 204 &&
        !(head_only_ && has_stream)) {
      response_.content_length(making_.piece.size());
    }
    serializer_.emplace(response_);
    stream_.expires_after(std::chrono::nanoseconds(shared_.options.piece_time));
    http::async_write_header(stream_, *serializer_,
                             [self = shared_from_this()](ErrorOfBoost error, std::size_t) {
                               if (!self->has_failed(error)) self->send_piece();
                             });
  }

  void send_piece() {
    if (head_only_) return on_sent();
    const auto sent = [self = shared_from_this()](ErrorOfBoost error, std::size_t) {
      if (!self->has_failed(error)) self->on_sent();
    };
    stream_.expires_after(std::chrono::nanoseconds(shared_.options.piece_time));
    const asio::const_buffer bytes = asio::buffer(making_.piece);
    if (!is_chunked_) {
      asio::async_write(stream_, bytes, sent);
    } else if (making_.piece.empty()) {
      asio::async_write(stream_, http::make_chunk_last(), sent);
    } else {
      asio::async_write(stream_, http::make_chunk(bytes), sent);
    }
  }

  void on_sent() {
    if (!making_.is_last) {
      shared_.workers->post([self = shared_from_this()](Source& source) {
        self->make_piece(source);
        asio::post(self->stream_.get_executor(), [self] {
          // Cut off within the body, the client knows that it is not whole.
          if (!self->making_.has_failed) self->send_piece();
        });
      });
    } else if (is_chunked_ && !making_.piece.empty()) {
      making_.piece.clear();
      send_piece();  // the end of the chunks
    } else if (keep_alive_) {
      making_ = {};
      read();
    } else {
      close();
    }
  }

  bool has_failed(ErrorOfBoost error) {
    if (error == beast::error::timeout) {
      shared_.counters.cut_off.fetch_add(1, std::memory_order_relaxed);  // a figure for people
    }
    return static_cast<bool>(error);
  }

  void close() {
    ErrorOfBoost ignored;
    stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
  }

  beast::tcp_stream stream_;
  Shared& shared_;
  beast::flat_buffer buffer_{kMaxHeaderBytes + kMaxBodyBytes};
  std::optional<http::request_parser<http::string_body>> parser_;
  http::response<http::empty_body> response_;
  std::optional<http::response_serializer<http::empty_body>> serializer_;
  Making making_;
  unsigned version_ = 11;
  bool keep_alive_ = false;
  bool head_only_ = false;
  bool is_chunked_ = false;
};

}  // namespace

struct HttpServer::Impl {
  Impl(const HttpOptions& wanted, HttpCounters& counted, Answer answers)
      : options(wanted), counters(counted), answer(std::move(answers)) {}

  Status listen();
  void accept();

  const HttpOptions options;
  HttpCounters& counters;
  const Answer answer;
  Shared shared{options, counters, answer};
  asio::io_context context{1};
  tcp::acceptor acceptor{context};
  asio::steady_timer pause{context};
  std::unique_ptr<Workers> workers;
  std::thread thread;
};

Status HttpServer::Impl::listen() {
  ErrorOfBoost error;
  const auto address = asio::ip::make_address(options.address, error);
  if (error) {
    return tl::unexpected<Error>(Error{ErrorCode::kInvalidArgument,
                                       "'" + options.address + "' is no address of IPv4 or IPv6"});
  }
  const tcp::endpoint endpoint(address, options.port);
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (!error) return {};
  return tl::unexpected<Error>(Error{ErrorCode::kIo, "cannot listen at " + options.address +
                                                         " port " + std::to_string(options.port) +
                                                         ": " + error.message()});
}

void HttpServer::Impl::accept() {
  acceptor.async_accept([this](ErrorOfBoost error, tcp::socket socket) {
    if (error == asio::error::operation_aborted) return;
    if (!error) {
      counters.accepted.fetch_add(1, std::memory_order_relaxed);  // a figure for people
      if (counters.open.load(std::memory_order_relaxed) >= options.max_connections) {
        counters.turned_away.fetch_add(1, std::memory_order_relaxed);  // likewise; it is closed
      } else {
        ErrorOfBoost ignored;
        socket.set_option(tcp::no_delay(true), ignored);
        std::make_shared<Connection>(std::move(socket), shared)->read();
      }
    }
    if (!error) return accept();
    // Too many descriptors, mostly: what is open has to close first.
    pause.expires_after(kPauseOfAccept);
    pause.async_wait([this](ErrorOfBoost stopped) {
      if (!stopped) accept();
    });
  });
}

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<HttpServer>> HttpServer::start(const HttpOptions& options,
                                                      HttpCounters& counters,
                                                      const SourceFactory& make_source,
                                                      Answer answer) {
  auto impl = std::make_unique<Impl>(options, counters, std::move(answer));
  if (const Status ok = impl->listen(); !ok) return tl::unexpected<Error>(ok.error());
  impl->workers = std::make_unique<Workers>(options.threads, make_source);
  impl->shared.workers = impl->workers.get();
  impl->accept();
  impl->thread = std::thread([impl = impl.get()] { impl->context.run(); });
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::~HttpServer() {
  impl_->context.stop();
  impl_->thread.join();
  impl_->workers.reset();  // what they post from now on is dropped with the context
}

std::uint16_t HttpServer::port() const { return impl_->acceptor.local_endpoint().port(); }

}  // namespace silurus::gate
