// A file of plans; where the first byte is even, only their text, in a file that is otherwise whole.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "engine/plan_file.h"
#include "tests/fuzz/target.h"

namespace zeroth::fuzz {

void fuzz(Bytes input) {
  if (input.empty()) return;
  std::string text = as_text(input.subspan(1));
  if (input[0] % 2 == 0) {
    const nlohmann::json plans = nlohmann::json::parse(text, nullptr, false);
    if (plans.is_discarded()) return;
    const std::string dumped = plans.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    text = fmt::format(R"({{"format": "zeroth-plans", "version": 1, "checksum": "{:016x}", "plans": {}}})",
                       fnv1a(dumped), dumped);
  }
  const std::filesystem::path run = scratch() / "plans.json", user = scratch() / "user" / "plans.json";
  write_file(run, {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  std::filesystem::remove(user);
  expect_answer([&] {
    PlanFile plans(run, user, [](const std::string& line) {
      expect(!line.empty() && line.find('\n') == std::string::npos, "told in something else than a line");
    });
    plans.store("conv2d forward", "engine 7");
    expect(plans.find("conv2d forward") == "engine 7", "a plan was not kept");
  });
}

}  // namespace zeroth::fuzz
