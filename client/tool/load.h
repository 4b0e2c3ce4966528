// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "client/full_tree.h"
#include "client/tool/arguments.h"
#include "client/tool/load_ledger.h"
#include "client/tool/output.h"
#include "client/tool/progress.h"
#include "datasets/source.h"
#include "silurus/client.h"
#include "silurus/router.h"

namespace silurus::tool {

/// Loads a source into a server (Client<D>) or a cluster (Router<D>): in bulk into an empty tree,
/// else by inserts. One load; one thread. Its errors end with a sentence that says what is in the
/// tree, and how to go on.
template <int D, typename Connection>
class Loader {
  static constexpr bool kOneServer = std::is_same_v<Connection, Client<D>>;

 public:
  Loader(Connection& connection, datasets::Source<D>& source, const LoadCommand& command,
         const Settings& settings)
      : client_(connection),
        source_(source),
        command_(command),
        settings_(settings),
        ledger_(command.skip) {}

  /// What the load did; columns and times are the caller's.
  Result<LoadReport> run(Progress& progress) {
    if (auto ok = pass_over(); !ok) return fail(ok.error());
    const Status started = client_.load_begin();
    progress.say("reading " + command_.source);
    // By inserts if the tree is not empty, or if this user may write and not load in bulk.
    const bool may_insert = !started && (started.error().code == ErrorCode::kConflict ||
                                         started.error().code == ErrorCode::kPermission);
    if (!started && !may_insert) return fail(started.error());
    report_.bulk = started.has_value();
    const Status loaded = report_.bulk ? load_in_bulk(progress) : load_by_inserts(progress);
    if (!loaded) return fail(loaded.error());
    return report_;
  }

 private:
  static constexpr std::size_t kReadBatch = 1 << 14;
  static constexpr std::size_t kBatchesInFlight = 8;  // when a load is done by inserts
  static constexpr std::size_t kCheckBatch = 512;     // entries that are looked for together

  /// Reads the entries that --skip leaves out.
  Status pass_over() {
    std::vector<Entry<D>> batch(std::min<std::uint64_t>(command_.skip, kReadBatch));
    for (std::uint64_t left = command_.skip; left > 0;) {
      const auto count =
          source_.read(std::span(batch).first(std::min<std::uint64_t>(left, batch.size())));
      if (!count) return fail(count.error());
      if (*count == 0) {
        return fail(ErrorCode::kInvalidArgument, command_.source + " has " +
                                                     std::to_string(command_.skip - left) +
                                                     " entries, fewer than --skip leaves out");
      }
      left -= *count;
    }
    return {};
  }

  double fraction() const {
    const datasets::Progress progress = source_.progress();
    if (progress.total == 0) return -1;
    return static_cast<double>(progress.done) / static_cast<double>(progress.total);
  }

  /// Reads all that is left of the source, handing it on batch by batch.
  template <typename Take>
  Status read_all(Progress& progress, Take&& take) {
    std::vector<Entry<D>> batch(kReadBatch);
    for (std::uint64_t read = 0;;) {
      const auto count = source_.read(batch);
      if (!count) return fail(count.error());
      if (*count == 0) return {};
      if (auto ok = take(std::span<const Entry<D>>(batch).first(*count)); !ok) return ok;
      progress.update(fraction(), read += *count);
    }
  }

  Status load_in_bulk(Progress& progress) {
    const Status sent = read_all(progress, [&](std::span<const Entry<D>> entries) {
      report_.loaded += entries.size();
      return client_.load_add(entries);
    });
    if (!sent) {
      // The first error is the one to tell; the server drops the load with the connection anyway,
      // and one that doesn't answer isn't waited for again.
      if (sent.error().code != ErrorCode::kDeadlineExceeded) {
        static_cast<void>(client_.load_abort());
      }
      return fail(sent.error().code,
                  sent.error().message + " (nothing of this load is in the tree)");
    }
    progress.say("waiting for the server to build the tree");
    const auto committed = client_.load_commit(command_.fill);
    if (!committed) {
      return fail(committed.error().code,
                  committed.error().message +
                      " (this load is in the tree as a whole, or not at all: silurus stats shows "
                      "how many entries are)");
    }
    report_.version = committed->version;
    return {};
  }

  Status load_by_inserts(Progress& progress) {
    const Status sent =
        read_all(progress, [&](std::span<const Entry<D>> entries) { return take(entries); });
    if constexpr (kOneServer) client_.wait();
    report_.loaded = ledger_.inserted();
    report_.found = ledger_.found();
    if (sent && !error_) return {};
    const Error& error = error_ ? *error_ : sent.error();
    const std::string why =
        error.code == ErrorCode::kOutOfMemory ? full_tree_text() : error.message;
    return fail(error.code, why + " (" + left_by_load(ledger_, command_, settings_) + ")");
  }

  std::string full_tree_text() {
    // Which of several servers is full, no error says.
    Result<ServerStatistics> says = fail(ErrorCode::kUnavailable, "there are several servers");
    if constexpr (kOneServer) says = client_.server_statistics();
    return client::full_tree_text(says);
  }

  /// Inserts the next entries of the source; those that --check is for only if they are not in.
  Status take(std::span<const Entry<D>> entries) {
    const std::size_t to_check = std::min<std::uint64_t>(entries.size(), left_to_check());
    for (std::size_t at = 0; at < to_check && !error_; at += kCheckBatch) {
      const auto part = entries.subspan(at, std::min(kCheckBatch, to_check - at));
      const auto are_in = find(part);
      if (!are_in) return fail(are_in.error());
      if (auto ok = send_missing(part, *are_in); !ok) return ok;
    }
    if (error_) return fail(*error_);
    if (auto ok = send(entries.subspan(to_check)); !ok) return ok;
    return error_ ? Status(fail(*error_)) : Status();
  }

  std::uint64_t left_to_check() {
    const std::uint64_t done = ledger_.sent() - command_.skip;
    return command_.check > done ? command_.check - done : 0;
  }

  /// Which entries the tree holds, id and box. Boxes that contain an entry's box are few, however
  /// large it is.
  Result<std::vector<bool>> find(std::span<const Entry<D>> entries) {
    std::vector<RangeAnswer<D>> answers;
    if constexpr (kOneServer) {
      std::vector<rtree::RangeQuery<D>> queries;
      for (const auto& entry : entries) {
        queries.push_back({entry.box, Predicate::kContains, ResultShape::kEntries});
      }
      auto found = client_.range_batch(queries);
      if (!found) return fail(found.error());
      answers = std::move(*found);
    } else {
      for (const auto& entry : entries) {
        auto found = client_.range(
            entry.box, {.predicate = Predicate::kContains, .shape = ResultShape::kEntries});
        if (!found) return fail(found.error());
        answers.push_back(std::move(*found));
      }
    }
    std::vector<bool> are_in;
    for (std::size_t i = 0; i < entries.size(); ++i) {
      bool is_in = false;
      for (std::size_t j = 0; j < answers[i].ids.size() && !is_in; ++j) {
        is_in = answers[i].ids[j] == entries[i].id && answers[i].boxes[j] == entries[i].box;
      }
      are_in.push_back(is_in);
    }
    return are_in;
  }

  /// Runs of entries that are in, and of others, which are sent.
  Status send_missing(std::span<const Entry<D>> entries, const std::vector<bool>& are_in) {
    for (std::size_t begin = 0; begin < entries.size() && !error_;) {
      std::size_t end = begin + 1;
      while (end < entries.size() && are_in[end] == are_in[begin]) ++end;
      if (are_in[begin]) {
        ledger_.find(end - begin);
      } else if (auto ok = send(entries.subspan(begin, end - begin)); !ok) {
        return ok;
      }
      begin = end;
    }
    return {};
  }

  std::size_t insert_batch() const {
    if constexpr (kOneServer) {
      return client_.max_batch();
    } else {
      return kReadBatch;
    }
  }

  Status send(std::span<const Entry<D>> entries) {
    while (!entries.empty() && !error_) {
      const auto part = entries.first(std::min(entries.size(), insert_batch()));
      entries = entries.subspan(part.size());
      WriteBatch<D> batch;
      for (const auto& entry : part) batch.insert(entry.id, entry.box);
      if (auto begun = insert(batch); !begun) return begun;
    }
    return {};
  }

  /// Some batches in flight to a server; a router keeps its shards busy with one.
  Status insert(const WriteBatch<D>& batch) {
    const std::size_t entries = batch.size();
    if constexpr (kOneServer) {
      const std::uint64_t first = ledger_.sent();
      const Status begun =
          client_.write_async(batch, Callback<WriteAnswer>([this, first, entries](auto answer) {
                                take_answer(first, entries, answer);
                              }));
      if (!begun) return begun;
      ledger_.send(entries);
      client_.wait_below(kBatchesInFlight);
    } else {
      const std::uint64_t first = ledger_.send(entries);
      auto answer = client_.write(batch);
      take_answer(first, entries, answer ? Result<WriteAnswer*>(&*answer) : fail(answer.error()));
    }
    return {};
  }

  void take_answer(std::uint64_t first, std::size_t entries, const Result<WriteAnswer*>& answer) {
    if (!answer) {
      ledger_.lose(first, entries);
      if (!error_) error_ = answer.error();
      return;
    }
    const auto& failed = (*answer)->failed;
    ledger_.answer(first, entries, failed);
    report_.version = (*answer)->version;
    if (failed.empty() || error_) return;
    error_ = Error{failed[0].code, "an insert failed: " + std::string(to_string(failed[0].code))};
  }

  Connection& client_;
  datasets::Source<D>& source_;
  const LoadCommand& command_;
  const Settings& settings_;
  LoadLedger ledger_;
  std::optional<Error> error_;  // the first one of an insert
  LoadReport report_;
};

}  // namespace silurus::tool
