// SPDX-License-Identifier: Apache-2.0

// Writers whose host loses power again and again, and the check of what is left afterwards:
//
//   vm_power_writer URL FOLDER SECONDS
//
// Each of kWriters threads writes batches of inserts, moves and erasures of its own entries. What
// batch k does follows from the writer's number and from what batches 1 to k - 1 did, so that the
// only thing to be remembered is how many were acknowledged: FOLDER/writer.N, a line for each,
// which must outlive the host. To begin with, every writer's entries must be those after all
// batches that were acknowledged, or after one more, which was on its way; then it goes on from
// there. Prints "checked N batches" and exits 0 after SECONDS (0: only checks), 3 when the server
// has gone, or says what was lost and exits 1. URL may name several members of a group: then the
// next primary is written to, and how long the longest write took is printed at the end.

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "common/clock.h"
#include "common/random.h"
#include "silurus/client.h"
#include "tests/support/patient_client.h"

namespace silurus {
namespace {

constexpr std::uint64_t kWriters = 3;
constexpr std::uint64_t kMaxChanges = 8;  ///< changes of one batch
constexpr int kChecked = 0, kLostServer = 3, kWrong = 1;

using Entries = std::map<std::uint64_t, Box<2>>;

/// What batch `number` (from 1) of a writer does to its entries.
WriteBatch<2> make_batch(std::uint64_t writer, std::uint64_t number, Entries& entries) {
  Random random(number * kWriters + writer);
  WriteBatch<2> batch;
  for (std::uint64_t i = 1 + random.below(kMaxChanges); i > 0; --i) {
    const double x = random.uniform();
    const double y = random.uniform();
    const Box<2> box{{x, y}, {x + 0.01, y + 0.01}};
    const std::uint64_t id = random() / kWriters * kWriters + writer;
    const auto victim = entries.lower_bound(id);
    const std::uint64_t choice = victim == entries.end() ? 0 : random.below(10);
    if (choice < 4) {
      if (!entries.emplace(id, box).second) continue;
      batch.insert(id, box);
    } else if (choice < 7) {
      batch.update(victim->first, victim->second, box);
      victim->second = box;
    } else {
      batch.erase(victim->first, victim->second);
      entries.erase(victim);
    }
  }
  return batch;
}

class Writer {
 public:
  Writer(std::string url, const std::string& folder, std::uint64_t number)
      : url_(std::move(url)),
        journal_(folder + "/writer." + std::to_string(number)),
        number_(number) {}

  int run(Nanoseconds seconds) {
    auto options =
        testing_support::patient({.deadline = 30 * kSecond,
                                  .connect_timeout = 20 * kSecond,
                                  .silence = 6 * kSecond});  // several packets lost in a row
    options.reconnect_for = url_.find(',') == std::string::npos ? 0 : options.deadline;
    auto client = Client<2>::connect(url_, options);
    if (!client) return lost(client.error());
    if (const int checked = check(*client); checked != kChecked) return checked;
    const int journal = ::open(journal_.c_str(), O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (journal < 0) return kWrong;
    const Nanoseconds until = SystemClock().now() + seconds;
    int outcome = kChecked;
    while (outcome == kChecked && SystemClock().now() < until) outcome = write(*client, journal);
    ::close(journal);
    return outcome;
  }
  std::uint64_t checked() const { return checked_; }
  Nanoseconds longest() const { return longest_; }

 private:
  int lost(const Error& error) const {
    std::printf("lost: %s\n", error.message.c_str());
    return kLostServer;
  }

  int check(Client<2>& client) {
    const auto all = client.range({{-1, -1}, {3, 3}}, {.shape = ResultShape::kEntries});
    if (!all) return lost(all.error());
    Entries found;
    for (std::size_t i = 0; i < all->ids.size(); ++i) {
      if (all->ids[i] % kWriters == number_) found.emplace(all->ids[i], all->boxes[i]);
    }
    std::ifstream lines(journal_);
    std::uint64_t acknowledged = 0;
    for (std::string line; std::getline(lines, line);) acknowledged += lines.eof() ? 0 : 1;
    while (done_ < acknowledged) make_batch(number_, ++done_, entries_);
    checked_ = done_;
    if (found == entries_) return kChecked;
    make_batch(number_, ++done_, entries_);  // it counts, though no reader was told
    if (found == entries_) {
      std::ofstream(journal_, std::ios::app) << done_ << "\n";
      return kChecked;
    }
    std::printf("WRONG: writer %llu has %zu entries after %llu acknowledged batches, not %zu\n",
                static_cast<unsigned long long>(number_), found.size(),
                static_cast<unsigned long long>(acknowledged), entries_.size());
    return kWrong;
  }

  int write(Client<2>& client, int journal) {
    const auto batch = make_batch(number_, ++done_, entries_);
    if (batch.size() > 0) {
      const Nanoseconds begin = SystemClock().now();
      const auto answer = client.write(batch);
      if (!answer) return lost(answer.error());
      longest_ = std::max(longest_, SystemClock().now() - begin);
      if (!answer->failed.empty()) {
        std::printf("WRONG: writer %llu: an operation of batch %llu failed\n",
                    static_cast<unsigned long long>(number_),
                    static_cast<unsigned long long>(done_));
        return kWrong;
      }
    }
    const std::string line = std::to_string(done_) + "\n";
    return ::write(journal, line.data(), line.size()) == static_cast<ssize_t>(line.size())
               ? kChecked
               : kWrong;
  }

  std::string url_;
  std::string journal_;
  std::uint64_t number_;
  std::uint64_t done_ = 0;     ///< batches that entries_ is the result of
  std::uint64_t checked_ = 0;  ///< acknowledged when this began
  Nanoseconds longest_ = 0;    ///< write
  Entries entries_;
};

int run(int argc, char** argv) {
  if (argc != 4) return 2;
  const Nanoseconds seconds = std::strtoll(argv[3], nullptr, 10) * kSecond;
  std::vector<Writer> writers;
  for (std::uint64_t i = 0; i < kWriters; ++i) writers.emplace_back(argv[1], argv[2], i);
  int outcomes[kWriters];
  {
    std::vector<std::jthread> threads;
    for (std::uint64_t i = 0; i < kWriters; ++i) {
      threads.emplace_back([&, i] { outcomes[i] = writers[i].run(seconds); });
    }
  }
  std::uint64_t checked = 0;
  Nanoseconds longest = 0;
  for (const Writer& writer : writers) {
    checked += writer.checked();
    longest = std::max(longest, writer.longest());
  }
  std::printf("checked %llu batches; the longest write took %lld ms\n",
              static_cast<unsigned long long>(checked),
              static_cast<long long>(longest / kMillisecond));
  if (std::ranges::count(outcomes, kWrong) > 0) return kWrong;
  return std::ranges::count(outcomes, kLostServer) > 0 ? kLostServer : kChecked;
}

}  // namespace
}  // namespace silurus

int main(int argc, char** argv) { return silurus::run(argc, argv); }
