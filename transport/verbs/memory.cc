// SPDX-License-Identifier: Apache-2.0

#include "transport/verbs/memory.h"

#include <sys/mman.h>

#include <cerrno>
#include <string>

#include "transport/verbs/error.h"

namespace silurus::transport::verbs {

Result<Pages> Pages::allocate(std::size_t bytes) {
  constexpr std::size_t kPage = 4096;
  bytes = (bytes + kPage - 1) / kPage * kPage;
  void* const memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  if (memory == MAP_FAILED) {
    return fail(errno_error(ErrorCode::kOutOfMemory,
                            "cannot allocate " + std::to_string(bytes) + " bytes", errno));
  }
  return Pages(std::unique_ptr<std::byte, Unmap>(static_cast<std::byte*>(memory), Unmap{bytes}));
}

void Pages::Unmap::operator()(std::byte* memory) const { munmap(memory, bytes); }

Result<MemoryRegion> Registration::pin(Device& device, std::span<std::byte> bytes, int access) {
  MemoryRegion region(ibv_reg_mr(device.domain(), bytes.data(), bytes.size(), access));
  if (!region) {
    return fail(call_error(
        "ibv_reg_mr", "of " + std::to_string(bytes.size()) + " bytes on " + device.name(), errno));
  }
  return region;
}

Result<SendSource> SendSource::create(const std::shared_ptr<Device>& device,
                                      std::span<std::byte> bytes) {
  auto region = pin(*device, bytes, 0);
  if (!region) return fail(std::move(region.error()));
  return SendSource(device, std::move(*region), bytes);
}

Result<LandingArea> LandingArea::create(const std::shared_ptr<Device>& device,
                                        std::span<std::byte> bytes) {
  auto region = pin(*device, bytes, IBV_ACCESS_LOCAL_WRITE);
  if (!region) return fail(std::move(region.error()));
  return LandingArea(device, std::move(*region), bytes);
}

Result<PeerReadable> PeerReadable::create(const std::shared_ptr<Device>& device,
                                          std::span<std::byte> bytes) {
  auto region = pin(*device, bytes, IBV_ACCESS_REMOTE_READ);
  if (!region) return fail(std::move(region.error()));
  return PeerReadable(device, std::move(*region), bytes);
}

Result<PeerWritable> PeerWritable::create(const std::shared_ptr<Device>& device,
                                          std::span<std::byte> bytes) {
  auto region = pin(*device, bytes, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
  if (!region) return fail(std::move(region.error()));
  return PeerWritable(device, std::move(*region), bytes);
}

}  // namespace silurus::transport::verbs
