#include "kernels/core/arena.h"

#include <random>

#include "tests/cuda_mock/fixture.h"

using namespace zeroth;

namespace {

/// A step of a small network: a kept value, tensors with overlapping lifetimes, one that outlives the step.
struct Step {
  std::size_t second = 2048;      // size of the second tensor
  bool release_early = false;     // the first tensor goes before the third comes
  std::size_t extra = 0;          // size of one more tensor at the end
  bool stop_after_first = false;  // the step ends early

  std::vector<void*> run(Allocator& allocator) const {
    std::vector<void*> addresses;
    const auto allocate = [&](std::size_t bytes) {
      return addresses.emplace_back(allocator.allocate(bytes));
    };
    void* first = allocate(1000);
    if (stop_after_first) {
      allocator.release(first);
      return addresses;
    }
    void* second_tensor = allocate(second);
    if (release_early) allocator.release(first);
    void* third = allocate(4096);
    if (!release_early) allocator.release(first);
    void* fourth = allocate(900);
    allocator.release(second_tensor);
    allocator.release(third);
    allocator.release(fourth);
    if (extra > 0) allocator.release(allocate(extra));
    return addresses;
  }
};

}  // namespace

TEST_CASE("a replayed step finds its tensors where they were", "[arena]") {
  cuda_mock::start();
  Allocator allocator(kCuda);
  CHECK(allocator.plan() == nullptr);
  allocator.begin_recording();
  Step().run(allocator);
  allocator.end_recording();
  REQUIRE(allocator.plan() != nullptr);
  CHECK(allocator.plan()->kept() == 0);
  CHECK(allocator.plan()->peak_bytes() == 1024 + 2048 + 4096);
  CHECK(allocator.plan()->bytes() == allocator.plan()->peak_bytes());  // the fourth lies where the first was
  CHECK(cuda_mock::live().memory == 1);  // the recorded step's own blocks are gone

  std::vector<void*> before;
  for (int replay = 0; replay < 3; ++replay) {
    allocator.begin_replay();
    const std::vector<void*> addresses = Step().run(allocator);
    CHECK(allocator.end_replay());
    CHECK(allocator.plan()->deviation().empty());
    if (replay > 0) CHECK(addresses == before);
    before = addresses;
    CHECK(before[3] == before[0]);
  }
  CHECK(cuda_mock::live().memory == 1);
  allocator.drop_plan();
  CHECK(allocator.plan() == nullptr);
  CHECK(allocator.bytes_in_use() == 0);
}

TEST_CASE("a step that departs from its plan is served as without one, and named", "[arena]") {
  cuda_mock::start();
  Allocator allocator(kCuda);
  allocator.begin_recording();
  Step().run(allocator);
  allocator.end_recording();
  const auto deviation_of = [&](const Step& step) {
    allocator.begin_replay();
    step.run(allocator);
    CHECK_FALSE(allocator.end_replay());
    CHECK(allocator.plan()->in_use() == 0);
    return allocator.plan()->deviation();
  };
  const std::string begin = "the step departs from its memory plan at allocation ";
  CHECK(deviation_of({.second = 2049}) == begin + "1 of 4: it allocates 2304 bytes where the plan has 2048");
  CHECK(deviation_of({.release_early = true}) ==
        begin + "2 of 4: it releases 1024 bytes earlier or later than the plan");
  CHECK(deviation_of({.extra = 10}) == begin + "4 of 4: it allocates 256 bytes where the plan has ended");
  CHECK(deviation_of({.stop_after_first = true}) ==
        begin + "1 of 4: it releases 1024 bytes earlier or later than the plan");
  allocator.begin_replay();
  CHECK_FALSE(allocator.end_replay());
  CHECK(allocator.plan()->deviation() == begin + "0 of 4: it ends where the plan allocates 1024 bytes");

  allocator.begin_replay();  // none of them harms the next step
  Step().run(allocator);
  CHECK(allocator.end_replay());
}

TEST_CASE("tensors of a step that departs never overlap", "[arena]") {
  cuda_mock::start();
  Allocator allocator(kCuda);
  allocator.begin_recording();
  void* a = allocator.allocate(1024);
  allocator.release(a);
  void* b = allocator.allocate(1024);
  allocator.release(b);
  allocator.end_recording();
  CHECK(allocator.plan()->bytes() == 1024);

  allocator.begin_replay();
  a = allocator.allocate(1024);
  b = allocator.allocate(1024);  // before a is released: it may not get a's place
  CHECK(a != b);
  CHECK_FALSE(allocator.end_replay());
  CHECK_THAT(allocator.plan()->deviation(),
             ContainsSubstring("allocates 1024 bytes before it has released what the plan releases there"));
  allocator.begin_replay();  // a is still in use
  void* c = allocator.allocate(1024);
  CHECK(c != a);
  CHECK(c != b);
  CHECK_FALSE(allocator.end_replay());
  CHECK_THAT(allocator.plan()->deviation(),
             ContainsSubstring("begins while 1 tensors of the step before are in use"));
  CHECK(failure_of([&] { allocator.drop_plan(); }).second ==
        "a memory plan is given up while tensors lie in its block");
  for (void* data : {a, b, c}) allocator.release(data);
  allocator.drop_plan();
  CHECK(allocator.bytes_in_use() == 0);
}

TEST_CASE("what outlives the recorded step has no place in its plan", "[arena]") {
  cuda_mock::start();
  Allocator allocator(kCuda);
  void* kept = allocator.allocate(512);
  const auto step = [&] {
    void* temporary = allocator.allocate(2048);
    void* next = allocator.allocate(512);
    allocator.release(kept);  // of the step before
    kept = next;
    allocator.release(temporary);
  };
  allocator.begin_recording();
  step();
  allocator.end_recording();
  CHECK(allocator.plan()->kept() == 1);
  CHECK(allocator.plan()->bytes() == 2048);
  for (int replay = 0; replay < 3; ++replay) {
    allocator.begin_replay();
    step();
    CHECK(allocator.end_replay());
  }
  CHECK(allocator.bytes_in_use() == 2048 + 512);
}

TEST_CASE("a plan that does not fit is no plan", "[arena]") {
  cuda_mock::start({.gpus = {{.memory = 8192}}});
  Allocator allocator(kCuda);
  void* kept = allocator.allocate(2048);
  allocator.begin_recording();
  allocator.release(allocator.allocate(4096));
  void* late = allocator.allocate(4096);  // takes the room that the plan would need
  CHECK_THROWS_AS(allocator.end_recording(), OutOfMemory);
  CHECK(allocator.plan() == nullptr);
  CHECK(failure_of([&] { allocator.begin_replay(); }).second == "a step is replayed that was not recorded");
  allocator.release(late);
  allocator.release(kept);
  CHECK(allocator.allocate(4096) != nullptr);
}

TEST_CASE("random steps are packed without overlap, near their peak", "[arena]") {
  for (unsigned seed = 0; seed < 20; ++seed) {
    std::mt19937 random(seed);
    struct Event {
      bool allocate;
      std::size_t tensor, bytes;
    };
    std::vector<Event> events;
    std::vector<std::size_t> in_use;
    for (std::size_t tensor = 0; tensor < 200;) {
      if (!in_use.empty() && random() % 2 == 0) {
        const std::size_t pick = random() % in_use.size();
        events.push_back({false, in_use[pick], 0});
        in_use.erase(in_use.begin() + static_cast<std::ptrdiff_t>(pick));
      } else {
        events.push_back({true, tensor, 1 + random() % 100000});
        in_use.push_back(tensor++);
      }
    }
    for (const std::size_t tensor : in_use) events.push_back({false, tensor, 0});

    Arena arena;
    std::vector<int> names(200);
    for (const Event& event : events)
      event.allocate ? arena.record_allocation(&names[event.tensor], event.bytes)
                     : arena.record_release(&names[event.tensor]);
    arena.pack();
    CHECK(arena.bytes() >= arena.peak_bytes());
    CHECK(arena.bytes() <= arena.peak_bytes() + arena.peak_bytes() / 4);

    arena.begin_replay();
    std::map<std::size_t, std::size_t> taken;  // offset: end
    std::vector<std::size_t> offsets(200);
    bool overlap = false;
    for (const Event& event : events) {
      if (!event.allocate) {
        taken.erase(offsets[event.tensor]);
        arena.release(offsets[event.tensor]);
        continue;
      }
      const std::optional<std::size_t> offset = arena.allocate(event.bytes);
      REQUIRE(offset.has_value());
      CHECK(*offset % 256 == 0);
      for (const auto& [begin, end] : taken) overlap |= *offset < end && begin < *offset + event.bytes;
      taken[*offset] = *offset + event.bytes;
      offsets[event.tensor] = *offset;
    }
    CHECK_FALSE(overlap);
    arena.end_replay();
    CHECK(arena.deviation().empty());
  }
}
