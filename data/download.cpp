#include "data/download.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <pthread.h>
#include <signal.h>

#include <chrono>
#include <exception>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>

#include "data/files.h"
#include "kernels/core/error.h"

namespace zeroth {
namespace {

constexpr long kHttpPartialContent = 206;
constexpr long kHttpRangeNotSatisfiable = 416;

/// Keeps SIGPIPE from this thread: OpenSSL writes to sockets without MSG_NOSIGNAL, and a server that hangs up
/// must end in an error, not in the death of the process.
class NoSigpipe {
 public:
  NoSigpipe() {
    sigemptyset(&pipe_);
    sigaddset(&pipe_, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_, &before_);
  }
  ~NoSigpipe() {
    if (sigismember(&before_, SIGPIPE) == 0) {
      const timespec no_wait{};
      while (sigtimedwait(&pipe_, nullptr, &no_wait) == SIGPIPE) {
      }
    }
    pthread_sigmask(SIG_SETMASK, &before_, nullptr);
  }
  NoSigpipe(const NoSigpipe&) = delete;
  NoSigpipe& operator=(const NoSigpipe&) = delete;

 private:
  sigset_t pipe_{}, before_{};
};

using Clock = std::chrono::steady_clock;

/// One transfer, shared with libcurl's callbacks. No exception may cross libcurl's C code: it waits in
/// `error`.
struct Transfer {
  CURL* curl;
  OpenFile& file;
  const DownloadOptions& options;
  std::uint64_t on_disk;  // bytes of the file so far
  bool started = false, stopped = false, stalled = false, too_long = false, html = false;
  std::exception_ptr error = nullptr;
  Clock::time_point last_arrival = Clock::now();

  void accept(std::span<const std::uint8_t> bytes) {
    if (!started) {
      started = true;
      long status = 0;
      curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
      // A login page must not replace what an earlier attempt brought.
      const char* type = nullptr;
      curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &type);
      html = type != nullptr && std::string_view(type).starts_with("text/html");
      if (html) return;
      if (status != kHttpPartialContent && on_disk > 0) {  // the server cannot continue and sends it all
        file.truncate_to(0);
        file.seek_to_end();
        on_disk = 0;
      }
    }
    if (options.expected_bytes != 0 && on_disk + bytes.size() > options.expected_bytes) {
      too_long = true;
      return;
    }
    file.write(bytes);
    on_disk += bytes.size();
    last_arrival = Clock::now();
  }
};

std::size_t on_body(char* data, std::size_t size, std::size_t count, void* pointer) {
  auto& transfer = *static_cast<Transfer*>(pointer);
  try {
    transfer.accept({reinterpret_cast<const std::uint8_t*>(data), size * count});
  } catch (...) {
    transfer.error = std::current_exception();
  }
  return transfer.error || transfer.too_long || transfer.html ? 0 : size * count;
}

int on_progress(void* pointer, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  auto& transfer = *static_cast<Transfer*>(pointer);
  try {
    if (transfer.options.progress && !transfer.options.progress(transfer.on_disk)) transfer.stopped = true;
  } catch (...) {
    transfer.error = std::current_exception();
  }
  // libcurl has a clock of its own for this, but it judges averages over five seconds.
  transfer.stalled =
      Clock::now() - transfer.last_arrival >= std::chrono::seconds(transfer.options.stall_seconds);
  return transfer.error || transfer.stopped || transfer.stalled ? 1 : 0;
}

std::string http_reason(long status) {
  switch (status) {
    case 403:
      return "HTTP status 403 (forbidden)";
    case 404:
      return "HTTP status 404 (not found)";
    case 407:
      return "HTTP status 407 (the proxy wants a password)";
    default:
      return fmt::format("HTTP status {}", status);
  }
}

/// What went wrong, in the words of libcurl where they are good ones.
std::string reason_of(CURLcode code, const std::string& details, long status,
                      const DownloadOptions& options) {
  switch (code) {
    case CURLE_HTTP_RETURNED_ERROR:
      return http_reason(status);
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
    case CURLE_COULDNT_CONNECT:
      return fmt::format("{} (is there a network?){}", details.empty() ? curl_easy_strerror(code) : details,
                         options.offline_advice);
    case CURLE_OPERATION_TIMEDOUT:
      return fmt::format("no connection within {} s{}", options.connect_seconds, options.offline_advice);
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
      return "the connection ended early; run the same command again to continue";
    default:
      return details.empty() ? curl_easy_strerror(code) : details;
  }
}

/// Sets what does not depend on the state of the file.
void configure(CURL* curl, const std::string& url, const DownloadOptions& options, char* details) {
  curl_easy_setopt(curl, CURLOPT_URL, url.c_str());
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, details);
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "zeroth");
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
  curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
  curl_easy_setopt(curl, CURLOPT_MAXREDIRS, 10L);
#if LIBCURL_VERSION_NUM >= 0x075500
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
#else
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS, static_cast<long>(CURLPROTO_HTTP | CURLPROTO_HTTPS));
  curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS, static_cast<long>(CURLPROTO_HTTP | CURLPROTO_HTTPS));
#endif
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, static_cast<long>(options.connect_seconds));
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
}

/// Fails where this program, not libcurl, ended the transfer.
void fail_as_told(const Transfer& transfer, const std::string& url) {
  if (transfer.error) std::rethrow_exception(transfer.error);
  if (transfer.stopped) {
    fail(ErrorKind::runtime, "the download was stopped; run the same command again to continue");
  }
  if (transfer.stalled) {
    fail(ErrorKind::runtime,
         fmt::format("cannot fetch {}: no data for {} s; run the same command again to continue", url,
                     transfer.options.stall_seconds));
  }
  if (transfer.html) {
    fail(ErrorKind::data,
         fmt::format("{} answered with an HTML page, not the file; a login page or a proxy may be in the way",
                     url));
  }
  if (transfer.too_long) {
    transfer.file.truncate_to(0);  // not to be continued
    fail(ErrorKind::data, fmt::format("{} is longer than the {} bytes it should have; it is another file",
                                      url, transfer.options.expected_bytes));
  }
}

/// One request. Returns false when the server refused to continue from where the file ends.
bool attempt(const std::string& url, OpenFile& file, const DownloadOptions& options) {
  const std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl(curl_easy_init(), &curl_easy_cleanup);
  if (curl == nullptr) fail(ErrorKind::runtime, "libcurl could not be started");
  char details[CURL_ERROR_SIZE] = "";
  configure(curl.get(), url, options, details);
  Transfer transfer{curl.get(), file, options, file.size()};
  const bool resuming = transfer.on_disk > 0;
  // A range, not CURLOPT_RESUME_FROM: that one fails where a server answers with the whole file.
  const std::string range = fmt::format("{}-", transfer.on_disk);
  if (resuming) curl_easy_setopt(curl.get(), CURLOPT_RANGE, range.c_str());
  curl_easy_setopt(curl.get(), CURLOPT_XFERINFODATA, &transfer);
  curl_easy_setopt(curl.get(), CURLOPT_WRITEDATA, &transfer);
  file.seek_to_end();
  const CURLcode code = curl_easy_perform(curl.get());
  fail_as_told(transfer, url);
  long status = 0;
  curl_easy_getinfo(curl.get(), CURLINFO_RESPONSE_CODE, &status);
  if (code == CURLE_HTTP_RETURNED_ERROR && status == kHttpRangeNotSatisfiable && resuming) return false;
  if (code != CURLE_OK) {
    fail(ErrorKind::runtime,
         fmt::format("cannot fetch {}: {}", url, reason_of(code, details, status, options)));
  }
  file.sync();
  return true;
}

}  // namespace

void download(const std::string& url, const std::filesystem::path& path, const DownloadOptions& options) {
  static std::once_flag started;
  std::call_once(started, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  const NoSigpipe guard;
  OpenFile file(path, O_RDWR | O_CREAT);
  if (!file.lock()) {
    fail(ErrorKind::runtime, fmt::format("another process is writing {}; wait for it", path.string()));
  }
  const std::uint64_t size = file.size();
  if (options.expected_bytes != 0) {
    if (size == options.expected_bytes) return;
    if (size > options.expected_bytes) file.truncate_to(0);
  }
  if (!attempt(url, file, options)) {
    file.truncate_to(0);
    attempt(url, file, options);
  }
}

}  // namespace zeroth
