// SPDX-License-Identifier: Apache-2.0

#include "server/load.h"

#include <algorithm>
#include <new>
#include <utility>

#include "common/units.h"
#include "server/limits.h"

namespace silurus::server {

Error load_is_under_way() {
  return {ErrorCode::kConflict, "a bulk load is under way: writes are taken again when it is done"};
}

Error with_remedy(Error error) {
  if (error.code == ErrorCode::kOutOfMemory) {
    error.message += ": start the server with a larger --memory";
  }
  return error;
}

template <int D>
Result<std::unique_ptr<Load<D>>> Load<D>::begin(LoadSlot& slot) {
  if (!slot.try_take()) {
    return fail(ErrorCode::kConflict,
                "another bulk load is under way: one at a time, try again when it is done");
  }
  return std::unique_ptr<Load>(new Load(slot));
}

template <int D>
Status Load<D>::stage(const protocol::Array<rtree::Entry<D>>& entries, bool lonlat) {
  const std::uint64_t bytes = (count_ + entries.size()) * sizeof(rtree::Entry<D>);
  if (bytes > slot_.staging_limit_bytes()) {
    return fail(ErrorCode::kOutOfMemory,
                "the load needs more than the " + format_size(slot_.staging_limit_bytes()) +
                    " that staged entries may take of the server's memory budget: start the "
                    "server with a larger --memory");
  }
  try {
    if (pieces_.empty() || pieces_.back().size() + entries.size() > pieces_.back().capacity()) {
      pieces_.emplace_back().reserve(std::max(kStagingPieceEntries, entries.size()));
    }
  } catch (const std::bad_alloc&) {
    return fail(ErrorCode::kOutOfMemory, "the server's machine has no memory left for the load");
  }
  if (auto ok = protocol::append_entries<D>(entries, pieces_.back(), lonlat); !ok) return ok;
  count_ += entries.size();
  slot_.set_staged_bytes(bytes);
  return {};
}

template <int D>
std::vector<rtree::Entry<D>> Load<D>::take_entries() {
  std::vector<rtree::Entry<D>> all;
  all.reserve(count_);
  for (auto& piece : pieces_) {
    all.insert(all.end(), piece.begin(), piece.end());
    std::vector<rtree::Entry<D>>().swap(piece);
  }
  pieces_.clear();
  count_ = 0;
  return all;
}

template class Load<2>;
template class Load<3>;

}  // namespace silurus::server
