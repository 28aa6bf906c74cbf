#include "apps/processor.h"

#include <algorithm>
#include <fstream>
#include <sstream>

namespace zeroth::app {

Processor read_processor() {
  static const std::vector<std::string> interesting{"avx2",        "fma",      "avx512f",     "avx512_vnni",
                                                    "avx512_bf16", "amx_bf16", "avx512_fp16", "asimd",
                                                    "sve",         "bf16"};
  Processor processor;
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line) && !line.empty();) {
    const std::size_t colon = line.find(':');
    if (colon == std::string::npos || colon + 2 > line.size()) continue;
    const std::string key = line.substr(0, line.find_last_not_of(" \t:", colon) + 1),
                      value = line.substr(colon + 2);
    if (key == "model name") processor.name = value;
    if (key != "flags" && key != "Features") continue;
    std::istringstream words(value);
    for (std::string word; words >> word;)
      if (std::find(interesting.begin(), interesting.end(), word) != interesting.end())
        processor.features.push_back(word);
  }
  return processor;
}

}  // namespace zeroth::app
