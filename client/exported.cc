// SPDX-License-Identifier: Apache-2.0

#include "client/exported.h"

#include <cstring>
#include <string>

#include "client/internal.h"
#include "common/json.h"
#include "protocol/decode.h"

namespace silurus::client {
namespace {

using protocol::TaskKind;

}  // namespace

template <int D>
Result<Listing> begin_export(Client<D>& client) {
  const auto text = Internal::run_task(client, {.kind = TaskKind::kExport});
  if (!text) return fail(text.error());
  const auto json = parse_json(*text);
  if (!json.is_object()) return fail(ErrorCode::kProtocol, "the server sent a malformed answer");
  return Listing{.version = json_number(json, "version"),
                 .entries = json_number(json, "entries"),
                 .pages = json_number(json, "pages")};
}

template <int D>
Result<std::vector<Operation<D>>> read_page(Client<D>& client, std::uint64_t index) {
  const auto bytes =
      Internal::run_task(client, {.kind = TaskKind::kExportPage, .from = 0, .to = index});
  if (!bytes) return fail(bytes.error());
  if (bytes->size() % sizeof(Operation<D>) != 0) {
    return fail(ErrorCode::kProtocol, "the server answers with part of an operation");
  }
  std::vector<Operation<D>> operations(bytes->size() / sizeof(Operation<D>));
  if (!operations.empty()) std::memcpy(operations.data(), bytes->data(), bytes->size());
  for (const Operation<D>& one : operations) {
    const bool is_update = one.kind == OperationKind::kUpdate;
    if (one.kind > OperationKind::kUpdate || !rtree::check_box(one.box) ||
        (is_update && !rtree::check_box(one.to))) {
      return fail(ErrorCode::kProtocol, "the server sent a malformed operation");
    }
  }
  return operations;
}

#define SILURUS_INSTANTIATE(D)                       \
  template Result<Listing> begin_export(Client<D>&); \
  template Result<std::vector<Operation<D>>> read_page(Client<D>&, std::uint64_t);
SILURUS_INSTANTIATE(2)
SILURUS_INSTANTIATE(3)
#undef SILURUS_INSTANTIATE

}  // namespace silurus::client
