// What the harness says about a fault: which thread waits where, for whom, in which kernel.

#include <cxxabi.h>
#include <elf.h>
#include <link.h>

#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <vector>

#include "kernels/core/error.h"
#include "kernels/simt/scheduler.h"

namespace zeroth::simt {

std::string to_string(Site site) {
  return std::string(site.file == nullptr ? "?" : site.file) + ":" + std::to_string(site.line);
}

std::string to_string(uint3 index) {
  char text[48];
  std::snprintf(text, sizeof(text), "(%u, %u, %u)", index.x, index.y, index.z);
  return text;
}

std::string hex(std::uint32_t mask) {
  char text[16];
  std::snprintf(text, sizeof(text), "0x%08x", mask);
  return text;
}

namespace {

/// The symbol table of an ELF file; empty where it was stripped. Kernels are often in unnamed namespaces, so
/// the dynamic symbols, which dladdr() knows, do not have them.
class SymbolTable {
 public:
  explicit SymbolTable(const char* path) {
    std::ifstream file(path, std::ios::binary);
    ElfW(Ehdr) header{};
    if (!read(file, 0, &header, 1) || std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return;
    std::vector<ElfW(Shdr)> sections(header.e_shnum);
    if (!read(file, header.e_shoff, sections.data(), sections.size())) return;
    for (const ElfW(Shdr) & section : sections) {
      if (section.sh_type != SHT_SYMTAB || section.sh_link >= sections.size()) continue;
      const ElfW(Shdr)& strings = sections[section.sh_link];
      symbols_.resize(section.sh_size / sizeof(ElfW(Sym)));
      names_.resize(strings.sh_size + 1);
      if (!read(file, section.sh_offset, symbols_.data(), symbols_.size()) ||
          !read(file, strings.sh_offset, names_.data(), strings.sh_size))
        symbols_.clear();
    }
  }

  std::string name_at(std::uintptr_t address) const {
    for (const ElfW(Sym) & symbol : symbols_)
      if (ELF64_ST_TYPE(symbol.st_info) == STT_FUNC && symbol.st_value == address &&
          symbol.st_name < names_.size())
        return &names_[symbol.st_name];
    return {};
  }

 private:
  template <class T>
  static bool read(std::ifstream& file, std::uint64_t offset, T* to, std::size_t count) {
    file.seekg(static_cast<std::streamoff>(offset));
    file.read(reinterpret_cast<char*>(to), static_cast<std::streamsize>(count * sizeof(T)));
    return file.good();
  }

  std::vector<ElfW(Sym)> symbols_;
  std::vector<char> names_;
};

}  // namespace

std::string function_name(const void* function) {
  struct Search {
    std::uintptr_t address;
    std::string name;
  } search{reinterpret_cast<std::uintptr_t>(function), {}};
  dl_iterate_phdr(
      [](dl_phdr_info* object, std::size_t, void* data) {
        Search& wanted = *static_cast<Search*>(data);
        for (int i = 0; i < object->dlpi_phnum; ++i) {
          const ElfW(Phdr)& part = object->dlpi_phdr[i];
          const std::uintptr_t begin = object->dlpi_addr + part.p_vaddr;
          if (part.p_type != PT_LOAD || wanted.address < begin || wanted.address >= begin + part.p_memsz)
            continue;
          const bool is_program = object->dlpi_name == nullptr || *object->dlpi_name == '\0';
          wanted.name = SymbolTable(is_program ? "/proc/self/exe" : object->dlpi_name)
                            .name_at(wanted.address - object->dlpi_addr);
          return 1;
        }
        return 0;
      },
      &search);
  if (search.name.empty()) return "at address " + std::to_string(search.address);
  int status = 0;
  const std::unique_ptr<char, void (*)(void*)> readable(
      abi::__cxa_demangle(search.name.c_str(), nullptr, nullptr, &status), std::free);
  return status == 0 ? readable.get() : search.name;
}

std::string Scheduler::where() const {
  return "kernel " + function_name(request_->kernel) + ", launched at " + to_string(request_->site) +
         ", block " + to_string(now.block_index);
}

void Scheduler::fail(const std::string& what) const {
  throw Error(ErrorKind::runtime, "simt: " + what + " [" + where() + "]");
}

void Scheduler::note_failure(const std::string& what) {
  try {
    fail(what);
  } catch (...) {
    if (!failure_) failure_ = std::current_exception();
  }
}

std::string Scheduler::describe(unsigned rank) const {
  const Thread& thread = thread_[rank];
  const std::string name = "thread " + to_string(thread.index);
  switch (thread.state) {
    case ThreadState::exited:
      return name + " has returned from the kernel";
    case ThreadState::at_barrier:
      return name + " waits at " + thread.waits_for + " at " + to_string(thread.site);
    case ThreadState::in_collective:
      return name + " waits at " + thread.waits_for + " at " + to_string(thread.site) + " with mask " +
             hex(thread.mask);
    default:
      return name + " has not started";
  }
}

/// The running thread comes to a barrier while others wait at another.
void Scheduler::report_divergence(const char* name, Site site) {
  fail("divergent barrier: thread " + to_string(thread_[rank_].index) + " is at " + name + " at " +
       to_string(site) + ", but " + describe(barrier_first_));
}

/// No thread can go on. A warp collective that lacks a lane is told first: a barrier that lacks threads may
/// lack them because of it.
void Scheduler::report_stall() {
  for (unsigned first = 0; first < threads_; first += kWarp) {
    for (const Gathering& gathering : warps_[first / kWarp].gatherings) {
      if (gathering.arrived == 0) continue;
      const auto here = static_cast<unsigned>(std::countr_zero(gathering.arrived));
      const auto missing = static_cast<unsigned>(std::countr_zero(gathering.mask & ~gathering.arrived));
      fail("a warp collective lacks lanes: " + describe(first + here) + ", but " + describe(first + missing));
    }
  }
  unsigned missing = 0;
  while (thread_[missing].state == ThreadState::at_barrier) ++missing;
  fail("divergent barrier: " + describe(barrier_first_) + " with " + std::to_string(barrier_arrived_) +
       " of " + std::to_string(threads_) + " threads, but " + describe(missing));
}

}  // namespace zeroth::simt
