#include "data/fetch.h"

#include <archive.h>
#include <archive_entry.h>
#include <signal.h>
#include <sys/resource.h>

#include <algorithm>
#include <chrono>

#include "data/archive.h"
#include "data/digest.h"
#include "data/manifest.h"
#include "tests/data/http_server.h"
#include "tests/data/scratch.h"

namespace zeroth::test {
namespace fs = std::filesystem;
namespace {

struct Member {
  std::string name, content;
  std::string link_to;  // a symbolic link where not empty
};

/// A gzip-compressed tar archive in memory, small but not so compressible as to fit into one packet.
std::string pack(const std::vector<Member>& members) {
  std::string out(8 << 20, '\0');
  std::size_t used = 0;
  struct archive* writer = archive_write_new();
  archive_write_add_filter_gzip(writer);
  archive_write_set_filter_option(writer, "gzip", "compression-level", "0");
  archive_write_set_filter_option(writer, "gzip", "timestamp", nullptr);
  archive_write_set_format_ustar(writer);
  REQUIRE(archive_write_open_memory(writer, out.data(), out.size(), &used) == ARCHIVE_OK);
  for (const Member& member : members) {
    struct archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, member.name.c_str());
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_filetype(entry, member.link_to.empty() ? AE_IFREG : AE_IFLNK);
    if (!member.link_to.empty()) archive_entry_set_symlink(entry, member.link_to.c_str());
    archive_entry_set_size(entry, static_cast<la_int64_t>(member.content.size()));
    REQUIRE(archive_write_header(writer, entry) == ARCHIVE_OK);
    archive_write_data(writer, member.content.data(), member.content.size());
    archive_entry_free(entry);
  }
  REQUIRE(archive_write_close(writer) == ARCHIVE_OK);
  archive_write_free(writer);
  out.resize(used);
  return out;
}

std::string sha256_of_text(const std::string& text) {
  return sha256_of({reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
}

std::vector<Member> small_members() {
  std::vector<Member> members;
  for (const char* name : {"data_batch_1.bin", "data_batch_2.bin", "test_batch.bin"}) {
    members.push_back({std::string("small/") + name, make_records(40, 1, 10), ""});
  }
  members.push_back({"small/batches.meta.txt", "a\nb\n", ""});
  members.push_back({"small/readme.html", "<html></html>", ""});
  return members;
}

/// A set like CIFAR-10 in small, with true checksums.
DatasetArchive small_archive(const std::string& packed) {
  const std::string sum = sha256_of_text(make_records(40, 1, 10));
  DatasetArchive archive{"small.tar.gz", packed.size(), sha256_of_text(packed), {}};
  archive.layout = {"cifar10",
                    "small",
                    10,
                    1,
                    {{"data_batch_1.bin", 40, sum}, {"data_batch_2.bin", 40, sum}},
                    {"test_batch.bin", 40, sum},
                    "batches.meta.txt"};
  return archive;
}

std::size_t entries_in(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

/// Everything a fetch over loopback needs; no proxy of the machine gets in its way.
struct Loopback {
  ScratchFolder scratch;
  EnvironmentGuard direct{"no_proxy", "127.0.0.1"};
  std::string packed = pack(small_members());
  DatasetArchive archive = small_archive(packed);
  HttpServer server{packed};
  FetchOptions options;
  fs::path part = scratch / "small.tar.gz.part";

  Loopback() { options.base_url = server.url(); }
  FetchResult run() { return fetch(archive, scratch.path(), options); }
  std::string failure(ErrorKind kind) {
    return message_of(kind, [&] { run(); });
  }
  void check_complete(const FetchResult& result) {
    CHECK(result.folder == scratch / "small");
    CHECK(entries_in(scratch.path()) == 1);  // neither the archive nor a temporary folder stays
    CHECK(read_text(scratch / "small/data_batch_2.bin") == make_records(40, 1, 10));
    CHECK(read_text(scratch / "small/batches.meta.txt") == "a\nb\n");
    CHECK(check_manifest(scratch / "small"));
  }
};

}  // namespace

TEST_CASE("fetch brings, checks and unpacks, a second fetch does nothing", "[fetch]") {
  Loopback net;
  std::vector<FetchPhase> phases;
  std::uint64_t last_unpacked = 0, total = 0;
  net.options.progress = [&](const FetchProgress& progress) {
    if (phases.empty() || phases.back() != progress.phase) phases.push_back(progress.phase);
    if (progress.phase == FetchPhase::unpack) last_unpacked = progress.done, total = progress.total;
    return true;
  };
  const FetchResult result = net.run();
  CHECK_FALSE(result.was_there);
  net.check_complete(result);
  CHECK(phases == std::vector<FetchPhase>{FetchPhase::download, FetchPhase::check, FetchPhase::unpack});
  CHECK(last_unpacked == total);
  CHECK(net.run().was_there);
  CHECK(net.server.ranges_seen().size() == 1);
}

TEST_CASE("an interrupted fetch continues where it ended", "[fetch]") {
  Loopback net;
  Behaviour hang_up;
  hang_up.hang_up_after = 100'000;
  net.server.next({hang_up, {}});
  CHECK(contains(net.failure(ErrorKind::runtime), "run the same command again to continue"));
  CHECK(fs::file_size(net.part) == 100'000);
  net.check_complete(net.run());
  CHECK(net.server.ranges_seen() == std::vector<std::string>{"", "bytes=100000-"});
}

TEST_CASE("a server that cannot continue sends everything", "[fetch]") {
  Loopback net;
  write_text(net.part, "stale bytes");
  Behaviour whole;
  whole.ranges = false;
  net.server.next({whole});
  net.check_complete(net.run());
}

TEST_CASE("a part the server has nothing to add to is begun anew", "[fetch]") {
  Loopback net;
  HttpServer shorter(net.packed.substr(0, 1000));
  write_text(net.part, std::string(2000, 'x'));
  net.options.base_url = shorter.url();
  CHECK(contains(net.failure(ErrorKind::data), "truncated"));  // 416, then all 1,000 bytes
  CHECK(shorter.ranges_seen() == std::vector<std::string>{"bytes=2000-", ""});
  CHECK_FALSE(fs::exists(net.part));
}

TEST_CASE("a part that was never the archive is found out and removed", "[fetch]") {
  Loopback net;
  write_text(net.part, "\x1f\x8b" + std::string(5000, 'x'));
  CHECK(contains(net.failure(ErrorKind::data), "SHA-256"));
  CHECK_FALSE(fs::exists(net.part));
  write_text(net.part, std::string(net.packed.size() + 5, 'x'));  // longer than the archive
  net.check_complete(net.run());
}

TEST_CASE("what the server may do wrong is told in one line", "[fetch]") {
  Loopback net;
  Behaviour behaviour;
  SECTION("404") {
    behaviour.status = 404;
    net.server.next({behaviour});
    CHECK(contains(net.failure(ErrorKind::runtime),
                   net.server.url() + "small.tar.gz: HTTP status 404 (not found)"));
  }
  SECTION("an HTML page that says so keeps the part") {
    write_text(net.part, net.packed.substr(0, 5000));
    behaviour.content_type = "text/html; charset=utf-8";
    behaviour.ranges = false;
    net.server.next({behaviour});
    CHECK(contains(net.failure(ErrorKind::data), "HTML page"));
    CHECK(fs::file_size(net.part) == 5000);
  }
  SECTION("an HTML page that passes for an archive") {
    HttpServer page("\n<!DOCTYPE html><html><body>Log in</body></html>");
    net.options.base_url = page.url();
    CHECK(contains(net.failure(ErrorKind::data), "HTML page"));
    CHECK_FALSE(fs::exists(net.part));
  }
  SECTION("a wrong checksum") {
    std::string other = net.packed;
    other[other.size() / 2] ^= 1;
    HttpServer wrong(other);
    net.options.base_url = wrong.url();
    const std::string message = net.failure(ErrorKind::data);
    CHECK(contains(message, "SHA-256 " + sha256_of_text(other)));
    CHECK(contains(message, net.archive.sha256));
    CHECK(entries_in(net.scratch.path()) == 0);
  }
  SECTION("too long") {
    HttpServer longer(net.packed + "more");
    net.options.base_url = longer.url();
    CHECK(contains(net.failure(ErrorKind::data), "longer than"));
    CHECK(entries_in(net.scratch.path()) == 0);
  }
  SECTION("a stall") {
    behaviour.stall = true;
    net.server.next({behaviour});
    net.options.stall_seconds = 1;
    const auto start = std::chrono::steady_clock::now();
    CHECK(contains(net.failure(ErrorKind::runtime), "no data for 1 s"));
    CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(20));
  }
  SECTION("nobody there") {
    { net.options.base_url = HttpServer("").url(); }  // its port is closed again
    CHECK(contains(net.failure(ErrorKind::runtime), "cannot fetch http://127.0.0.1"));
  }
  SECTION("no such host") {
    const EnvironmentGuard a("http_proxy", std::nullopt), b("all_proxy", std::nullopt),
        c("ALL_PROXY", std::nullopt);
    net.options.base_url = "http://no-such-host.invalid/";  // RFC 2606: never resolves
    CHECK(contains(net.failure(ErrorKind::runtime), "is there a network?"));
    CHECK(entries_in(net.scratch.path()) == 0);
  }
  SECTION("a redirect to a file on this machine") {
    behaviour.redirect_to = "file:///etc/hostname";
    net.server.next({behaviour});
    net.failure(ErrorKind::runtime);
  }
}

TEST_CASE("redirects and proxies are followed", "[fetch]") {
  Loopback net;
  Behaviour redirect;
  redirect.redirect_to = net.server.url() + "elsewhere";
  net.server.next({redirect, {}});
  SECTION("a redirect") {
    net.check_complete(net.run());
  }
  SECTION("a proxy from the environment") {
    net.server.next({{}});
    const EnvironmentGuard none("no_proxy", std::nullopt), caps("NO_PROXY", std::nullopt);
    const EnvironmentGuard proxy("http_proxy", net.server.url());
    net.options.base_url = "http://no-such-host.invalid/";
    net.check_complete(net.run());
  }
}

TEST_CASE("a caller can stop a fetch and continue it", "[fetch]") {
  Loopback net;
  FetchPhase stop_in = FetchPhase::download;
  SECTION("download") {
    stop_in = FetchPhase::download;
  }
  SECTION("check") {
    stop_in = FetchPhase::check;
  }
  SECTION("unpack") {
    stop_in = FetchPhase::unpack;
  }
  net.options.progress = [&](const FetchProgress& progress) { return progress.phase != stop_in; };
  CHECK(contains(net.failure(ErrorKind::runtime), "stopped"));
  CHECK_FALSE(fs::exists(net.scratch / "small"));
  CHECK(entries_in(net.scratch.path()) == (fs::exists(net.part) ? 1 : 0));
  net.options.progress = nullptr;
  net.check_complete(net.run());
}

TEST_CASE("a full disk ends a fetch, and more room continues it", "[fetch]") {
  Loopback net;
  rlimit before{};
  REQUIRE(::getrlimit(RLIMIT_FSIZE, &before) == 0);
  rlimit small = before;
  small.rlim_cur = 150'000;
  const auto previous = ::signal(SIGXFSZ, SIG_IGN);  // the write reports the failure instead
  REQUIRE(::setrlimit(RLIMIT_FSIZE, &small) == 0);
  const std::string message = net.failure(ErrorKind::runtime);
  ::setrlimit(RLIMIT_FSIZE, &before);
  ::signal(SIGXFSZ, previous);
  CHECK(contains(message, "cannot write " + net.part.string()));
  CHECK(fs::file_size(net.part) == 150'000);
  net.check_complete(net.run());
}

TEST_CASE("SIGPIPE is as before after a fetch", "[fetch]") {
  Loopback net;
  net.run();
  sigset_t blocked;
  REQUIRE(pthread_sigmask(SIG_SETMASK, nullptr, &blocked) == 0);
  CHECK(sigismember(&blocked, SIGPIPE) == 0);
}

TEST_CASE("an archive at hand needs no network", "[fetch]") {
  Loopback net;
  net.options.base_url = "http://no-such-host.invalid/";
  net.options.from = net.scratch / "download/small.tar.gz";
  write_text(net.options.from, net.packed);
  SECTION("whole") {
    net.run();
    CHECK(read_text(net.scratch / "small/test_batch.bin") == make_records(40, 1, 10));
    CHECK(fs::exists(net.options.from));
  }
  SECTION("truncated") {
    write_text(net.options.from, net.packed.substr(0, 3000));
    CHECK(contains(net.failure(ErrorKind::data), "truncated"));
    CHECK(fs::exists(net.options.from));  // the user's file is never removed
  }
  SECTION("not gzip") {
    write_text(net.options.from, "PK zip");
    CHECK(contains(net.failure(ErrorKind::data), "no gzip file"));
  }
  SECTION("missing") {
    fs::remove(net.options.from);
    CHECK(contains(net.failure(ErrorKind::data), "No such file"));
  }
}

TEST_CASE("a folder that is not the set is left alone", "[fetch]") {
  Loopback net;
  net.run();
  write_text(net.scratch / "small/data_batch_2.bin", "mine");
  CHECK(contains(net.failure(ErrorKind::data), "data_batch_2.bin is not the official file"));
  CHECK(read_text(net.scratch / "small/data_batch_2.bin") == "mine");
  const fs::path file = net.scratch / "a_file";
  write_text(file, "x");
  message_of(ErrorKind::data, [&] { fetch(net.archive, file, net.options); });
}

TEST_CASE("archives write their expected members and nothing else", "[fetch]") {
  const ScratchFolder scratch;
  const fs::path archive = scratch / "x.tar.gz", folder = scratch / "in";
  fs::create_directory(folder);
  const std::map<std::string, ExpectedMember> expected = {{"a", {3, true}}};
  const auto unpack = [&](const std::string& packed) {
    write_text(archive, packed);
    unpack_members(archive, "set", expected, folder, nullptr);
  };
  SECTION("strangers are passed over") {
    unpack(pack({{"evil", "bad", ""}, {"set/..b", "bad", ""}, {"set/b", "bad", ""}, {"./set/a", "abc", ""}}));
    CHECK(entries_in(folder) == 1);
    CHECK(entries_in(scratch.path()) == 2);
    CHECK(read_text(folder / "a") == "abc");
  }
  SECTION("names that lead outside") {
    for (const char* name : {"set/../../evil", "/tmp/evil", "../evil", "set/.."}) {
      CHECK(contains(message_of(ErrorKind::data,
                                [&] {
                                  unpack(pack({{name, "bad", ""}, {"set/a", "abc", ""}}));
                                }),
                     std::string(name) + ", which leads out of its folder"));
      CHECK(entries_in(folder) == 0);
      CHECK(entries_in(scratch.path()) == 2);
    }
  }
  SECTION("more than any set has") {
    const std::string large(std::size_t{1} << 20, 'x');
    unpack(pack({{"set/b", large, ""}, {"set/a", "abc", ""}}));
    CHECK(contains(message_of(ErrorKind::data,
                              [&] {
                                unpack(pack({{"set/b", large + "x", ""}}));
                              }),
                   "of 1048577 bytes, more than 1048576"));
    CHECK(contains(message_of(ErrorKind::data,
                              [&] {
                                unpack(pack(std::vector<Member>(1001, Member{"set/b", "", ""})));
                              }),
                   "more than 1000 files"));
  }
  SECTION("wrong size") {
    CHECK(contains(message_of(ErrorKind::data, [&] { unpack(pack({{"set/a", "abcd", ""}})); }), "3 bytes"));
  }
  SECTION("a link") {
    CHECK(contains(message_of(ErrorKind::data,
                              [&] {
                                unpack(pack({{"set/a", "", "/etc/passwd"}}));
                              }),
                   "holds set/a, a symbolic link"));
    CHECK(contains(message_of(ErrorKind::data,
                              [&] {
                                unpack(pack({{"set/b", "", "a"}, {"set/a", "abc", ""}}));
                              }),
                   "holds set/b, a symbolic link"));
    CHECK(entries_in(folder) == 0);
  }
  SECTION("missing") {
    CHECK(contains(message_of(ErrorKind::data,
                              [&] {
                                unpack(pack({{"set/b", "abc", ""}}));
                              }),
                   "lacks set/a"));
  }
  SECTION("twice") {
    CHECK(contains(message_of(ErrorKind::data,
                              [&] {
                                unpack(pack({{"set/a", "abc", ""}, {"set/a", "abd", ""}}));
                              }),
                   "twice"));
  }
  SECTION("truncated") {
    const std::string packed = pack({{"set/a", "abc", ""}, {"set/b", make_records(40, 1, 10), ""}});
    const std::string cut = packed.substr(0, packed.size() / 2);
    CHECK(contains(message_of(ErrorKind::data, [&] { unpack(cut); }), "truncated or damaged"));
  }
  SECTION("gzip of something else") {
    std::string header = pack({{"set/a", "abc", ""}}).substr(0, 10);
    message_of(ErrorKind::data, [&] { unpack(header + std::string(100, 'z')); });
  }
}

TEST_CASE("the official archives have a size and a checksum", "[fetch]") {
  CHECK(official_archive("cifar10").bytes == 170'052'171);
  CHECK(official_archive("cifar10").sha256.size() == 64);
  CHECK(official_archive("cifar100").sha256.size() == 64);
  for (const char* name : {"cifar10", "cifar100"}) {
    for (const CifarFile& file : cifar_layout(name).train) CHECK(file.sha256.size() == 64);
  }
  CHECK(contains(message_of(ErrorKind::usage, [] { fetch("imagenet", "/nowhere"); }),
                 "known are cifar10, cifar100, mnist, fashion-mnist, svhn, svhn-extra"));
  for (const PublishedSet& set : published_sets()) {
    for (const PublishedFile& file : set.files) {
      CHECK(file.checksum.size() == 32);
      CHECK(file.digest == DigestKind::md5);
    }
    CHECK(set.base_url.ends_with('/'));
  }
}

namespace {

/// A set of two files; the server answers every request with the same one.
struct LoopbackSet {
  ScratchFolder scratch;
  EnvironmentGuard direct{"no_proxy", "127.0.0.1"};
  std::string body = make_records(40, 1, 10);
  PublishedSet set{"set", "set", "http://no-such-host.invalid/", {}};
  HttpServer server{body};
  FetchOptions options;

  LoopbackSet() {
    const std::span bytes(reinterpret_cast<const std::uint8_t*>(body.data()), body.size());
    for (const char* name : {"a.mat", "b.mat"}) {
      set.files.push_back({name, body.size(), DigestKind::md5, digest_of(DigestKind::md5, bytes)});
    }
    options.base_url = server.url();
  }
  FetchResult run() { return fetch(set, scratch.path(), options); }
};

}  // namespace

TEST_CASE("a set of single files is fetched file by file", "[fetch]") {
  LoopbackSet net;
  Behaviour breaks;
  breaks.hang_up_after = 1000;
  net.server.next({Behaviour{}, breaks, Behaviour{}});
  CHECK(contains(message_of(ErrorKind::runtime, [&] { net.run(); }), "the connection ended early"));
  CHECK(read_text(net.scratch / "set/a.mat") == net.body);
  CHECK(fs::file_size(net.scratch / "set/b.mat.part") == 1000);
  const FetchResult result = net.run();
  CHECK_FALSE(result.was_there);
  CHECK(result.folder == net.scratch / "set");
  CHECK(net.server.ranges_seen() == std::vector<std::string>{"", "", "bytes=1000-"});
  CHECK(read_text(net.scratch / "set/b.mat") == net.body);
  CHECK(entries_in(net.scratch / "set") == 3);
  CHECK(check_manifest(net.scratch / "set"));
  CHECK(net.run().was_there);
  CHECK(net.server.ranges_seen().size() == 3);
}

TEST_CASE("a single file that is not the published one is refused", "[fetch]") {
  LoopbackSet net;
  SECTION("sent by the server") {
    net.set.files[0].checksum[0] = net.set.files[0].checksum[0] == '0' ? '1' : '0';
    CHECK(contains(message_of(ErrorKind::data, [&] { net.run(); }), "has MD5 "));
    CHECK(entries_in(net.scratch / "set") == 0);
  }
  SECTION("in the folder already") {
    write_text(net.scratch / "set/b.mat", "mine");
    CHECK(contains(message_of(ErrorKind::data, [&] { net.run(); }), "is not the official file"));
    CHECK(read_text(net.scratch / "set/b.mat") == "mine");
  }
  SECTION("in a folder at hand") {
    net.options.from = net.scratch / "mine";
    write_text(net.scratch / "mine/a.mat", net.body);
    write_text(net.scratch / "mine/b.mat", net.body.substr(1));
    CHECK(contains(message_of(ErrorKind::data, [&] { net.run(); }), "truncated"));
    write_text(net.scratch / "mine/b.mat", net.body);
    net.run();
    CHECK(entries_in(net.scratch / "set") == 3);  // and the list of checksums
    CHECK(entries_in(net.scratch / "mine") == 2);
    CHECK(net.server.ranges_seen().empty());
  }
}

}  // namespace zeroth::test
