#include <unistd.h>

#include "engine/parallel/gloo_communicator.h"
#include "kernels/core/context.h"
#include "tests/catch.h"
#include "tests/parallel/ranks.h"

using namespace zeroth;
using test::expect;
using test::Meeting;
using test::run_ranks;
using namespace std::chrono_literals;

namespace {

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Four ranks meet and call `body`; what each threw.
std::vector<std::string> meet(int size, const std::function<void(Rendezvous&)>& body,
                              const std::function<void(RendezvousConfig&)>& change = {}) {
  Meeting meeting;
  std::vector<RendezvousConfig> configs;
  for (int rank = 0; rank < size; ++rank) {
    configs.push_back(meeting.config(rank, size));
    if (change) change(configs.back());
  }
  return run_ranks(size, [&](int rank) {
    Rendezvous rendezvous(configs[static_cast<std::size_t>(rank)]);
    body(rendezvous);
  });
}

}  // namespace

TEST_CASE("ranks tell each other values, and wait at barriers") {
  const auto thrown = meet(4, [](Rendezvous& ranks) {
    ranks.set("of/" + std::to_string(ranks.rank()),
              std::string(100000, static_cast<char>('a' + ranks.rank())));
    for (int other = 0; other < 4; ++other)
      expect(ranks.get("of/" + std::to_string(other)) == std::string(100000, static_cast<char>('a' + other)),
             "value");
    expect(ranks.host_of(3) == host_name(), "host");
    expect(is_loopback(ranks.address_of(2)), "address");
    ranks.barrier("end");
    ranks.leave();
  });
  for (const std::string& line : thrown) CHECK(line == "");
}

TEST_CASE("a value that nobody tells is named after its time") {
  const auto thrown = meet(1, [](Rendezvous& ranks) { ranks.get("nothing", 200ms); });
  CHECK(thrown[0] == "no rank has told 'nothing' within 0.2 s");
}

TEST_CASE("ranks that do not join are named to those that did") {
  Meeting meeting;
  std::vector<RendezvousConfig> configs{meeting.config(0, 4), meeting.config(2, 4)};
  for (RendezvousConfig& config : configs) config.limits.join = 400ms;
  const auto thrown =
      run_ranks(2, [&](int which) { Rendezvous ranks(configs[static_cast<std::size_t>(which)]); });
  for (const std::string& line : thrown) CHECK(line == "ranks 1, 3 of 4 did not join within 0.4 s");
}

TEST_CASE("without a rank 0 the others say where they looked for it") {
  RendezvousConfig config;
  {
    Meeting meeting;
    config = meeting.config(1, 2);
  }
  config.limits.join = 300ms;
  const Clock::time_point start = Clock::now();
  const auto thrown = run_ranks(1, [&](int) { Rendezvous ranks(config); });
  CHECK(thrown[0] ==
        "cannot reach rank 0 at 127.0.0.1, port " + std::to_string(config.port) + ": Connection refused");
  CHECK(seconds_since(start) < 5);
}

TEST_CASE("a rank that is started twice, or as one of another number, is named") {
  for (const bool twice : {true, false}) {
    Meeting meeting;
    std::vector<RendezvousConfig> configs{meeting.config(0, 3), meeting.config(1, 3),
                                          twice ? meeting.config(1, 3) : meeting.config(2, 4)};
    const auto thrown = run_ranks(3, [&](int which) {
      if (which == 2) std::this_thread::sleep_for(300ms);  // the others wait for it by then
      Rendezvous ranks(configs[static_cast<std::size_t>(which)]);
    });
    for (const std::string& line : thrown)
      CHECK(contains(line, twice ? "rank 1 was started twice"
                                 : "came as one of 4 ranks, rank 0 was started as one of 3"));
  }
}

TEST_CASE("strangers that connect disturb nobody") {
  const auto thrown = meet(
      2,
      [](Rendezvous& ranks) {
        ranks.barrier("end");
        ranks.leave();
      },
      [](RendezvousConfig& config) {
        if (config.rank != 0) return;
        for (const std::string& words :
             {std::string("GET / HTTP/1.1\r\n\r\n") + std::string(100, 'x'), std::string()}) {
          const Socket stranger = connect_to("127.0.0.1", config.port, Clock::now() + 5s);
          MessageStream stream(connect_to("127.0.0.1", config.port, Clock::now() + 5s));
          static_cast<void>(::write(stream.socket().get(), words.data(), words.size()));
        }
      });
  for (const std::string& line : thrown) CHECK(line == "");
}

TEST_CASE("a rank that ends without a word is named to all, also to those that wait") {
  for (const int dying : {0, 2}) {
    const auto thrown = meet(3, [&](Rendezvous& ranks) {
      if (ranks.rank() == dying) return;
      ranks.get("never");
    });
    for (int rank = 0; rank < 3; ++rank)
      if (rank != dying)
        CHECK(thrown[static_cast<std::size_t>(rank)] == rank_name(dying, host_name()) + " died");
  }
}

TEST_CASE("a rank that fails tells the others why") {
  const auto thrown = meet(3, [&](Rendezvous& ranks) {
    if (ranks.rank() == 1) return ranks.fail_for_all("the disk is full");
    ranks.get("never");
  });
  CHECK(thrown[0] == rank_name(1, host_name()) + " failed: the disk is full");
  CHECK(thrown[2] == thrown[0]);
}

TEST_CASE("a rank that gets no further while others wait is named") {
  std::atomic<int> waiting = 2;
  const auto thrown = meet(
      3,
      [&](Rendezvous& ranks) {
        if (ranks.rank() != 1) {
          try {
            ranks.get("never");
          } catch (...) {
            --waiting;
            throw;
          }
        }
        while (waiting > 0) std::this_thread::sleep_for(20ms);
      },
      [](RendezvousConfig& config) { config.limits.hang = 1500ms; });
  CHECK(thrown[0] == rank_name(1, host_name()) + " has got no further for 1.5 s while others wait");
  CHECK(thrown[2] == thrown[0]);
}

TEST_CASE("a rank that works on is not taken for one that hangs") {
  const auto thrown = meet(
      2,
      [&](Rendezvous& ranks) {
        for (int i = 0; ranks.rank() == 1 && i < 50; ++i) {
          ranks.progressed();
          std::this_thread::sleep_for(50ms);
        }
        ranks.set(std::to_string(ranks.rank()), "");
        ranks.get("0", 10s);
        ranks.get("1", 10s);
        ranks.barrier("end", 10s);
        ranks.leave();
      },
      [](RendezvousConfig& config) { config.limits.hang = 1200ms; });
  for (const std::string& line : thrown) CHECK(line == "");
}

TEST_CASE("all ranks stop before the same step, which none has begun") {
  std::vector<std::int64_t> ended(3);
  std::array<std::atomic<std::int64_t>, 3> done{};
  const auto thrown = meet(3, [&](Rendezvous& ranks) {
    const auto r = static_cast<std::size_t>(ranks.rank());
    for (std::int64_t step = 0;; ++step) {
      if (ranks.rank() == 2 && step == 40) ranks.ask_to_stop(15);
      if (const int signal = ranks.stop_before(step)) {
        expect(signal == 15, "signal");
        ended[r] = step;
        break;
      }
      // A step ends once all ranks have come to it, as one with a collective does.
      done[r] = step + 1;
      for (const auto& other : done)
        while (other <= step) std::this_thread::sleep_for(1ms);
    }
    ranks.barrier("end", 10s);
    ranks.leave();
  });
  for (const std::string& line : thrown) CHECK(line == "");
  CHECK(ended[0] >= 40);
  CHECK(ended[0] == ended[1]);
  CHECK(ended[0] == ended[2]);
}

TEST_CASE("a collective that waits for a rank which is gone is cut") {
  if (!why_no_gloo().empty()) return;
  const Clock::time_point start = Clock::now();
  const auto thrown = meet(3, [&](Rendezvous& ranks) {
    Context context(Device{});
    const auto communicator = make_gloo_communicator(ranks);
    if (ranks.rank() == 1) {
      ranks.fail_for_all("no more");
      // Its connections stay open: what shows is only the word.
      std::this_thread::sleep_for(500ms);
      return;
    }
    std::vector<float> values(100000);
    communicator->all_reduce(context, {values.data(), {100000}, DType::f32}, RankReduction::sum);
    communicator->join(context);
  });
  CHECK(thrown[0] == rank_name(1, host_name()) + " failed: no more");
  CHECK(thrown[2] == thrown[0]);
  CHECK(seconds_since(start) < 5);
}
