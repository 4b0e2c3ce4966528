// SPDX-License-Identifier: Apache-2.0

#include "server/slabs.h"

#include <algorithm>
#include <functional>
#include <string>
#include <utility>

#include "transport/custody.h"

namespace silurus::server {

Result<std::span<std::byte>> RegisteredSlabs::allocate(std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  // A slab that could not be exposed everywhere keeps its number: listeners that have it count it.
  if (given_ == slabs_.size()) {
    std::function<Status(int)> before_seal;
    if (transport::Custody* const custody = transport::custody();
        custody != nullptr && slabs_.empty()) {
      before_seal = [custody](int fd) { return custody->hold_root(fd); };
    }
    auto slab =
        transport::shm::SharedSlab::create(bytes, "silurus-slab", options_.huge_pages, before_seal);
    if (!slab) return fail(slab.error());
    slabs_.push_back(std::move(*slab));
  }
  if (slabs_[given_].bytes().size() < bytes) {
    return fail(ErrorCode::kInvalidArgument, "slabs of different sizes were asked for");
  }
  for (Reader& reader : readers_) {
    if (auto ok = expose_all(reader); !ok) return fail(ok.error());
  }
  return slabs_[given_++].bytes().first(bytes);
}

Status RegisteredSlabs::expose_all(Reader& reader) {
  while (reader.exposed < slabs_.size()) {
    if (auto ok = reader.listener->expose(slabs_[reader.exposed].region()); !ok) return ok;
    ++reader.exposed;
  }
  return {};
}

Status RegisteredSlabs::add_listener(transport::Listener& listener) {
  const std::lock_guard lock(mutex_);
  Reader reader{&listener, 0};
  if (auto ok = expose_all(reader); !ok) return ok;
  readers_.push_back(reader);
  return {};
}

void RegisteredSlabs::remove_listeners() {
  const std::lock_guard lock(mutex_);
  readers_.clear();
}

std::uint64_t RegisteredSlabs::bytes() const {
  const std::lock_guard lock(mutex_);
  std::uint64_t total = 0;
  for (const auto& slab : slabs_) total += slab.bytes().size();
  return total;
}

bool RegisteredSlabs::huge() const {
  const std::lock_guard lock(mutex_);
  return std::ranges::all_of(slabs_, [](const auto& slab) { return slab.huge(); });
}

}  // namespace silurus::server
