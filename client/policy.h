// SPDX-License-Identifier: Apache-2.0

#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "common/clock.h"
#include "common/random.h"
#include "silurus/policy.h"

namespace silurus::client {

/// When a client of the Catfish policy offloads how many searches, while the server is busy.
enum class CatfishRule : std::uint8_t {
  /// Each heartbeat that says "busy" adds one to a counter r and has the next k searches offloaded,
  /// k drawn from [(r - 1) N, r N).
  kPerHeartbeat = 0,
  /// Each window's end begins another one of twice the size, as long as the last heartbeat said
  /// "busy"; heartbeats between two windows' ends count for nothing.
  kPerWindow = 1,
};

struct CatfishOptions {
  CatfishRule rule = CatfishRule::kPerHeartbeat;
  double busy_threshold = 0.95;     ///< T
  std::uint32_t window = 8;         ///< N: searches
  std::uint32_t max_window = 1024;  ///< kPerWindow: searches
};

/// Catfish (Xiao, Wang, Geng, Lee, Zhang: "Catfish: Adaptive RDMA-enabled R-Tree for Low Latency
/// and High Throughput", ICDCS 2019): send messages while the server's CPU is below a threshold,
/// and offload some of the next searches above it, a random number of them, so that not all clients
/// come back at once.
///
/// Known, from what is public of the paper: each client decides by itself, by the server's
/// heartbeats, in a way like binary exponential back-off, and the result is clearly above both
/// fixed ways. Recalled and not read: the counter and the numbers of kPerHeartbeat (N = 8,
/// T = 95 %, a heartbeat each 10 ms). kPerWindow is another reading of "back-off". Its windows
/// double many times between two heartbeats, so that clients with short searches offload nearly
/// everything after the first one, and all come back with the next that says "not busy".
/// docs/scaling.md compares the two: neither is above both fixed ways by a factor; kPerHeartbeat
/// does no harm where messages are the better way.
///
/// Either way a heartbeat that says "not busy" ends the back-off at once.
class CatfishPolicy final : public AccessPolicy {
 public:
  explicit CatfishPolicy(std::uint64_t seed, const CatfishOptions& options = {});
  Access choose(std::uint8_t search_class) override;
  void on_search(const SearchOutcome&) override {}
  void on_heartbeat(const ServerLoad& load) override;

 private:
  CatfishOptions options_;
  Random random_;
  bool is_busy_ = false;               ///< by the last heartbeat
  std::uint32_t busy_heartbeats_ = 0;  ///< r: in succession
  std::uint32_t window_ = 0;           ///< the last back-off's; 0: there was none
  std::uint32_t to_offload_ = 0;       ///< number of the next searches to offload
};

/// How much may be offloaded before reads stand in each other's way, judged by how long they take:
/// as TIMELY (Mittal et al., "TIMELY: RTT-based congestion control for the datacenter", SIGCOMM
/// 2015) sets a rate by delays, with additive increase replaced by one in proportion. Offloaded
/// searches are compared with the quickest of their class with as many in flight.
class ReadDelay {
 public:
  /// An offloaded search has ended. `in_flight`: how many were under way, itself included; `share`:
  /// the part of searches that was offloaded.
  void add(std::uint8_t search_class, std::uint32_t in_flight, double latency, double share);
  /// The greatest share of searches to offload.
  double ceiling() const { return ceiling_; }
  /// Lowers it to what reads are tried with anew: they are about to begin again.
  void start_slowly();

 private:
  /// Numbers in flight are told apart by quarters of octaves, up to 64.
  static constexpr std::size_t kNumbers = 25;
  struct Block {
    float latency = 0;
    float in_flight = 0;
    std::uint32_t count = 0;
  };

  void end_block(std::uint8_t search_class, double share);

  std::array<Block, kSearchClasses> blocks_{};
  std::array<std::array<float, kNumbers>, kSearchClasses> quickest_{};  ///< 0: none yet
  double ratios_ = 0;  ///< sum of the ratios of blocks to the quickest one
  std::uint32_t count_ = 0;
  double ceiling_ = 1;
};

struct CostOptions {
  double budget = 0.02;       ///< share of time that experiments may cost
  std::uint32_t epoch = 128;  ///< searches of one trial
  double first_step = 0.1;    ///< first change of the share of searches to offload
  double min_step = 0.02;
  double min_gain = 0.02;  ///< relative; what is not better by this is not worth a move
};

/// Goes by measured cost. Two questions, two mechanisms (docs/decisions/0041):
///
/// *Which* searches? Of each class both ways' latencies are measured (moving averages), and the
/// searches that gain most, by the ratio of the two, are offloaded first. Decides by cost as DEX
/// does (Lu et al., VLDB 2024), with measured averages for its cache misses times read latency.
///
/// *How many*? A client that compares latencies alone forgets that a search which a client runs
/// itself costs time in which it, or another on the same core, could have sent others, and that the
/// server's latency depends on how many others choose it. So the share of searches to offload is
/// found by experiment: a little more and a little less is tried for an epoch each, and the share
/// moves to where searches complete at the higher *rate*: the mean time from one completion to the
/// next, in units of what is usual for the class, is lower. Where the rate says nothing, since it
/// is the caller who sets it, latency decides: it counts for a tenth beside the time between
/// completions, and alone where the client is idle between searches.
///
/// Small experiments don't see everything: a client that offloads one search of fifty finds its
/// processor's caches and page tables cold each time, one that offloads all of them doesn't. So a
/// survey comes first, and again when the server's load has changed or after a million searches:
/// some hundred messages, then nothing but offloaded searches until they get no faster. The
/// experiments start from the better end.
///
/// What a client gains by offloading is not what all of them gain: the bytes that it reads stand in
/// the way of everyone's answers. No message tells it of that, but its own reads do, which take
/// longer than they once did. So the share has a ceiling (ReadDelay), which falls when they do, for
/// all clients alike, and leaves the network just short of full. And while the server has time
/// left, nothing is offloaded unless that is clearly quicker: a queue of the network holds up
/// messages and reads alike, and to give way is for those who fill it (docs/decisions/0095).
class CostPolicy final : public AccessPolicy {
 public:
  explicit CostPolicy(std::uint64_t seed, const CostOptions& options = {});
  Access choose(std::uint8_t search_class) override;
  void forget(Access access) override;
  void on_search(const SearchOutcome& outcome) override;
  void on_heartbeat(const ServerLoad& load) override;
  /// The share of searches that is being offloaded, trials aside.
  double share() const { return held_back_ ? 0 : std::min(share_, delay_.ceiling()); }

 private:
  /// A moving average that begins as a plain one.
  template <std::uint32_t kHorizon>
  struct Average {
    double value = 0;
    std::uint32_t count = 0;
    void add(double sample) {
      if (count < kHorizon) {
        value += (sample - value) / ++count;
      } else {
        value += (sample - value) * (1.0 / kHorizon);
      }
    }
  };
  /// Searches over which the latencies of one class are averaged; what is usual over more.
  static constexpr std::uint32_t kLatencyHorizon = 64;
  static constexpr std::uint32_t kUsualHorizon = 512;
  struct ClassCosts {
    std::array<Average<kLatencyHorizon>, 2> latency;  ///< by Access
    Average<kUsualHorizon> usual;                     ///< latency of either way: the unit of costs
    void add_usual(double sample);
  };
  /// Costs of searches, and the sum of what is usual for them: their ratio is a score, 1 if all is
  /// as usual.
  struct Tally {
    double cost = 0;
    double usual = 0;
    std::uint32_t count = 0;
    void add(double cost_of_one, double usual_for_it) {
      cost += cost_of_one;
      usual += usual_for_it;
      ++count;
    }
    double score() const { return cost / usual; }
  };
  /// Scores of epochs at one share.
  struct Sample {
    double sum = 0;
    double sum_of_squares = 0;
    double count = 0;
    void add(double score) {
      sum += score;
      sum_of_squares += score * score;
      count += 1;
    }
    double mean() const { return sum / count; }
    /// Square of the mean's standard error.
    double squared_error() const {
      const double variance = sum_of_squares / count - mean() * mean();
      return variance > 0 && count > 1 ? variance / (count - 1) : 0;
    }
  };

  Access decide(std::uint8_t search_class);
  double cost_of(const SearchOutcome& outcome, double unit);
  void survey(double cost, double unit);
  void ignore_under_way();
  void begin_survey();
  void end_survey();
  void end_survey(double share);
  void owe(double excess, std::uint32_t searches);
  Access by_share(const ClassCosts& costs, double share);
  double share_now() const {
    return held_back_ ? 0 : std::min(in_trial_ ? trial_share_ : share_, delay_.ceiling());
  }
  bool server_has_time() const;
  bool offloading_is_clearly_quicker() const;
  void end_epoch(bool hopeless);
  void begin_trial();
  void judge_trial(bool hopeless);

  CostOptions options_;
  Random random_;
  std::array<ClassCosts, kSearchClasses> classes_{};
  /// What the survey measures now.
  enum class Survey : std::uint8_t { kMessages, kOffloads, kDone };
  Survey survey_ = Survey::kMessages;
  Tally block_;  ///< block of the survey that is under way
  Tally survey_messages_;
  double survey_last_ = 0;  ///< score of the block of offloaded searches before this one; 0: none
  std::uint32_t survey_blocks_ = 0;
  std::uint32_t survey_patience_;   ///< blocks at most
  std::uint32_t survey_level_ = 0;  ///< blocks in succession that were not faster
  std::uint64_t since_survey_ = 0;  ///< searches
  double busy_at_survey_ = 0;

  double threshold_ = 0;  ///< the log of the gain above which a search is offloaded

  double share_ = 0;
  double trial_share_ = 0;
  double step_;
  bool upward_ = true;          ///< direction of the trial
  bool in_trial_ = false;       ///< this epoch is one at trial_share_, else at share_
  std::uint32_t pairs_ = 0;     ///< pairs of epochs in the trial under way
  std::uint32_t failures_ = 0;  ///< trials in succession that changed nothing
  std::uint32_t rest_ = 0;      ///< epochs until the next trial
  double usual_score_ = 0;      ///< at share_; 0: not known yet
  bool settling_ = false;       ///< searches of the last trial are still under way
  double owed_ = 0;             ///< what experiments cost and is not made up for yet, in epochs

  std::uint32_t chosen_ = 0;      ///< not yet reported
  std::uint32_t offloading_ = 0;  ///< offloaded searches among these
  ReadDelay delay_;
  std::uint32_t ignore_ = 0;      ///< reports of decisions made before this epoch
  Tally epoch_;                   ///< what was reported in this one
  Nanoseconds completed_at_ = 0;  ///< the search reported last; 0: none yet
  bool held_back_ = false;        ///< the server has time, and offloading is not clearly quicker
  bool knows_load_ = false;       ///< a heartbeat has come
  double busy_ = 0;               ///< how busy the server is, by the last one
  double busy_at_trial_ = 0;      ///< busy_ when the last trial began
  Sample base_;
  Sample trial_;
};

}  // namespace silurus::client
