#include "client/policy.h"

#include <algorithm>
#include <cmath>

namespace silurus::client {
namespace {

/// Latencies of one class: averaged over about so many searches, what is usual over more.
constexpr std::uint32_t kLatencyHorizon = 64;
constexpr std::uint32_t kUsualHorizon = 512;
/// Each way of each class is measured at least so often before it is judged.
constexpr std::uint32_t kFirstSamples = 4;
/// One outcome counts at most so many times what is usual. Not fewer: that a way now and then takes
/// a thousand times as long, since the server lost its core, is part of its cost; but for a machine
/// that was suspended neither way is to blame.
constexpr double kMaxScore = 1000;
/// A trial is decided after at most so many pairs of epochs, and is repeated no later than after so
/// many epochs.
constexpr std::uint32_t kMaxPairs = 8;
constexpr std::uint32_t kMaxRest = 256;
/// Outcomes are taken in batches of so many: neighbours in time are too alike to count as
/// independent (the method of batch means).
constexpr std::uint32_t kBatch = 32;
/// A trial is broken off early if it is so many times as slow.
constexpr double kHopeless = 1.5;
constexpr double kHopelessBatches = 2;
/// A mean score further from 1 than this says that the world has changed.
constexpr double kChanged = 1.4;
/// So does a server whose CPU is busier or idler by this much than at the last trial.
constexpr double kLoadChanged = 0.25;
/// A survey measures so many messages, then offloaded searches in blocks of so many, up to so many
/// blocks, as long as each is faster than the one before by more than noise; it ends at once if
/// they are too dear, at a look after so many.
constexpr double kSurveyMessages = 256;
constexpr double kSurveyBlock = 512;
constexpr std::uint32_t kSurveyBlocks = 24;
constexpr double kStillFalling = 0.93;
constexpr std::uint32_t kLevelBlocks = 2;  ///< in succession that are not faster
constexpr double kSurveyMaxScore = 20;     ///< too short to judge by what is rare
constexpr double kSurveyLook = 64;
constexpr double kTooDear = 12;
/// It is repeated after so many searches; after so many if the server's load has changed.
constexpr std::uint64_t kSurveyEvery = std::uint64_t{1} << 20;
constexpr std::uint64_t kSurveyAgain = std::uint64_t{1} << 15;
/// Searches of equal gain are told apart by dice: half width, in the logarithm.
constexpr double kDither = 0.05;
constexpr double kThresholdRate = 0.05;
constexpr double kMaxThreshold = 12;
/// Standard errors by which a trial must win to be believed, or lose to be dropped.
constexpr double kWinErrors = 3.5;
constexpr double kLoseErrors = 1.5;
/// A trial that looks worse by so much after so many pairs is dropped without proof.
constexpr double kDoubt = 0.1;
constexpr std::uint32_t kPairsOfDoubt = 2;

std::size_t index(Access access) { return static_cast<std::size_t>(access); }
Access other(Access access) {
  return access == Access::kMessaging ? Access::kOffload : Access::kMessaging;
}

}  // namespace

CatfishPolicy::CatfishPolicy(std::uint64_t seed, const CatfishOptions& options)
    : options_(options), random_(seed) {}

Access CatfishPolicy::choose(std::uint8_t) {
  if (to_offload_ > 0) {
    --to_offload_;
    return Access::kOffload;
  }
  if (busy_) {
    window_ = window_ == 0 ? options_.window : std::min(2 * window_, options_.max_window);
    to_offload_ = 1 + static_cast<std::uint32_t>(random_.below(window_));
  }
  return Access::kMessaging;
}

void CatfishPolicy::on_heartbeat(const ServerLoad& load) {
  busy_ = load.cpu_busy > options_.busy_threshold;
  if (!busy_) {
    window_ = 0;
    to_offload_ = 0;
  }
}

CostPolicy::CostPolicy(std::uint64_t seed, const CostOptions& options)
    : options_(options), random_(seed), step_(options.first_step) {}

Access CostPolicy::choose(std::uint8_t search_class) {
  const ClassCosts& costs = classes_[search_class % kSearchClasses];
  ++chosen_;
  if (survey_ != Survey::kDone) {
    return survey_ == Survey::kMessages ? Access::kMessaging : Access::kOffload;
  }
  for (const Access access : {Access::kMessaging, Access::kOffload}) {
    // Not all of the first searches: several in flight would all go the way that has no answer yet.
    if (costs.latency[index(access)].count < kFirstSamples && random_.below(4) == 0) return access;
  }
  const Access chosen = by_share(costs, share_now());
  return explores(costs, chosen) ? other(chosen) : chosen;
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

bool CostPolicy::explores(const ClassCosts& costs, Access chosen) {
  if (in_trial_) return false;  // which is to be judged by itself
  if (share_ > options_.explore && share_ < 1 - options_.explore) return false;  // does so anyway
  // What it costs: that search alone (a message may have to wake the server), by its latencies, or
  // all that are in flight beside it, as the last trial has shown.
  const double here = costs.latency[index(chosen)].value;
  const double there = costs.latency[index(other(chosen))].value;
  const double excess = std::max(excess_, here > 0 ? there / here - 1 : 0);
  const double probability =
      excess > 0 ? std::min(options_.explore, options_.explore_budget / excess) : options_.explore;
  return random_.uniform() < probability;
}

void CostPolicy::on_search(const SearchOutcome& outcome) {
  ClassCosts& costs = classes_[outcome.search_class % kSearchClasses];
  const double latency = std::max<double>(1, static_cast<double>(outcome.latency));
  costs.latency[index(outcome.access)].add(latency, kLatencyHorizon);
  if (costs.usual.count == 0) costs.usual.add(latency, kUsualHorizon);
  const double unit = costs.usual.value;
  const double score = std::min(latency / unit, kMaxScore);
  if (chosen_ > 0) --chosen_;
  if (ignore_ > 0) {
    --ignore_;
    return;
  }
  if (survey_ != Survey::kDone) {
    if (survey_ == Survey::kMessages) costs.usual.add(score * unit, kUsualHorizon);
    survey(score);
    return;
  }
  if (++since_survey_ >= kSurveyEvery) {
    begin_survey();
    return;
  }
  // What is usual is what happens at the share settled on: trials must not move their own measure.
  if (!in_trial_) costs.usual.add(score * unit, kUsualHorizon);
  batch_sum_ += score;
  if (++reported_ % kBatch != 0) return;
  (in_trial_ ? trial_ : base_).add(batch_sum_ / kBatch);
  batch_sum_ = 0;
  const bool hopeless =
      in_trial_ && trial_.count >= kHopelessBatches && base_.count > 0 &&
      trial_.mean() - 3 * std::sqrt(trial_.squared_error()) > kHopeless * base_.mean();
  if (reported_ >= options_.epoch || hopeless) end_epoch();
}

void CostPolicy::begin_survey() {
  survey_ = Survey::kMessages;
  block_ = {};
  survey_last_ = 0;
  survey_blocks_ = survey_level_ = 0;
  since_survey_ = 0;
  ignore_ = chosen_;
}

void CostPolicy::survey(double score) {
  block_.add(std::min(score, kSurveyMaxScore));
  if (survey_ == Survey::kMessages) {
    if (block_.count < kSurveyMessages) return;
    survey_messages_ = block_.mean();
    survey_ = Survey::kOffloads;
    block_ = {};
    ignore_ = chosen_;
    return;
  }
  const bool dear = block_.count >= kSurveyLook && block_.mean() > kTooDear * survey_messages_;
  if (dear) return end_survey(0);
  if (block_.count < kSurveyBlock) return;
  const double mean = block_.mean();
  const bool falling = survey_last_ == 0 || mean < kStillFalling * survey_last_;
  survey_level_ = falling ? 0 : survey_level_ + 1;
  if (survey_level_ < kLevelBlocks && ++survey_blocks_ < kSurveyBlocks) {
    survey_last_ = survey_last_ == 0 ? mean : std::min(mean, survey_last_);
    block_ = {};
    return;
  }
  end_survey(mean < survey_messages_ ? 1 : 0);
}

/// Goes on from this end of the scale.
void CostPolicy::end_survey(double share) {
  survey_ = Survey::kDone;
  since_survey_ = 0;
  busy_at_survey_ = busy_;
  share_ = share;
  step_ = options_.first_step;
  in_trial_ = false;
  pairs_ = failures_ = rest_ = reported_ = 0;
  batch_sum_ = excess_ = 0;
  base_ = trial_ = {};
  ignore_ = chosen_;
}

void CostPolicy::on_heartbeat(const ServerLoad& load) {
  busy_ = load.cpu_busy;
  if (survey_ == Survey::kDone && since_survey_ > kSurveyAgain &&
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

void CostPolicy::end_epoch() {
  reported_ = 0;
  batch_sum_ = 0;
  ignore_ = std::min(chosen_, options_.epoch);
  if (in_trial_) {
    ++pairs_;
    in_trial_ = false;
    judge_trial();
    return;
  }
  if (pairs_ > 0) {  // another pair of an undecided trial
    in_trial_ = true;
    return;
  }
  if (rest_ > 0) {
    --rest_;
    const double score = base_.mean();
    base_ = {};
    if (score > kChanged || score < 1 / kChanged) {
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
  trial_share_ = std::clamp(share_ + (upward_ ? step_ : -step_), 0.0, 1.0);
  trial_ = {};
  pairs_ = 0;
  in_trial_ = true;
}

void CostPolicy::judge_trial() {
  const double gain = base_.mean() - trial_.mean();
  const double error = std::sqrt(base_.squared_error() + trial_.squared_error());
  const bool wins = gain > kWinErrors * error && gain > options_.min_gain * base_.mean();
  // A move wants proof; for staying, suspicion is enough.
  const bool loses =
      gain < -kLoseErrors * error || (pairs_ >= kPairsOfDoubt && gain < -kDoubt * base_.mean());
  if (!wins && !loses && pairs_ < kMaxPairs) return;  // one more pair
  // With nothing to choose between them, one way for all is better than a mixture.
  const bool ties_at_end = !wins && !loses && (trial_share_ <= 0 || trial_share_ >= 1);
  const double moved = std::abs(trial_share_ - share_);
  if (wins || ties_at_end) {
    share_ = trial_share_;
    step_ = step_ >= 1 ? options_.first_step : std::min(2 * step_, 0.5);
    failures_ = 0;
    rest_ = 0;
  } else {
    excess_ = -gain / (moved * base_.mean());
    ++failures_;
    upward_ = !upward_;
    if (share_ <= 0 || share_ >= 1 || failures_ % 2 == 0) {
      // A loss calls for smaller steps; a difference too small to see, for greater ones.
      step_ = step_ >= 1 ? options_.first_step
              : loses    ? std::max(step_ / 2, options_.min_step)
                         : std::min(1.5 * step_, options_.first_step);
      rest_ =
          std::min(std::uint32_t{1} << std::min(failures_, 16u), loses ? kMaxRest : kMaxRest / 8);
    }
  }
  base_ = {};
  trial_ = {};
  pairs_ = 0;
}

std::unique_ptr<AccessPolicy> make_policy(PolicyKind kind, std::uint64_t seed) {
  if (kind == PolicyKind::kCatfish) return std::make_unique<CatfishPolicy>(seed);
  return std::make_unique<CostPolicy>(seed);
}

}  // namespace silurus::client
