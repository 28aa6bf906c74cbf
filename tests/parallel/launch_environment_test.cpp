#include "engine/parallel/launch_environment.h"

#include <map>

#include "kernels/core/error.h"
#include "tests/catch.h"

using namespace zeroth;

namespace {

using Variables = std::map<std::string, std::string>;

std::optional<LaunchPlace> place(const Variables& variables) {
  return launch_place([&](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

std::string refusal(const Variables& variables) {
  try {
    place(variables);
  } catch (const Error& error) {
    CHECK(error.kind() == ErrorKind::usage);
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("a process that no launcher has started has no place") {
  CHECK(!place({}));
  CHECK(!place({{"RANK", ""}, {"MASTER_ADDR", "node1"}}));
}

TEST_CASE("torchrun's variables") {
  const auto found = place({{"RANK", "5"},
                            {"WORLD_SIZE", "8"},
                            {"LOCAL_RANK", "1"},
                            {"LOCAL_WORLD_SIZE", "4"},
                            {"MASTER_ADDR", "node1"},
                            {"MASTER_PORT", "1234"},
                            {"SLURM_PROCID", "0"}});
  REQUIRE(found);
  CHECK(found->rank == 5);
  CHECK(found->size == 8);
  CHECK(found->local_rank == 1);
  CHECK(found->local_size == 4);
  CHECK(found->master == "node1");
  CHECK(found->port == 1234);
  CHECK(found->launcher == "torchrun");
}

TEST_CASE("mpirun's variables come before those of the Slurm job that it runs in") {
  Variables variables{
      {"OMPI_COMM_WORLD_RANK", "3"},       {"OMPI_COMM_WORLD_SIZE", "4"}, {"OMPI_COMM_WORLD_LOCAL_RANK", "3"},
      {"OMPI_COMM_WORLD_LOCAL_SIZE", "4"}, {"SLURM_PROCID", "0"},         {"SLURM_NTASKS", "4"}};
  const auto found = place(variables);
  REQUIRE(found);
  CHECK(found->rank == 3);
  CHECK(found->master == "127.0.0.1");
  CHECK(found->port == 29500);
  variables["OMPI_COMM_WORLD_LOCAL_SIZE"] = "2";
  variables["OMPI_COMM_WORLD_LOCAL_RANK"] = "1";
  CHECK(refusal(variables) ==
        "the environment has OMPI_COMM_WORLD_RANK=3, but no MASTER_ADDR, the host of rank 0");
  CHECK(place({{"PMI_RANK", "1"}, {"PMI_SIZE", "2"}, {"MASTER_ADDR", "a"}})->rank == 1);
}

TEST_CASE("srun's variables") {
  const auto found = place({{"SLURM_PROCID", "2"},
                            {"SLURM_NTASKS", "16"},
                            {"SLURM_STEP_NUM_TASKS", "4"},
                            {"SLURM_LOCALID", "0"},
                            {"SLURM_JOB_ID", "123456"},
                            {"SLURM_NODELIST", "gpu[07-09,12],login1"}});
  REQUIRE(found);
  CHECK(found->size == 4);
  CHECK(found->master == "gpu07");
  CHECK(found->port == 20000 + 123456 % 20000);
}

TEST_CASE("Slurm's lists of hosts") {
  CHECK(first_slurm_host("node1") == "node1");
  CHECK(first_slurm_host("node1,node2") == "node1");
  CHECK(first_slurm_host("n[3]") == "n3");
  CHECK(first_slurm_host("a[001-100]-ib,b7") == "a001-ib");
  CHECK(first_slurm_host("rack[2-3]node[05,07]") == "rack2node05");
  for (const char* bad : {"", "n[", "n[]", "n[a-b]", "n[1", ",", "n]", "n m", "[1]x["})
    CHECK_THROWS_AS(first_slurm_host(bad), Error);
}

TEST_CASE("variables that cannot be are named") {
  const Variables right{{"RANK", "1"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "a"}, {"MASTER_PORT", "5000"}};
  REQUIRE(place(right));
  const auto with = [&](const std::string& name, const std::string& value) {
    Variables changed = right;
    changed[name] = value;
    return refusal(changed);
  };
  CHECK(with("RANK", "one") == "the environment has RANK=one: expected a whole number from 0 to 65535");
  CHECK(with("RANK", "-1") != "");
  CHECK(with("RANK", "1 ") != "");
  CHECK(with("RANK", "99999999999999999999") != "");
  CHECK(with("RANK", "2") == "the environment has RANK=2: the 2 ranks are numbered from 0 to 1");
  CHECK(with("WORLD_SIZE", "0") != "");
  CHECK(with("WORLD_SIZE", "") == "the environment has RANK, but no WORLD_SIZE: torchrun sets both");
  CHECK(with("MASTER_PORT", "65535") != "");
  CHECK(with("LOCAL_WORLD_SIZE", "3") != "");
  CHECK(with("LOCAL_RANK", "2") != "");
  CHECK(with("MASTER_ADDR", "") == "the environment has RANK=1, but no MASTER_ADDR, the host of rank 0");
}
