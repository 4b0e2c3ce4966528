// SPDX-License-Identifier: Apache-2.0

#include "client/policy.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

namespace silurus::client {
namespace {

/// Heartbeats in succession that Catfish counts: three hours of a busy server. Any k is then far
/// more than a client searches between two of them.
constexpr std::uint32_t kMaxBusyHeartbeats = std::uint32_t{1} << 20;
/// Samples of each way of a class, at least, before it is judged.
constexpr std::uint32_t kFirstSamples = 4;
constexpr std::uint32_t kFirstUsual = 8;
/// One outcome counts at most this many times what is usual. The bound is high, since a way that
/// takes a thousand times as long now and then (the server lost its core) costs that. It is there
/// since neither way is to blame for a machine that was suspended.
constexpr double kMaxCost = 1000;
/// A client that waits this many times what is usual after an answer has nothing to ask: that time
/// is not counted.
constexpr double kIdle = 64;
/// What latency counts for beside the time between completions.
constexpr double kLatencyWeight = 0.1;
/// Pairs of epochs after which a trial is decided at the earliest.
constexpr std::uint32_t kMinPairs = 3;
/// Pairs of epochs after which a trial is decided at the latest.
constexpr std::uint32_t kMaxPairs = 8;
/// Epochs after which a trial is repeated at the latest.
constexpr std::uint32_t kMaxRest = 1024;
/// A trial is broken off if half an epoch of it is this many times as slow.
constexpr double kHopeless = 1.5;
/// Epochs of which the cost of experiments is remembered at most.
constexpr double kMaxOwed = 20;
/// A score this many times as high or low as after the last trial says that the world has changed.
constexpr double kChanged = 1.4;
/// So does a server whose CPU is busier or idler by this much than at the last trial.
constexpr double kLoadChanged = 0.25;
/// A survey measures searches by message, then offloaded ones in blocks, as long as each block is
/// faster than the one before. Searches by message that it measures first.
constexpr std::uint32_t kSurveyMessages = 256;
/// Offloaded searches of one block.
constexpr std::uint32_t kSurveyBlock = 512;
/// Most blocks of the first survey.
constexpr std::uint32_t kFirstBlocks = 24;
/// Most blocks of a repeated survey.
constexpr std::uint32_t kLaterBlocks = 4;
/// A block that costs less than this part of the one before is faster by more than noise.
constexpr double kStillFalling = 0.93;
/// Blocks in succession that are not faster, which end a survey.
constexpr std::uint32_t kLevelBlocks = 2;
/// One sample of a survey counts at most this many times what is usual: a survey is too short to
/// judge by what is rare.
constexpr double kSurveyMaxCost = 20;
/// Searches after which a survey looks whether offloading costs too much.
constexpr std::uint32_t kSurveyLook = 64;
/// Offloading that costs this many times as much as messages ends the survey at once.
constexpr double kTooDear = 12;
/// Searches after which a survey is repeated.
constexpr std::uint64_t kSurveyEvery = std::uint64_t{1} << 20;
/// The same if the server's load has changed.
constexpr std::uint64_t kSurveyAgain = std::uint64_t{1} << 15;
/// A block that costs this many times as much as messages ends a survey at its end: in a fleet that
/// starts together all clients survey at once, and measure each other.
constexpr double kDearBlock = 4;
/// Searches whose latencies make a mean to compare with; the factor by which that is forgotten with
/// each; and how many means are judged together.
constexpr std::uint32_t kDelayBlock = 32;
constexpr float kForget = 1.0002F;
constexpr std::uint32_t kDelayVerdict = 2;
/// Searches are held up if they take this many times as long as the quickest did; one counts at
/// most as kMaxDelay times.
constexpr double kHeldUp = 1.5;
constexpr double kMaxDelay = 4;
/// Part of what is offloaded to which the ceiling falls when searches are held up.
constexpr double kCeilingFall = 0.7;
/// Factor by which the ceiling rises otherwise.
constexpr double kCeilingRise = 1.15;
/// Lowest ceiling: high enough that what is left still tells how long reads take.
constexpr double kMinCeiling = 0.001;
/// Share that a client which was held back offloads at first.
constexpr double kSlowStart = 0.1;
/// A server less busy than this has time for more messages. Then offloading must be quicker by
/// kClearlyQuicker, in the logarithm.
constexpr double kHasTime = 0.95;
constexpr double kClearlyQuicker = 0.1;
/// Searches of equal gain are told apart by dice: half width, in the logarithm.
constexpr double kDither = 0.05;
constexpr double kThresholdRate = 0.05;
constexpr double kMaxThreshold = 12;
/// Standard errors by which a trial must win to be believed, or lose to be dropped.
constexpr double kWinErrors = 3.5;
constexpr double kLoseErrors = 1.5;
/// A trial that looks worse by that factor after that number of pairs is dropped without proof.
constexpr double kDoubt = 0.1;
constexpr std::uint32_t kPairsOfDoubt = 2;

std::size_t index(Access access) { return static_cast<std::size_t>(access); }

}  // namespace

CatfishPolicy::CatfishPolicy(std::uint64_t seed, const CatfishOptions& options)
    : options_(options), random_(seed) {}

Access CatfishPolicy::choose(std::uint8_t) {
  if (to_offload_ > 0) {
    --to_offload_;
    return Access::kOffload;
  }
  if (is_busy_ && options_.rule == CatfishRule::kPerWindow) {
    window_ = window_ == 0 ? options_.window : std::min(2 * window_, options_.max_window);
    to_offload_ = 1 + static_cast<std::uint32_t>(random_.below(window_));
  }
  return Access::kMessaging;
}

void CatfishPolicy::on_heartbeat(const ServerLoad& load) {
  is_busy_ = load.cpu_busy > options_.busy_threshold;
  if (!is_busy_) {
    busy_heartbeats_ = 0;
    window_ = 0;
    to_offload_ = 0;
    return;
  }
  if (options_.rule == CatfishRule::kPerWindow) return;
  busy_heartbeats_ = std::min(busy_heartbeats_ + 1, kMaxBusyHeartbeats);
  // What is left of the last draw gives way to this one.
  to_offload_ = (busy_heartbeats_ - 1) * options_.window +
                static_cast<std::uint32_t>(random_.below(options_.window));
}

void ReadDelay::add(std::uint8_t search_class, std::uint32_t in_flight, double latency,
                    double share) {
  Block& block = blocks_[search_class % kSearchClasses];
  block.latency += static_cast<float>(latency);
  block.in_flight += static_cast<float>(std::max(in_flight, 1u));
  if (++block.count >= kDelayBlock) end_block(search_class % kSearchClasses, share);
}

void ReadDelay::end_block(std::uint8_t search_class, double share) {
  const Block block = std::exchange(blocks_[search_class], {});
  const auto count = static_cast<float>(block.count);
  const auto number = static_cast<std::size_t>(4 * std::log2(block.in_flight / count) + 0.5F);
  float& quickest = quickest_[search_class][std::min(number, kNumbers - 1)];
  const float mean = block.latency / count;
  if (quickest > 0) ratios_ += std::min(static_cast<double>(mean / quickest), kMaxDelay);
  if (quickest > 0) ++count_;
  quickest = quickest == 0 ? mean : std::min(mean, quickest * kForget);
  if (count_ < kDelayVerdict) return;
  const double delay = ratios_ / count_;
  ratios_ = 0;
  count_ = 0;
  ceiling_ = delay > kHeldUp ? std::max(kMinCeiling, kCeilingFall * std::min(ceiling_, share))
                             : std::min(1.0, kCeilingRise * ceiling_);
}

void ReadDelay::start_slowly() { ceiling_ = std::min(ceiling_, kSlowStart); }

CostPolicy::CostPolicy(std::uint64_t seed, const CostOptions& options)
    : options_(options), random_(seed), survey_patience_(kFirstBlocks), step_(options.first_step) {}

Access CostPolicy::choose(std::uint8_t search_class) {
  const Access access = decide(search_class);
  ++chosen_;
  if (access == Access::kOffload) ++offloading_;
  return access;
}

void CostPolicy::forget(Access access) {
  if (access == Access::kOffload && offloading_ > 0) --offloading_;
  if (chosen_ > 0) --chosen_;
}

Access CostPolicy::decide(std::uint8_t search_class) {
  const ClassCosts& costs = classes_[search_class % kSearchClasses];
  if (survey_ != Survey::kDone) {
    return survey_ == Survey::kMessages ? Access::kMessaging : Access::kOffload;
  }
  for (const Access access : {Access::kMessaging, Access::kOffload}) {
    // Not all of the first searches: several in flight would all go the way that has no answer yet.
    if (costs.latency[index(access)].count < kFirstSamples && random_.below(4) == 0) return access;
  }
  return by_share(costs, share_now());
}

Access CostPolicy::by_share(const ClassCosts& costs, double share) {
  if (share <= 0) return Access::kMessaging;
  if (share >= 1) return Access::kOffload;
  const double messaging = costs.latency[index(Access::kMessaging)].value;
  const double offload = costs.latency[index(Access::kOffload)].value;
  const double gain = messaging > 0 && offload > 0 ? std::log(messaging / offload) : 0;
  const bool offloads = gain + random_.uniform(-kDither, kDither) > threshold_;
  // The threshold follows the quantile of the gains that lets `share` of the searches pass.
  threshold_ = std::clamp(threshold_ + kThresholdRate * ((offloads ? 1.0 : 0.0) - share),
                          -kMaxThreshold, kMaxThreshold);
  return offloads ? Access::kOffload : Access::kMessaging;
}

/// The least of the first few, which may find everything cold; then a moving average.
void CostPolicy::ClassCosts::add_usual(double sample) {
  if (usual.count == 0 || (usual.count < kFirstUsual && sample < usual.value)) {
    usual.value = sample;
  }
  if (usual.count < kFirstUsual) {
    ++usual.count;
  } else {
    usual.add(std::min(sample, kMaxCost * usual.value));
  }
}

/// The time that it took from the completion before this one, and a little for its latency, shared
/// among those in flight with it: alone, a closed loop's two parts are proportional (Little's law).
double CostPolicy::cost_of(const SearchOutcome& outcome, double unit) {
  const auto latency = static_cast<double>(outcome.latency);
  auto gap = static_cast<double>(std::max<Nanoseconds>(0, outcome.completed_at - completed_at_));
  if (completed_at_ == 0 || gap > latency + kIdle * unit) gap = 0;
  completed_at_ = outcome.completed_at;
  const double share = chosen_ > 1 ? latency / chosen_ : latency;
  return std::min(gap + kLatencyWeight * share, kMaxCost * unit);
}

void CostPolicy::on_search(const SearchOutcome& outcome) {
  ClassCosts& costs = classes_[outcome.search_class % kSearchClasses];
  const double latency = std::max<double>(1, static_cast<double>(outcome.latency));
  costs.latency[index(outcome.access)].add(latency);
  // What is usual is what happens at the share settled on: trials must not move their own measure.
  const bool settled = survey_ == Survey::kDone ? !in_trial_ : survey_ == Survey::kMessages;
  if (settled || costs.usual.count == 0) costs.add_usual(latency);
  const double unit = costs.usual.value;
  const double cost = cost_of(outcome, unit);
  if (outcome.access == Access::kOffload) {
    delay_.add(outcome.search_class, std::min(offloading_, chosen_), latency,
               survey_ == Survey::kDone ? share_now() : 1);
  }
  forget(outcome.access);
  if (ignore_ > 0) {
    --ignore_;
    return;
  }
  if (survey_ != Survey::kDone) return survey(cost, unit);
  if (++since_survey_ >= kSurveyEvery) return begin_survey();
  epoch_.add(cost, unit);
  const bool hopeless =
      in_trial_ && epoch_.count == options_.epoch / 2 && epoch_.score() > kHopeless * base_.mean();
  if (epoch_.count >= options_.epoch || hopeless) end_epoch(hopeless);
}

/// Experiments are paid for before the next: `excess` is by which part that many searches
/// cost more than they need have.
void CostPolicy::owe(double excess, std::uint32_t searches) {
  const double epochs = static_cast<double>(searches) / options_.epoch;
  owed_ = std::clamp(owed_ + std::max(0.0, excess) * epochs, 0.0, kMaxOwed);
}

/// Not all of them: those that fail are never reported.
void CostPolicy::ignore_under_way() { ignore_ = std::min(chosen_, options_.epoch); }

void CostPolicy::begin_survey() {
  survey_ = Survey::kMessages;
  block_ = {};
  survey_last_ = 0;
  survey_blocks_ = survey_level_ = 0;
  since_survey_ = 0;
  ignore_under_way();
}

void CostPolicy::survey(double cost, double unit) {
  block_.add(std::min(cost, kSurveyMaxCost * unit), unit);
  if (survey_ == Survey::kMessages) {
    if (block_.count < kSurveyMessages) return;
    survey_messages_ = block_;
    survey_ = Survey::kOffloads;
    block_ = {};
    ignore_under_way();
    return;
  }
  const bool dear =
      block_.count >= kSurveyLook && block_.score() > kTooDear * survey_messages_.score();
  if (dear) return end_survey();
  if (block_.count < kSurveyBlock) return;
  const double score = block_.score();
  if (score > kDearBlock * survey_messages_.score()) return end_survey();
  const bool falling = survey_last_ == 0 || score < kStillFalling * survey_last_;
  survey_level_ = falling ? 0 : survey_level_ + 1;
  if (survey_level_ >= kLevelBlocks || ++survey_blocks_ >= survey_patience_) return end_survey();
  owe(score / survey_messages_.score() - 1, block_.count);
  survey_last_ = survey_last_ == 0 ? score : std::min(score, survey_last_);
  block_ = {};
}

/// Goes on from the better end of the scale.
void CostPolicy::end_survey() {
  const double ratio = block_.score() / survey_messages_.score();
  owe(ratio - 1, block_.count);
  owe(1 / ratio - 1, survey_messages_.count);
  end_survey(ratio < 1 ? 1 : 0);
}

void CostPolicy::end_survey(double share) {
  share_ = share;
  usual_score_ = 0;
  settling_ = true;
  survey_patience_ = kLaterBlocks;
  survey_ = Survey::kDone;
  since_survey_ = 0;
  busy_at_survey_ = busy_;
  step_ = options_.first_step;
  in_trial_ = false;
  pairs_ = failures_ = rest_ = 0;
  epoch_ = {};
  base_ = trial_ = {};
  ignore_under_way();
}

void CostPolicy::on_heartbeat(const ServerLoad& load) {
  busy_ = load.cpu_busy;
  knows_load_ = true;
  const bool was_held_back =
      std::exchange(held_back_, server_has_time() && !offloading_is_clearly_quicker());
  if (held_back_) delay_.start_slowly();
  if (held_back_ && survey_ == Survey::kOffloads) return end_survey(0);
  // Then reads begin again slowly: a survey would be the opposite.
  if (held_back_ || was_held_back) busy_at_survey_ = busy_;
  if (survey_ == Survey::kDone && since_survey_ > kSurveyAgain && owed_ <= 0 &&
      std::abs(busy_ - busy_at_survey_) > kLoadChanged) {
    begin_survey();
    return;
  }
  if (rest_ > 0 && std::abs(busy_ - busy_at_trial_) > kLoadChanged) {
    rest_ = 0;
    failures_ = 0;
    step_ = options_.first_step;
  }
}

bool CostPolicy::server_has_time() const { return knows_load_ && busy_ < kHasTime; }

/// Compares the search classes that have been seen both ways.
bool CostPolicy::offloading_is_clearly_quicker() const {
  double gain = 0;
  double weights = 0;
  for (const ClassCosts& costs : classes_) {
    const auto& [by_message, offloaded] = costs.latency;
    const double weight = std::min(by_message.count, offloaded.count);
    if (weight == 0) continue;
    gain += weight * std::log(by_message.value / offloaded.value);
    weights += weight;
  }
  return weights == 0 || gain > kClearlyQuicker * weights;
}

void CostPolicy::end_epoch(bool hopeless) {
  (in_trial_ ? trial_ : base_).add(epoch_.score());
  epoch_ = {};
  ignore_under_way();
  if (in_trial_) {
    ++pairs_;
    in_trial_ = false;
    judge_trial(hopeless);
    return;
  }
  if (pairs_ > 0) {  // another pair of an undecided trial
    in_trial_ = true;
    return;
  }
  owed_ = std::max(0.0, owed_ - options_.budget);
  if (rest_ > 0 || owed_ > 0) {
    if (rest_ > 0) --rest_;
    const double score = base_.mean();
    base_ = {};
    if (std::exchange(settling_, false)) return;
    if (usual_score_ == 0) usual_score_ = score;
    const double change = score / usual_score_;
    if (change > kChanged || change < 1 / kChanged) {
      failures_ = 0;
      rest_ = 0;
    }
    return;
  }
  begin_trial();
}

void CostPolicy::begin_trial() {
  if (share_ <= 0) upward_ = true;
  if (share_ >= 1) upward_ = false;
  busy_at_trial_ = busy_;
  share_ = std::min(share_, std::min(1.0, delay_.ceiling() + step_));  // above it nothing is tried
  trial_share_ = std::clamp(share_ + (upward_ ? step_ : -step_), 0.0, 1.0);
  trial_ = {};
  pairs_ = 0;
  in_trial_ = true;
}

void CostPolicy::judge_trial(bool hopeless) {
  const double gain = base_.mean() - trial_.mean();
  const double error = std::sqrt(base_.squared_error() + trial_.squared_error());
  const bool enough = pairs_ >= kMinPairs;
  const bool wins = enough && gain > kWinErrors * error && gain > options_.min_gain * base_.mean();
  // A move wants proof; for staying, suspicion is enough.
  const bool loses = hopeless || (enough && gain < -kLoseErrors * error) ||
                     (pairs_ >= kPairsOfDoubt && gain < -kDoubt * base_.mean());
  if (!wins && !loses && pairs_ < kMaxPairs) return;  // one more pair
  // With nothing to choose between them, one way for all is better than a mixture.
  const bool ties = !wins && !loses;
  const bool settles =
      ties && (server_has_time() ? trial_share_ < share_ : trial_share_ <= 0 || trial_share_ >= 1);
  if (wins || settles) {
    share_ = trial_share_;
    step_ = step_ >= 1 ? options_.first_step : std::min(2 * step_, 0.5);
    failures_ = 0;
    rest_ = 0;
  } else {
    owe(-gain / base_.mean(), pairs_ * options_.epoch);
    ++failures_;
    upward_ = !upward_;
    if (share_ <= 0 || share_ >= 1 || failures_ % 2 == 0) {
      // A loss calls for smaller steps; a difference too small to see, for greater ones.
      step_ = step_ >= 1 ? options_.first_step
              : loses    ? std::max(step_ / 2, options_.min_step)
                         : std::min(1.5 * step_, options_.first_step);
      rest_ = std::min(std::uint32_t{1} << std::min(failures_, 16u), kMaxRest);
    }
  }
  usual_score_ = failures_ == 0 ? 0 : base_.mean();  // unknown at a new share
  settling_ = true;
  base_ = {};
  trial_ = {};
  pairs_ = 0;
}

}  // namespace silurus::client

namespace silurus {

std::unique_ptr<AccessPolicy> make_policy(PolicyKind kind, std::uint64_t seed) {
  switch (kind) {
    case PolicyKind::kCatfish:
      return std::make_unique<client::CatfishPolicy>(seed);
    case PolicyKind::kCatfishDoubling:
      return std::make_unique<client::CatfishPolicy>(
          seed, client::CatfishOptions{.rule = client::CatfishRule::kPerWindow});
    case PolicyKind::kCost:
      break;
  }
  return std::make_unique<client::CostPolicy>(seed);
}

}  // namespace silurus
