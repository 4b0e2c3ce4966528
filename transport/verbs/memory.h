// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "common/result.h"
#include "transport/verbs/device.h"

// Memory registered with a device, one type for each thing that it may be used for: a card refuses
// everything else. Registering pins the pages: set-up, never per query. Any thread.

namespace silurus::transport::verbs {

/// Zeroed pages of our own.
class Pages {
 public:
  static Result<Pages> allocate(std::size_t bytes);
  std::span<std::byte> bytes() const { return {memory_.get(), memory_.get_deleter().bytes}; }

 private:
  struct Unmap {
    std::size_t bytes;
    void operator()(std::byte* memory) const;
  };
  explicit Pages(std::unique_ptr<std::byte, Unmap> memory) : memory_(std::move(memory)) {}

  std::unique_ptr<std::byte, Unmap> memory_;
};

/// What all uses share. The memory must outlive it.
class Registration {
 public:
  std::span<std::byte> bytes() const { return bytes_; }
  std::uint64_t address() const { return reinterpret_cast<std::uint64_t>(bytes_.data()); }
  /// For our own work requests.
  std::uint32_t local_key() const { return region_->lkey; }

 protected:
  Registration(std::shared_ptr<Device> device, MemoryRegion region, std::span<std::byte> bytes)
      : device_(std::move(device)), region_(std::move(region)), bytes_(bytes) {}
  static Result<MemoryRegion> pin(Device& device, std::span<std::byte> bytes, int access);
  std::uint32_t remote_key() const { return region_->rkey; }

 private:
  std::shared_ptr<Device> device_;
  MemoryRegion region_;
  std::span<std::byte> bytes_;
};

/// Our writes and messages are sent from here.
class SendSource : public Registration {
 public:
  static Result<SendSource> create(const std::shared_ptr<Device>& device,
                                   std::span<std::byte> bytes);

 private:
  using Registration::Registration;
};

/// Our one-sided reads, and datagrams, land here.
class LandingArea : public Registration {
 public:
  static Result<LandingArea> create(const std::shared_ptr<Device>& device,
                                    std::span<std::byte> bytes);

 private:
  using Registration::Registration;
};

/// Peers may read this one-sidedly, and no more.
class PeerReadable : public Registration {
 public:
  static Result<PeerReadable> create(const std::shared_ptr<Device>& device,
                                     std::span<std::byte> bytes);
  using Registration::remote_key;

 private:
  using Registration::Registration;
};

/// One peer writes its messages and mailbox here; it may not read.
class PeerWritable : public Registration {
 public:
  static Result<PeerWritable> create(const std::shared_ptr<Device>& device,
                                     std::span<std::byte> bytes);
  using Registration::remote_key;

 private:
  using Registration::Registration;
};

}  // namespace silurus::transport::verbs
