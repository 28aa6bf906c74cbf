#include "engine/plan_file.h"

#include <fmt/format.h>

#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "engine/atomic_file.h"
#include "kernels/core/error.h"

namespace zeroth {
namespace fs = std::filesystem;

namespace {

constexpr const char* kFormat = "zeroth-plans";
constexpr int kVersion = 1;

std::string checksum(const nlohmann::json& plans) {
  return fmt::format("{:016x}", fnv1a(plans.dump()));
}

/// The plans of a file's text. Throws std::exception, or a description of what is wrong as std::string.
std::map<std::string, std::string> parse(const std::string& text) {
  const nlohmann::json content = nlohmann::json::parse(text);
  const nlohmann::json& plans = content.at("plans");
  if (content.at("checksum") != checksum(plans)) throw std::string("its checksum is wrong");
  return plans.get<std::map<std::string, std::string>>();
}

/// Whether a text is JSON that says to be something else than what is read and written here.
bool is_foreign(const std::string& text) {
  const nlohmann::json content = nlohmann::json::parse(text, nullptr, false);
  return content.is_object() && (content.value("format", nlohmann::json()) != kFormat ||
                                 content.value("version", nlohmann::json()) != kVersion);
}

}  // namespace

std::uint64_t fnv1a(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const char letter : text) hash = (hash ^ static_cast<unsigned char>(letter)) * 0x100000001b3u;
  return hash;
}

PlanFile::PlanFile(fs::path run, fs::path user, Tell tell)
    : tell_(std::move(tell)), run_{std::move(run), {}}, user_{std::move(user), {}} {
  read(run_);
  read(user_);
}

std::optional<std::string> PlanFile::find(const std::string& problem) {
  if (const auto found = run_.plans.find(problem); found != run_.plans.end()) return found->second;
  const auto found = user_.plans.find(problem);
  if (found == user_.plans.end()) return std::nullopt;
  run_.plans.insert(*found);
  write(run_);
  return found->second;
}

void PlanFile::store(const std::string& problem, const std::string& choice) {
  run_.plans.insert_or_assign(problem, choice);
  write(run_);
  read(user_);  // others may have written
  user_.plans.insert_or_assign(problem, choice);
  write(user_);
}

void PlanFile::read(File& file) {
  if (file.path.empty()) return;
  std::string reason;
  try {
    std::error_code error;
    if (!fs::exists(file.path, error)) return;
    std::ifstream stream(file.path, std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(stream), {}};
    if (!stream || stream.bad()) throw std::string("it cannot be read");
    if (is_foreign(text)) {
      tell_(
          fmt::format("{} was written by another version: plans are chosen without it", file.path.string()));
      file.path.clear();
      return;
    }
    for (const auto& [problem, choice] : parse(text)) file.plans.insert_or_assign(problem, choice);
    return;
  } catch (const std::string& what) {
    reason = what;
  } catch (const std::exception& error) {
    reason = "it is no such file";
  }
  tell_(fmt::format("{} is damaged ({}): its plans are chosen anew", file.path.string(), reason));
}

void PlanFile::write(File& file) {
  if (file.path.empty()) return;
  std::string reason;
  try {
    fs::create_directories(file.path.parent_path());
    nlohmann::ordered_json content;
    const nlohmann::json plans = file.plans;
    content["format"] = kFormat;
    content["version"] = kVersion;
    content["checksum"] = checksum(plans);
    content["plans"] = plans;
    replace_file(file.path, content.dump(1) + "\n");
    return;
  } catch (const std::exception& error) {
    reason = error.what();
  }
  tell_(fmt::format("plans that were chosen by timing are not kept: {}", reason));
  file.path.clear();
}

}  // namespace zeroth
