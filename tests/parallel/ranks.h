#pragma once

#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "engine/parallel/rendezvous.h"
#include "kernels/core/error.h"

namespace zeroth::test {

/// A listening socket on a free port, for rank 0.
struct Meeting {
  Socket listener = listen_on(0);
  int port = port_of(listener);

  RendezvousConfig config(int rank, int size) {
    RendezvousConfig result;
    result.rank = rank;
    result.size = size;
    result.port = port;
    if (rank == 0) result.listener = listener.release();
    result.limits = {std::chrono::milliseconds(20000), std::chrono::milliseconds(20000),
                     std::chrono::milliseconds(60000)};
    return result;
  }
};

/// What a rank's thread checks: Catch's own macros are for one thread. Throws, which run_ranks() returns.
inline void expect(bool holds, const std::string& what) {
  if (!holds) throw std::runtime_error("not so: " + what);
}

/// Runs `body` once for each rank, each on a thread, and returns what each threw: "" for nothing.
inline std::vector<std::string> run_ranks(int size, const std::function<void(int rank)>& body) {
  std::vector<std::string> thrown(static_cast<std::size_t>(size));
  std::vector<std::thread> threads;
  for (int rank = 0; rank < size; ++rank)
    threads.emplace_back([&, rank] {
      try {
        body(rank);
      } catch (const std::exception& error) {
        thrown[static_cast<std::size_t>(rank)] = error.what();
      }
    });
  for (std::thread& thread : threads) thread.join();
  return thrown;
}

}  // namespace zeroth::test
