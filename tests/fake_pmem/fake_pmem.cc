// SPDX-License-Identifier: Apache-2.0

#include "tests/fake_pmem/fake_pmem.h"

#include <fcntl.h>
#include <libpmem.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "common/check.h"
#include "common/random.h"

namespace silurus::testing_support {
namespace {

constexpr std::size_t kLine = 64;
constexpr std::size_t kWord = 8;

/// A mapped file, or one whose content at the power failure is still to be written.
struct Mapping {
  std::string path;
  std::byte* image = nullptr;              ///< what the processor sees; nullptr: unmapped
  std::vector<std::byte> medium;           ///< what is durable
  std::vector<std::size_t> flushing = {};  ///< lines whose write-back was begun
};

struct Machine {
  Random random;
  std::uint64_t steps = 0;
  std::uint64_t fails_at = UINT64_MAX;
  bool is_off = false;
  std::vector<Mapping> mappings = {};
};

Machine* the_machine = nullptr;

/// Nothing: it was not mapped by pmem_map_file().
Mapping* find(const void* address) {
  const auto* at = static_cast<const std::byte*>(address);
  for (Mapping& mapping : the_machine->mappings) {
    if (mapping.image != nullptr && at >= mapping.image &&
        at < mapping.image + mapping.medium.size()) {
      return &mapping;
    }
  }
  return nullptr;
}

/// The caches may have written back some of what is not durable.
void lose_power() {
  the_machine->is_off = true;
  for (Mapping& mapping : the_machine->mappings) {
    if (mapping.image == nullptr) continue;
    for (std::size_t word = 0; word < mapping.medium.size(); word += kWord) {
      if (std::memcmp(&mapping.medium[word], mapping.image + word, kWord) != 0 &&
          the_machine->random.below(2) == 0) {
        std::memcpy(&mapping.medium[word], mapping.image + word, kWord);
      }
    }
  }
}

/// Whether the step is done.
bool step() {
  if (!the_machine->is_off && the_machine->steps++ == the_machine->fails_at) lose_power();
  return !the_machine->is_off;
}

void mark_flushing(const void* address, std::size_t length) {
  Mapping* const found = find(address);
  SILURUS_CHECK(found != nullptr);
  Mapping& mapping = *found;
  const auto offset =
      static_cast<std::size_t>(static_cast<const std::byte*>(address) - mapping.image);
  for (std::size_t line = offset / kLine; line <= (offset + length - 1) / kLine; ++line) {
    mapping.flushing.push_back(line);
  }
}

}  // namespace

FakePmem::FakePmem(std::uint64_t seed) {
  SILURUS_CHECK(the_machine == nullptr);
  the_machine = new Machine{.random = Random(seed)};
}

FakePmem::~FakePmem() { delete std::exchange(the_machine, nullptr); }

void FakePmem::cut_after(std::uint64_t steps) {
  the_machine->fails_at = steps == UINT64_MAX ? steps : the_machine->steps + steps;
}

bool FakePmem::is_off() const { return the_machine->is_off; }

std::uint64_t FakePmem::steps() const { return the_machine->steps; }

void FakePmem::reboot() {
  for (const Mapping& mapping : the_machine->mappings) {
    SILURUS_CHECK(mapping.image == nullptr);
    const int fd = ::open(mapping.path.c_str(), O_WRONLY | O_CLOEXEC);
    SILURUS_CHECK(fd >= 0);
    SILURUS_CHECK(::pwrite(fd, mapping.medium.data(), mapping.medium.size(), 0) ==
                  static_cast<ssize_t>(mapping.medium.size()));
    ::close(fd);
  }
  the_machine->mappings.clear();
  the_machine->is_off = false;
  the_machine->fails_at = UINT64_MAX;
}

}  // namespace silurus::testing_support

// What the program links instead of libpmem's.

using namespace silurus::testing_support;

extern "C" {

void* pmem_map_file(const char* path, std::size_t, int, mode_t, std::size_t* length, int* is_pmem) {
  const int fd = open(path, O_RDWR | O_CLOEXEC);
  if (fd < 0) return nullptr;
  struct stat status {};
  SILURUS_CHECK(fstat(fd, &status) == 0);
  *length = static_cast<std::size_t>(status.st_size);
  void* at = mmap(nullptr, *length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  if (at == MAP_FAILED) return nullptr;
  *is_pmem = 1;
  auto* const image = static_cast<std::byte*>(at);
  the_machine->mappings.push_back(
      {.path = path, .image = image, .medium = std::vector<std::byte>(image, image + *length)});
  return at;
}

int pmem_unmap(void* address, std::size_t length) {
  // What is mapped to be read alone is unmapped by it, too.
  if (Mapping* const mapping = find(address)) mapping->image = nullptr;
  return munmap(address, length);
}

void* pmem_memcpy(void* to, const void* from, std::size_t length, unsigned flags) {
  if (length == 0 || !step()) return to;
  std::memcpy(to, from, length);
  if ((flags & PMEM_F_MEM_NOFLUSH) == 0) mark_flushing(to, length);
  if ((flags & (PMEM_F_MEM_NODRAIN | PMEM_F_MEM_NOFLUSH)) == 0) pmem_drain();
  return to;
}

void pmem_flush(const void* address, std::size_t length) {
  if (length != 0 && step()) mark_flushing(address, length);
}

void pmem_drain() {
  if (!step()) return;
  for (Mapping& mapping : the_machine->mappings) {
    if (mapping.image == nullptr) continue;
    for (const std::size_t line : std::exchange(mapping.flushing, {})) {
      const std::size_t offset = line * kLine;
      std::memcpy(&mapping.medium[offset], mapping.image + offset,
                  std::min(kLine, mapping.medium.size() - offset));
    }
  }
}

int pmem_msync(const void* address, std::size_t length) {
  pmem_flush(address, length);
  pmem_drain();
  return 0;
}

}  // extern "C"
