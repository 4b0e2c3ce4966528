// SPDX-License-Identifier: Apache-2.0

#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "fuzz/target.h"

// What libFuzzer calls. "PROGRAM --seeds=FOLDER" writes the seeds into a folder and does nothing
// else.

namespace {

[[noreturn]] void write_seeds(const std::string& folder) {
  int number = 0;
  for (const std::string& seed : silurus::fuzz::seeds()) {
    const std::string path = folder + "/seed-" + std::to_string(number++);
    std::ofstream file(path, std::ios::binary);
    file << seed;
    if (!file.flush()) {
      std::fprintf(stderr, "cannot write %s\n", path.c_str());
      std::exit(1);
    }
  }
  std::exit(0);
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  constexpr std::string_view kSeeds = "--seeds=";
  const std::string_view first = *argc == 2 ? (*argv)[1] : "";
  if (first.starts_with(kSeeds)) write_seeds(std::string(first.substr(kSeeds.size())));
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  silurus::fuzz::try_input({reinterpret_cast<const std::byte*>(data), size});
  return 0;
}
